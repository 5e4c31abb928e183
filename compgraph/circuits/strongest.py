"""Selections by strength alone: the n largest, those above a threshold, a ratio of supporting edges."""

from __future__ import annotations

import numpy as np

from compgraph.circuits.choice import Choice, check_share, share_of
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import Order, strength, strongest


def top(graph: ComputationalGraph, n_edges: int, *, by: Order = "abs") -> Choice:
    """The n strongest edges, connected or not (MIB: `negative` for CPR, `abs` for CMD; Mueller et al. 2025)."""
    return Choice(graph.top_mask(n_edges, by))


def threshold(graph: ComputationalGraph, *, at: float = 0.0, by: Order = "abs") -> Choice:
    """Every edge whose strength is at least `at`."""
    if not np.isfinite(at):
        raise ValueError(f"at must be finite, not {at}")
    return Choice(strength(graph.weight, by) >= at)


def ratio(graph: ComputationalGraph, n_edges: int, *, share: float = 0.7, by: Order = "negative") -> Choice:
    """A share of edges by signed score, the rest by absolute score (Nikankin et al. 2025, arXiv 2510.25786).

    The `floor(share · n)` edges that support the behaviour most, then the strongest of those left whatever their sign.

    Parameters
    ----------
    share
        In [0, 1]; the authors try 0.6 to 0.9. 0 is `top` by absolute value, 1 by signed value.
    by
        Which sign supports: `negative` (default) for scores of a metric that is high where the model does well, since
        ablating a supporting edge lowers it; the authors score the loss and call these positive. `signed` for scores
        of a loss.

    Notes
    -----
    As in the authors' code, the first part takes the largest signed scores even where fewer edges than that support.
    The record says how many do (`supporting`).
    """
    check_share("share", share)
    signed = strength(graph.weight, by)
    first = strongest(signed, share_of(n_edges, share))
    rest = np.where(first, -np.inf, strength(graph.weight, "abs"))
    kept = first | strongest(rest, n_edges - int(first.sum()))
    return Choice(kept, {"supporting": int((kept & (signed > 0)).sum())})
