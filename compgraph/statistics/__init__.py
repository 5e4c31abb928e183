"""Numbers that describe a graph, each against a null model of graphs that only chance has arranged."""

from compgraph.statistics.testing import network_statistics

__all__ = ["network_statistics"]
