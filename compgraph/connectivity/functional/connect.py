"""The library call for functional graphs of any method."""

from __future__ import annotations

from typing import Any

from compgraph import catalogue
from compgraph.connectivity.functional.signals import Recording
from compgraph.errors import ConfigError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition


def functional_connectivity(
    buffer: Recording, partition: Partition, method: str = "pearson", **options: Any
) -> ComputationalGraph:
    """Undirected graph of what varies together in an activation buffer.

    Parameters
    ----------
    buffer
        Recorded activations (`compgraph.open_buffer`).
    partition
        The nodes; sites that were not recorded have none.
    method
        A name of `compgraph.catalogue.FUNCTIONAL`.
    options
        Of the method.

    Raises
    ------
    ConfigError
        If there is no such method.
    GraphError, DataError
        As the method says.
    """
    if method not in catalogue.FUNCTIONAL:
        raise ConfigError(f"functional method {method!r} is not known; valid are {', '.join(catalogue.FUNCTIONAL)}")
    graph: ComputationalGraph = catalogue.load(catalogue.FUNCTIONAL[method])(buffer, partition, **options)
    return graph
