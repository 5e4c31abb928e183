"""Numbers that describe a graph, each against a null model of graphs that only chance has arranged."""

from compgraph.statistics.compare import compare_graphs
from compgraph.statistics.testing import network_statistics

__all__ = ["compare_graphs", "network_statistics"]
