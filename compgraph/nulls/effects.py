"""What nodes do to the weights of their edges, when effects are drawn from a population: y = mean + effects + noise.

For null models that move edges: a weight there needs the effects of ends that had no edge together. Least
squares takes the noise of a node with few edges for its effect; so effects are random here, with variances found by
the method of moments (Henderson's third, Biometrics 9, 226, 1953). A null graph needs a *draw* of them: the best
guesses vary less than the effects do, and null graphs made from these have too little spread in their weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.nulls.allowed import Integers

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-10
MAX_STEPS = 10_000


@dataclass(frozen=True)
class NodeEffects:
    """Effects of the ends of edges on a value y of each edge, fitted to one graph.

    Attributes
    ----------
    first, second
        Which effect each end has, int64 [E]; effects of targets are numbered after those of sources, unless
        directions mean nothing.
    y
        float64 [E].
    spread
        Standard deviation of each effect in the population, float64 [m].
    noise
        Standard deviation of what is left of y.
    """

    first: Integers
    second: Integers
    y: Floats
    spread: Floats
    noise: float

    @classmethod
    def fit(cls, source: Integers, target: Integers, y: Floats, n_nodes: int, directed: bool) -> NodeEffects:
        """Find the spread of the effects of sources and of targets, and of the noise.

        Parameters
        ----------
        source, target
            Ends of each edge, int64 [E]; no edge twice.
        y
            Value of each edge, such as log |w|, float64 [E].
        n_nodes
            Number of nodes.
        directed
            Whether a node has two effects, as source and as target.

        Notes
        -----
        Where as many effects as edges were to be found, or none is above noise, there are none.
        """
        first, second = source, target + n_nodes if directed else target
        m = 2 * n_nodes if directed else n_nodes
        flat = cls(first, second, y, np.zeros(m), float(y.std()) if len(y) else 0.0)
        if len(y) < 3 or np.ptp(y) <= 1e-12 * max(1.0, float(np.abs(y).max())):
            return flat
        centred = y - y.mean()
        design = _design(first, second, m)
        left = centred - design @ _least_squares(design, centred)
        rank = _rank(first, second, m)
        free = len(y) - rank
        if free < 1:
            return flat
        noise = float(left @ left) / free
        explained = float(centred @ centred) - float(left @ left)
        if directed:
            spread = np.repeat([_variance_of(ends, other, centred, explained, noise, rank)
                                for ends, other in ((source, target), (target, source))], n_nodes)  # fmt: skip
        else:
            degree = np.bincount(np.concatenate([first, second]), minlength=m)
            room = 2 * len(y) - float((degree**2).sum()) / len(y)
            spread = np.full(m, (explained - noise * (rank - 1)) / room if room > 0 else 0.0)
        if not (spread > 0).any():
            return flat
        return cls(first, second, y, np.sqrt(np.maximum(spread, 0)), float(np.sqrt(noise)))

    @cached_property
    def guess(self) -> Floats:
        """Best linear unbiased prediction of the effects, float64 [m]."""
        return self._predict(self.y - self.y.mean())

    @cached_property
    def left(self) -> Floats:
        """What the guess leaves of y, float64 [E]."""
        left: Floats = self.y - self.y.mean() - self.guess[self.first] - self.guess[self.second]
        return left

    def draw(self, rng: np.random.Generator) -> Floats:
        """Effects given the graph, float64 [m]: the guess, and as much about it as it is unsure.

        The prediction from a simulated graph is off by an error that is distributed as that of the guess.
        """
        if self.noise == 0 or not self.spread.any():
            return self.guess
        effects = self.spread * rng.normal(size=len(self.spread))
        simulated = effects[self.first] + effects[self.second] + self.noise * rng.normal(size=len(self.y))
        return self.guess + effects - self._predict(simulated)

    def values(self, source: Integers, target: Integers, order: Integers, rng: np.random.Generator) -> Floats:
        """y of new edges, float64 [E]: the mean, drawn effects of their ends, and the residuals in the given order.

        Residuals are scaled to the deviation of the noise: what a guess leaves is less.

        Parameters
        ----------
        source, target
            Ends, numbered as effects are.
        order
            Permutation of the edges, int64 [E].
        rng
            Of the effects.
        """
        effects, left = self.guess, self.left
        if len(left) and (size := float(np.sqrt((left**2).mean()))) > 0:
            effects, left = self.draw(rng), left * (self.noise / size)
        y: Floats = self.y.mean() + effects[source] + effects[target] + left[order]
        return y

    def _predict(self, centred: Floats) -> Floats:
        """Effects S b with b of least |y - X S b|^2 + noise^2 |b|^2, S their deviations."""
        return self.spread * _least_squares(self._scaled, centred, self.noise)

    @cached_property
    def _scaled(self) -> Any:
        return (_design(self.first, self.second, len(self.spread)) * self.spread).tocsr()


def additive_part(first: Integers, second: Integers, y: Floats) -> Floats:
    """Least-squares fit of y = effect of the first end + effect of the second end, float64 [E], without a matrix."""
    design = _design(first, second, int(max(first.max(initial=0), second.max(initial=0))) + 1)
    fitted: Floats = design @ _least_squares(design, y)
    return fitted


def _design(first: Integers, second: Integers, m: int) -> Any:
    from scipy.sparse import csr_array

    rows = np.arange(len(first))
    ends = np.concatenate([rows, rows]), np.concatenate([first, second])
    return csr_array((np.ones(2 * len(first)), ends), shape=(len(first), m))


def _least_squares(design: Any, y: Floats, damp: float = 0.0) -> Floats:
    from scipy.sparse.linalg import lsqr

    effects: Floats = lsqr(design, y, damp=damp, atol=TOLERANCE, btol=TOLERANCE, iter_lim=MAX_STEPS)[0]
    return effects


def _rank(first: Integers, second: Integers, m: int) -> int:
    """Of the design: one for each effect in use, less one for each component in which every cycle is even."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    used = len(np.unique(np.concatenate([first, second])))
    ones = np.ones(len(first))
    plain = csr_array((ones, (first, second)), shape=(m, m))
    # Twice the nodes, edges from one copy to the other: a component with even cycles alone falls in two.
    cover = csr_array(
        (np.ones(2 * len(first)), (np.concatenate([first, second]), np.concatenate([second + m, first + m]))),
        shape=(2 * m, 2 * m),
    )
    parts = connected_components(plain, directed=False)[0] - (m - used)
    doubled = connected_components(cover, directed=False)[0] - 2 * (m - used)
    return int(used - (doubled - parts))


def _variance_of(
    ends: Integers, other: Integers, centred: Floats, explained: float, noise: float, rank: int
) -> float:
    """Variance of the effects of one kind of ends: what they explain beyond the other kind, less noise."""
    count = np.bincount(other)
    sums = np.bincount(other, centred)
    alone = float((sums[count > 0] ** 2 / count[count > 0]).sum())
    used = int((count > 0).sum())
    room = len(ends) - used
    return (explained - alone - noise * (rank - used)) / room if room > 0 else 0.0
