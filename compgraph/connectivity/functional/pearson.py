"""Pearson correlation between the nodes of a partition over the rows of the buffers."""

from __future__ import annotations

from pathlib import Path

from compgraph.connectivity.blockwise.score_matrix import ScoreMatrix
from compgraph.connectivity.functional.moments import moments_of
from compgraph.connectivity.functional.pairs import graph_of_moments
from compgraph.connectivity.functional.setting import Setting
from compgraph.connectivity.functional.strongest_pairs import strongest_pairs
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph


def compute(setting: Setting, *, keep: int = 0, matrix: str | Path | ScoreMatrix | None = None) -> ComputationalGraph:
    """Correlation of every pair of nodes, in one pass; see `compgraph.functional_connectivity`.

    A node's signal is the mean of its units' standardised activations (`signals`); rows of all items and
    positions are pooled.

    Parameters
    ----------
    keep
        Keep only so many of each node's edges, the strongest: nodes may then be more than a square of them fits into
        memory (`strongest_pairs`). 0 for all pairs.
    matrix
        Manifest of a result that takes all correlations, with `keep` only.

    Raises
    ------
    DataError
        A matrix without `keep`.
    """
    if keep > 0:
        return strongest_pairs(setting, keep, matrix)
    if matrix is not None:
        raise DataError(
            "functional: matrix writes correlations that are not kept; give keep, the edges of a node to keep"
        )
    moments = moments_of(setting)
    r = moments.correlation()
    return graph_of_moments(moments, "pearson", r, r=r)
