"""Rank correlation: what heavy tails and monotone distortions of single nodes cannot move."""

from __future__ import annotations

from compgraph.connectivity.functional.moments import moments_of
from compgraph.connectivity.functional.pairs import graph_of_moments
from compgraph.connectivity.functional.setting import Setting
from compgraph.graph import ComputationalGraph


def compute(setting: Setting) -> ComputationalGraph:
    """Pearson correlation of the nodes' ranks, ties at their mean rank.

    Ranks are exact where all values fit into memory, and those among a random sample of rows otherwise (`ranks`); the
    attribute `ranks` says which.
    """
    moments = moments_of(setting, transform="rank")
    r = moments.correlation()
    return graph_of_moments(moments, "spearman", r, r=r)
