"""How much circuits depend on what their scores were made from: examples, seeds, phrasings.

Two circuits of n edges are compared by the Jaccard index |A ∩ B| / |A ∪ B| and by rank-biased overlap (Webber, Moffat
and Zobel 2010, ACM TOIS 28(4), 20), which looks at the order too:

    RBO = (1 - p) Σ_{d=1}^{n} p^(d-1) X_d / d  +  p^n X_n / n,      X_d = |A_d ∩ B_d|

with A_d the d strongest edges. The last term goes on beyond n as at n, so that equal orders give 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.ablation.baselines import Baseline
from compgraph.ablation.circuits import masks_for
from compgraph.circuits.choice import edge_budget
from compgraph.circuits.ensemble import check_same_edges
from compgraph.errors import DataError, GraphError
from compgraph.evaluation.curve import SAME
from compgraph.evaluation.intervals import resamples as resampling
from compgraph.evaluation.planning import FRACTIONS
from compgraph.evaluation.scores import circuit_scores, normalised
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import Order, strength, strongest
from compgraph.models.network import Network

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def resampled_scores(per_example: npt.ArrayLike, resamples: int = 100, seed: int = 0) -> Floats:
    """Mean scores over bootstrap samples of the examples, [resamples, edges].

    Parameters
    ----------
    per_example
        Scores of single examples, [examples, edges].
    """
    scores = np.asarray(per_example, np.float64)
    if scores.ndim != 2 or len(scores) < 2 or not np.isfinite(scores).all():
        raise DataError(f"per_example {scores.shape} must be finite scores [examples, edges] of at least 2 examples")
    if resamples < 2:
        raise DataError(f"resamples is {resamples}; at least 2 can be compared")
    n = len(scores)
    weights = resampling(n, resamples, seed)
    found: Floats = weights @ scores
    return found


def stability(
    replicates: Mapping[str, Sequence[ComputationalGraph] | npt.NDArray[Any]]
    | Sequence[ComputationalGraph]
    | npt.NDArray[Any],
    sizes: Sequence[float | int] = FRACTIONS,
    *,
    by: Order = "abs",
    persistence: float | None = None,
) -> pd.DataFrame:
    """Agreement of the circuits of several score sets.

    Parameters
    ----------
    replicates
        Graphs with the same edges, or scores [replicates, edges] (`resampled_scores`); or a mapping from what differs
        (`bootstrap`, `seeds`, `phrasings`) to one of these.
    sizes
        Shares of the edges (floats in (0, 1]) or numbers of edges (ints); a share of less than an edge gives no row.
    by
        `abs`, `signed` or `negative`.
    persistence
        p of rank-biased overlap, in (0, 1); None: 1 - 1 / (n + 1), by which the depth looked at is n + 1 on average.

    Returns
    -------
    DataFrame
        One row per source and size: `source`, `fraction`, `n_edges`; over all pairs of replicates `jaccard`,
        `jaccard_min`, `jaccard_max`, `rbo`, `rbo_min`, `rbo_max`; `jaccard_chance` (n / E shared by chance:
        s / (2 - s), s = n / E); `core` (edges in every circuit), `union` (in any); `n_replicates`.

    Raises
    ------
    GraphError, DataError
        Fewer than two replicates, different edges, sizes or persistence out of range.
    """
    import pandas as pd

    sources = replicates if isinstance(replicates, Mapping) else {"replicates": replicates}
    if persistence is not None and not 0 < persistence < 1:
        raise DataError(f"persistence is {persistence}; it lies between 0 and 1")
    rows = []
    for source, members in sources.items():
        scores = _scores(source, members)
        for size in sizes:
            n = _count(size, scores.shape[1])
            if n:
                about = {"source": source, "fraction": n / scores.shape[1], "n_edges": n}
                rows.append(about | _agreement(scores, n, by, persistence))
    return pd.DataFrame(rows)


def rank_biased_overlap(first: Ints, second: Ints, persistence: float) -> float:
    """Extrapolated rank-biased overlap of two orders, int [n] each, strongest first."""
    n = len(first)
    _, a, b = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    shared = np.cumsum(np.bincount(np.maximum(a, b), minlength=n)) / np.arange(1, n + 1)
    weights = (1 - persistence) * persistence ** np.arange(n)
    return float(weights @ shared + persistence**n * shared[-1])


def cpr_stability(
    net: Network,
    graphs: Sequence[ComputationalGraph],
    pairs: Any,
    sizes: Sequence[float] = FRACTIONS,
    *,
    metrics: Sequence[str] = ("logit_difference",),
    select: Order = "abs",
    ablation: str = "edge",
    baseline: str | Baseline = "counterfactual",
    seed: int = 0,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """CPR and CMD of several score sets of the same edges on the same data, all circuits in one pass.

    Parameters
    ----------
    graphs
        From other examples, seeds or phrasings.
    sizes
        Kept shares, ascending; the areas go from the first to the last.

    Returns
    -------
    DataFrame
        One row per graph and metric: `graph` (number), `metric`, `cpr`, `cmd`, `reason`. Their spread is
        `table.groupby("metric")["cpr"].agg(["mean", "std", "var"])`.

    Raises
    ------
    GraphError, DataError
        Fewer than two graphs, different edges, sizes that are not ascending shares; data that cannot serve.
    """
    import pandas as pd

    if len(graphs) < 2:
        raise GraphError(f"a spread needs at least 2 graphs, not {len(graphs)}")
    first = check_same_edges(graphs)
    shares = np.asarray(sizes, np.float64)
    if len(shares) < 2 or (np.diff(shares) <= 0).any():
        raise GraphError(f"sizes {list(sizes)} must be at least 2 ascending shares of the edges")
    counts = [edge_budget(first, float(size)) for size in shares]
    frame = masks_for(net, first, same_model=False)
    masks = [frame.mask(graph.top(n, select)) for graph in graphs for n in counts]
    everything = np.stack([np.zeros(frame.n_edges, bool), *masks])
    means = circuit_scores(
        net, frame, everything, pairs, metrics, ablation=ablation, baseline=baseline, batch_size=batch_size, seed=seed
    ).mean(2)
    fractions = np.array(counts) / first.n_edges
    rows = []
    for m, metric in enumerate(metrics):
        curves = means[2:, m].reshape(len(graphs), len(counts))
        for number, curve in enumerate(curves):
            row = {"graph": number, "metric": metric, "cpr": np.nan, "cmd": np.nan, "reason": SAME}
            share = normalised(curve, means[0, m], means[1, m])
            if share is not None:
                row |= {"cpr": _area(fractions, share), "cmd": _area(fractions, np.abs(1 - share)), "reason": ""}
            rows.append(row)
    return pd.DataFrame(rows)


def _area(x: Floats, y: Floats) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _scores(source: str, members: Sequence[ComputationalGraph] | npt.NDArray[Any]) -> Floats:
    if isinstance(members, np.ndarray):
        scores = np.asarray(members, np.float64)
    else:
        check_same_edges(members)
        scores = np.stack([np.asarray(graph.weight, np.float64) for graph in members])
    if scores.ndim != 2 or len(scores) < 2 or not np.isfinite(scores).all():
        raise DataError(f"{source}: finite scores [replicates, edges] of at least 2 replicates, not {scores.shape}")
    return scores


def _count(size: float | int, n_edges: int) -> int:
    share = isinstance(size, float | np.floating)
    if not (0 < size <= 1 if share else 1 <= size <= n_edges):
        valid = "a share of edges lies in (0, 1]" if share else f"there are {n_edges} edges"
        raise GraphError(f"size {size} is out of range; {valid}")
    return int(size * n_edges + 1e-9) if share else int(size)


def overlaps(values: Floats, n: int, persistence: float) -> tuple[Floats, Floats]:
    """Jaccard index and rank-biased overlap of the n strongest edges, of every pair of rows of [replicates, edges]."""
    masks = [strongest(row, n) for row in values]
    orders = [np.flatnonzero(m)[np.argsort(-row[m], kind="stable")] for m, row in zip(masks, values, strict=True)]
    pairs = list(combinations(range(len(masks)), 2))
    jaccard = np.array([(masks[a] & masks[b]).sum() / (masks[a] | masks[b]).sum() for a, b in pairs])
    return jaccard, np.array([rank_biased_overlap(orders[a], orders[b], persistence) for a, b in pairs])


def _agreement(scores: Floats, n: int, by: Order, persistence: float | None) -> dict[str, Any]:
    values = np.stack([strength(row, by) for row in scores])
    jaccard, rbo = overlaps(values, n, n / (n + 1) if persistence is None else persistence)
    masks = np.stack([strongest(row, n) for row in values])
    share = n / scores.shape[1]
    found = {"jaccard": jaccard, "rbo": rbo}
    row: dict[str, Any] = {}
    for name, numbers in found.items():
        row |= {name: numbers.mean(), f"{name}_min": numbers.min(), f"{name}_max": numbers.max()}
    core, union = int(masks.all(0).sum()), int(masks.any(0).sum())
    return row | {"jaccard_chance": share / (2 - share), "core": core, "union": union, "n_replicates": len(masks)}
