"""The library call for communities by any method."""

from __future__ import annotations

from typing import Any

from compgraph import catalogue
from compgraph.communities.result import Communities
from compgraph.errors import ConfigError
from compgraph.graph import ComputationalGraph


def find_communities(graph: ComputationalGraph, method: str = "louvain", seed: int = 0, **options: Any) -> Communities:
    """Communities of a graph.

    Parameters
    ----------
    graph
        Any graph; a method may refuse some kinds.
    method
        A name of `compgraph.catalogue.COMMUNITIES`: `louvain` (ordinary or signed modularity; for undirected
        graphs), `leiden-layered` (allowed-pairs modularity; for directed graphs with an architecture), …
    seed
        Of the search: the same seed gives the same labels.
    options
        Of the method (`n_runs`, `resolution`, …).

    Raises
    ------
    ConfigError
        If there is no such method.
    GraphError
        If the method cannot serve this graph.
    """
    if method not in catalogue.COMMUNITIES:
        valid = ", ".join(catalogue.COMMUNITIES)
        raise ConfigError(f"community method {method!r} is not known; valid are {valid}")
    found: Communities = catalogue.load(catalogue.COMMUNITIES[method])(graph, seed=seed, **options)
    return found
