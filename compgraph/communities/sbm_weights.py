"""What a block model is fitted to: one value per pair of nodes, on a scale that carries no unit.

The priors of graph-tool's weight models know a scale, so the same data in another unit would get another
number of blocks; and a heavy tail, or a node that is merely strong, would be explained by blocks of its
own. Each transform here is recorded with the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from compgraph.communities.additive import fit_additive
from compgraph.communities.blocks.observed import Covariate
from compgraph.communities.pairs import Floats, Integers, Pairs, is_layered, node_pairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

Weights = Literal["real-normal", "real-exponential", "discrete-geometric", "discrete-poisson", "discrete-binomial"]
Constraint = Literal["auto", "layers", "levels", "bipartite", "none"]
SIGN = "sign"
"""Word that asks for the sign of each weight as a covariate of its own, beside a model of its size."""

DIGITS = 9
"""Values are rounded to this many digits, so that weights times a constant are the same to the last bit."""

LAYERED = ("layers", "levels")
"""Constraints under which the architecture says where edges may be."""

EXACT = 1e-9
"""Residuals of log |w| below this are rounding: scored by rank, rounding would look like data."""


@dataclass(frozen=True)
class Evidence:
    """What the fit sees.

    Attributes
    ----------
    pairs
        All pairs of nodes that have an edge.
    used
        Which of them the model explains, int64.
    value
        Their values on the scale of the model, float64, or None where only presence counts.
    sign
        Whether each weight is positive, float64, 0 or 1; None where signs are no covariate of their own.
    weights
        Name of the weight model, or None.
    constraint
        `layers`: the architecture says where edges may be; `levels`: and blocks keep to one level; `none`: edges may
        be anywhere; `bipartite`: and blocks keep to one of the two sides.
    transform
        How values were made of weights, JSON-able.
    notes
        Sentences that a reader of the result should know.
    """

    pairs: Pairs
    used: Integers
    value: Floats | None
    weights: Weights | None
    constraint: Literal["layers", "levels", "bipartite", "none"]
    transform: dict[str, Any]
    notes: tuple[str, ...] = ()
    sign: Floats | None = None

    @property
    def layered(self) -> bool:
        """Whether the architecture says where edges may be."""
        return self.constraint in LAYERED

    @property
    def masked(self) -> bool:
        """Whether presence is explained on the pairs that the architecture allows."""
        return self.layered and self.weights is None

    @property
    def topology(self) -> bool:
        """Whether presence is explained, by graph-tool's models, which know no forbidden pairs."""
        return not self.layered

    @property
    def covariates(self) -> tuple[Covariate, ...]:
        """What is known of each used pair."""
        value = () if self.value is None else (Covariate(self.value, str(self.weights)),)
        return value if self.sign is None else (*value, Covariate(self.sign, "discrete-binomial"))

    @property
    def source(self) -> Integers:
        """Source of each used pair."""
        return self.pairs.source[self.used]

    @property
    def target(self) -> Integers:
        """Target of each used pair."""
        return self.pairs.target[self.used]


def evidence(
    graph: ComputationalGraph, weights: str | Sequence[str] | None, standardise: bool | str, constraint: str
) -> Evidence:
    """The values that a block model of this graph explains; the arguments are those of `fit_sbm`."""
    model, signed = _check(weights, standardise, constraint)
    layered = is_layered(graph)
    if constraint in LAYERED and not layered:
        raise GraphError(
            f"sbm: constraint {constraint!r} needs a directed graph with an architecture; this {graph.kind} graph "
            f"is {'directed without one' if graph.directed else 'undirected'}; use 'none'"
        )
    pairs = node_pairs(graph)
    if constraint in LAYERED or (constraint == "auto" and layered):
        found = _layered(pairs, model)
        found = replace(found, constraint="levels" if constraint == "levels" else "layers")
    else:
        # Beside signs, values are sizes.
        found = _unconstrained(replace(pairs, weight=pairs.magnitude) if signed else pairs, model, standardise)
        found = replace(found, pairs=pairs, constraint="bipartite" if constraint == "bipartite" else "none")
    return _with_signs(found) if signed else found


def _check(
    weights: str | Sequence[str] | None, standardise: bool | str, constraint: str
) -> tuple[str | None, bool]:
    """The model of the weights, and whether signs are a covariate of their own."""
    words = [] if weights is None else [weights] if isinstance(weights, str) else list(weights)
    models = [word for word in words if word != SIGN]
    if len(models) > 1 or len(set(words)) < len(words) or any(word not in get_args(Weights) for word in models):
        raise ValueError(
            f"weights must be None or one of {', '.join(get_args(Weights))}, alone or with {SIGN!r}, not {weights!r}"
        )
    if SIGN in words and not models:
        raise ValueError(f"weights {SIGN!r} goes beside a model of the size of the weights: ['real-normal', {SIGN!r}]")
    if standardise not in (True, False, "scores"):
        raise ValueError(f"standardise must be True, False or 'scores', not {standardise!r}")
    if constraint not in get_args(Constraint):
        raise ValueError(f"constraint must be one of {', '.join(get_args(Constraint))}, not {constraint!r}")
    return (models[0] if models else None), SIGN in words


def _with_signs(seen: Evidence) -> Evidence:
    """With signs as a second covariate, if both occur; a sum of zero counts as negative."""
    sign = (seen.pairs.weight[seen.used] > 0).astype(np.float64)
    if not len(sign) or np.ptp(sign) == 0:
        return replace(seen, notes=(*seen.notes, "all weights have one sign, so signs say nothing"))
    return replace(seen, sign=sign, transform={**seen.transform, "sign": "1 where the sum of the weights is positive"})


def _layered(pairs: Pairs, weights: str | None) -> Evidence:
    """Normal scores of the residuals of log |w| beyond two-way effects, on pairs that have one; or presence alone."""
    if weights is None:
        every = np.arange(len(pairs.weight))
        return Evidence(pairs, every, None, None, "layers", {"value": "presence among the allowed pairs"})
    if weights != "real-normal":
        raise GraphError(
            f"sbm: on a layered graph the weights are explained as 'real-normal', not as {weights!r}; "
            "constraint='none' fits presence as well, and finds depth"
        )
    present = np.flatnonzero(pairs.magnitude > 0)
    zeros = len(pairs.magnitude) - len(present)
    notes = [f"{zeros} pairs have weight zero, hence no logarithm, and are left out"] if zeros else []
    # Sources and targets have effects of their own: a node writes and reads with different strengths.
    effects = fit_additive(
        pairs.source[present],
        pairs.target[present] + pairs.n_nodes,
        np.log(pairs.magnitude[present]),
        robust=True,
    )
    used = present[effects.informative]
    if len(used) < len(present):
        notes.append(
            f"{len(present) - len(used)} pairs are the only tie between parts of the graph, so that strengths "
            "explain them fully; they are left out"
        )
    transform = {
        "value": "normal scores of studentised residuals of log |w| beyond effects of source and target, "
        "among pairs into targets with as many channels",
        "fit": "Huber",
        "pairs_zero": zeros,
        "pairs_explained_by_strengths": len(present) - len(used),
    }
    residual = effects.studentised()
    residual[np.abs(residual) < EXACT] = 0
    value = _scores_by_channels(pairs, used, residual)
    if len(used) and not value.any():
        notes.append("all residuals are equal: strengths explain every weight")
    return Evidence(pairs, used, value, "real-normal", "layers", transform, tuple(notes))


def _scores_by_channels(pairs: Pairs, used: Integers, residual: Floats) -> Floats:
    """Normal scores among the pairs into targets that read in as many ways.

    The logarithm of a sum over q, k and v varies less than that of a single channel: scored together, heads
    and MLPs would be different blocks for that reason alone.
    """
    most = np.zeros(pairs.n_nodes, np.int64)
    np.maximum.at(most, pairs.target, pairs.edges)
    ways = most[pairs.target[used]]
    value = np.zeros(len(used))
    for count in np.unique(ways):
        value[ways == count] = normal_scores(residual[ways == count])
    return value


def _unconstrained(pairs: Pairs, weights: str | None, standardise: bool | str) -> Evidence:
    every = np.arange(len(pairs.weight))
    if weights is None:
        return Evidence(pairs, every, None, None, "none", {"value": "presence only"})
    if len(every) and np.ptp(pairs.weight) <= 1e-12 * np.abs(pairs.weight).max():
        note = "all weights are equal: only the presence of edges was explained"
        return Evidence(pairs, every, None, None, "none", {"value": "presence only"}, (note,))
    if weights == "real-exponential":
        value, transform = _positive(pairs, standardise)
        return Evidence(pairs, every, value, "real-exponential", "none", transform)
    if weights != "real-normal":
        discrete = cast(Weights, weights)
        return Evidence(pairs, every, _whole(pairs, discrete), discrete, "none", {"value": "weight"})
    value, transform = _real(pairs.weight, standardise)
    return Evidence(pairs, every, value, "real-normal", "none", transform)


def _positive(pairs: Pairs, standardise: bool | str) -> tuple[Floats, dict[str, Any]]:
    weight = pairs.weight
    if (weight < 0).any():
        raise GraphError(
            f"sbm: weights 'real-exponential' need weights of at least 0, and {int((weight < 0).sum())} of "
            f"{len(weight)} are negative (the least is {weight.min():.3g}); use 'real-normal'"
        )
    if standardise == "scores":
        raise GraphError("sbm: normal scores are negative too, so 'real-exponential' cannot explain them")
    if not standardise:
        return weight, {"value": "weight"}
    mean = float(weight.mean()) if len(weight) else 1.0
    return np.round(weight / mean, DIGITS), {"value": "weight / mean", "mean": mean}


def _whole(pairs: Pairs, weights: Weights) -> Floats:
    weight = pairs.weight
    if (weight < 0).any() or (weight != np.rint(weight)).any():
        odd = weight[(weight < 0) | (weight != np.rint(weight))][0]
        raise GraphError(f"sbm: weights {weights!r} need whole numbers of at least 0, and {odd:.6g} is not one")
    return weight


def without_values(seen: Evidence) -> Evidence:
    """The same pairs, of which only the presence is explained."""
    return replace(seen, value=None, sign=None, weights=None, transform={"value": "presence only"})


def _real(weight: Floats, standardise: bool | str) -> tuple[Floats, dict[str, Any]]:
    if not standardise or not len(weight):
        return weight, {"value": "weight"}
    if standardise == "scores":
        return normal_scores(weight), {"value": "normal scores of the weights"}
    mean, deviation = float(weight.mean()), float(weight.std())
    value = np.round((weight - mean) / deviation, DIGITS)
    return value, {"value": "(weight - mean) / deviation", "mean": mean, "deviation": deviation}


def normal_scores(values: npt.ArrayLike) -> Floats:
    """Normal quantiles of the mid-ranks: standard normal whatever the distribution; ties share a score.

    Values that agree to nine digits of their typical size are ties.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    given = np.asarray(values, np.float64)
    typical = float(np.median(np.abs(given))) or float(np.abs(given).max(initial=0)) or 1.0
    ranks = rankdata(np.round(given / typical, DIGITS))
    # Rounded like the other scales, so that ranks in the middle give exactly zero.
    scores: Floats = np.round(ndtri((ranks - 0.5) / len(given)), DIGITS)
    return scores
