"""ROIs by a block model of units and inputs together: units are alike that respond alike to the same groups of inputs.

The graph is complete and bipartite: unit u and input x are joined by the standardised signal of u on x, normally
distributed with a mean and variance of its own for each pair of a group of units and a group of inputs.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import canonical, n_parts
from compgraph.communities.blocks.library import load_graph_tool, reproducible
from compgraph.communities.blocks.states import NO_TOPOLOGY
from compgraph.communities.optimise import run_seeds
from compgraph.rois.number import Number, bounds
from compgraph.rois.signals import Floats, Units

Labels = npt.NDArray[np.int32]

GROUPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Numbers of groups, of units and of inputs, that searches start from."""

STARTS = 3
"""Starts of shortest description that are refined."""

SWEEPS = 30


def find(
    units: Units, n_rois: Number, seed: int, *, n_inputs: int = 200, odds: float = 100.0, n_runs: int = 1
) -> Labels:
    """Group units by co-clustering them with inputs.

    Parameters
    ----------
    units
        What is divided.
    n_rois
        Number of ROIs, or a range; None for what describes the signals shortest.
    seed
        Of the sample of inputs and of all runs.
    n_inputs
        Rows that are used, drawn without repetition; 0 for all. Time grows with units times rows.
    odds
        Groups of units are believed if they are so many times more probable than one group. Only asked where no number
        is given.
    n_runs
        Searches from different seeds; the shortest description is kept.

    Returns
    -------
    int32 [n]

    Raises
    ------
    MissingDependency
        If graph-tool is not installed.
    """
    values = _sample(units, n_inputs, seed)
    limits = bounds(n_rois)
    model = _Model(values)
    fits = []
    for own in run_seeds(seed, n_runs):
        with reproducible(own):
            fits += model.fits(limits, own)
    best = min(fits, key=lambda fit: fit.length)
    if limits is None:
        with reproducible(seed):
            one = min(model.fits((1, 1), seed), key=lambda fit: fit.length)
        if one.length - best.length < math.log(odds):
            return np.zeros(units.n, np.int32)
    return best.labels


@dataclass(frozen=True)
class _Fit:
    """Groups of the units, and the length of the description of units and inputs, nats."""

    labels: Labels
    length: float


class _Model:
    """Starts and refinements, on values [n_units, n_inputs]."""

    def __init__(self, values: Floats) -> None:
        self._gt = load_graph_tool()
        self._n, m = values.shape
        self._values = values
        self._graph = self._gt.Graph(directed=False)
        self._graph.add_vertex(self._n + m)
        unit, row = np.indices(values.shape).reshape(2, -1)
        self._graph.add_edge_list(np.stack([unit, self._n + row], axis=1))
        self._weight = self._graph.new_edge_property("double", vals=values.ravel())
        kind = np.repeat([0, 1], [self._n, m])
        self._kind = self._graph.new_vertex_property("int", vals=kind)
        left, size, right = np.linalg.svd(values, full_matrices=False)
        self._units, self._inputs = left * size, right.T * size

    def fits(self, limits: tuple[int, int] | None, seed: int) -> list[_Fit]:
        """Refined fits from the starts of shortest description; within limits the number of groups of units stays."""
        of_units = [k for k in GROUPS if k <= self._n] if limits is None else _between(*limits)
        of_inputs = [k for k in GROUPS if k <= len(self._inputs)]
        units = {k: _kmeans(self._units, k, seed) for k in of_units}
        inputs = {k: _kmeans(self._inputs, k, seed) for k in of_inputs}
        starts = [np.concatenate([a, n_parts(a) + b]) for a in units.values() for b in inputs.values()]
        lengths = [self._length(self._state(labels)) for labels in starts]
        found = []
        for place in np.argsort(lengths, kind="stable")[:STARTS]:
            state = self._state(starts[place])
            fixed: dict[str, Any] = {} if limits is None else {"d": 0, "allow_vacate": False}
            state.mcmc_sweep(beta=np.inf, niter=SWEEPS, entropy_args=NO_TOPOLOGY, **fixed)
            if limits is None:
                state.multiflip_mcmc_sweep(beta=np.inf, niter=SWEEPS, entropy_args=NO_TOPOLOGY)
            found.append(_Fit(canonical(state.b.a[: self._n]), self._length(state)))
        return found

    def _state(self, labels: npt.NDArray[Any]) -> Any:
        blocks = self._graph.new_vertex_property("int", vals=labels)
        return self._gt.inference.BlockState(
            self._graph, b=blocks, clabel=self._kind, pclabel=self._kind, deg_corr=False,
            recs=[self._weight], rec_types=["real-normal"],
        )  # fmt: skip

    def _length(self, state: Any) -> float:
        return float(state.entropy(**NO_TOPOLOGY))


def _sample(units: Units, n_inputs: int, seed: int) -> Floats:
    """Standardised signals [n_units, rows] of some rows."""
    total = units.n_rows
    count = min(n_inputs or total, total)
    chosen = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    parts, first = [], 0
    for rows in units.rows():
        inside = chosen[(chosen >= first) & (chosen < first + len(rows))] - first
        parts.append(rows[inside])
        first += len(rows)
    return np.concatenate(parts).T


def _between(low: int, high: int) -> list[int]:
    return [low, *(k for k in GROUPS if low < k < high), *([high] if high > low else [])]


def _kmeans(points: Floats, k: int, seed: int) -> Labels:
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than groups: fewer groups, no harm
        return canonical(KMeans(k, n_init=3, random_state=seed % 2**32).fit_predict(points[:, : max(k, 2)]))
