"""Edges whose sign is stable over samples of the data."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from compgraph.circuits.choice import Choice
from compgraph.circuits.ensemble import check_same_edges, with_scores
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import strongest


def stable_sign(graph: ComputationalGraph, n_edges: int, *, level: float = 0.95, fill: bool = True) -> Choice:
    """The strongest of the edges whose sign is certain, then the strongest of the others.

    An edge's sign is certain where the interval `score ± z · stderr` excludes 0.

    Parameters
    ----------
    graph
        With the column `stderr`, the sampling standard error of each score: as the effective methods give it (over
        examples), or `summarise_replicates` (over bootstrap replicates).
    level
        Coverage of the interval, in (0, 1).
    fill
        Whether uncertain edges fill up to n where fewer are certain.

    Returns
    -------
    Choice
        The record says how many edges are certain in all (`certain`) and in the circuit (`certain_kept`).

    Raises
    ------
    GraphError
        No column `stderr`.

    Notes
    -----
    After the bootstrap filter of Nikankin et al. 2025 (arXiv 2510.25786), with two of its errors put right. Their
    interval is `mean ± 1.96 sd / sqrt(10)` over 10 resamples, which measures only how well 10 resamples settle the
    bootstrap mean, and shrinks to nothing with more of them; the sampling error of a score is sd itself. And their code
    loses the edges that fill up.
    """
    if "stderr" not in graph.columns:
        raise GraphError("selection 'stable-sign' needs the column 'stderr'; make it with summarise_replicates")
    if not 0 < level < 1:
        raise GraphError(f"level {level} is out of range; a coverage lies between 0 and 1")
    z = NormalDist().inv_cdf((1 + level) / 2)
    size = np.abs(graph.weight)
    certain = size > z * graph.columns["stderr"]
    kept = certain & strongest(np.where(certain, size, -np.inf), n_edges)
    if fill:
        rest = np.where(kept | certain, -np.inf, size)
        kept |= ~certain & strongest(rest, n_edges - int(kept.sum()))
    return Choice(kept, {"certain": int(certain.sum()), "certain_kept": int((kept & certain).sum())})


def summarise_replicates(replicates: Sequence[ComputationalGraph]) -> ComputationalGraph:
    """One graph from scores of several bootstrap samples of the same data.

    Parameters
    ----------
    replicates
        At least two graphs of the same edges in the same order.

    Returns
    -------
    ComputationalGraph
        Weight: the mean over the R replicates. Columns: `stderr`, `sd · sqrt(1 + 1/R)` with sd the standard deviation
        over replicates (divisor R - 1): the sampling error of a score, sd, together with what R replicates leave
        uncertain about their mean; `agreement`, the share of replicates whose score has the mean's sign.

    Raises
    ------
    GraphError
        Fewer than two, or different edges.
    """
    if len(replicates) < 2:
        raise GraphError(f"a spread needs at least two replicates, not {len(replicates)}")
    first = check_same_edges(replicates)
    scores = np.stack([np.asarray(graph.weight, dtype=np.float64) for graph in replicates])
    mean = scores.mean(0)
    error = scores.std(0, ddof=1) * np.sqrt(1 + 1 / len(scores))
    columns = {"stderr": error, "agreement": (np.sign(scores) == np.sign(mean)).mean(0)}
    attributes = first.attributes | {"n_replicates": len(replicates)}
    return with_scores(first, mean, attributes, columns)
