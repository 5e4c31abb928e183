"""Pearson correlation between the nodes of a partition over the rows of the buffers."""

from __future__ import annotations

from compgraph.connectivity.functional.moments import moments_of
from compgraph.connectivity.functional.pairs import graph_of_moments
from compgraph.connectivity.functional.setting import Setting
from compgraph.graph import ComputationalGraph


def compute(setting: Setting) -> ComputationalGraph:
    """Correlation of every pair of nodes, in one pass; see `compgraph.functional_connectivity`.

    A node's signal is the mean of its units' standardised activations (`signals`); rows of all items and
    positions are pooled.
    """
    moments = moments_of(setting)
    r = moments.correlation()
    return graph_of_moments(moments, "pearson", r, r=r)
