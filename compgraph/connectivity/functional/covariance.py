"""Covariance between nodes, in the units of the recorded numbers."""

from __future__ import annotations

from compgraph.connectivity.functional.moments import moments_of
from compgraph.connectivity.functional.pairs import graph_of_moments
from compgraph.connectivity.functional.setting import Setting
from compgraph.graph import ComputationalGraph


def compute(setting: Setting) -> ComputationalGraph:
    """Covariance (divided by the number of rows) of the plain means of the nodes' units, tested as correlations."""
    moments = moments_of(setting, standardise=False)
    return graph_of_moments(moments, "covariance", moments.covariance, r=moments.correlation())
