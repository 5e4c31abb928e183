"""The library call for communities by any method, and their comparison with chance."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compgraph import catalogue
from compgraph.communities.chance import NULLS, sampler
from compgraph.communities.modularity import UnscaledError
from compgraph.communities.optimise import run_seeds
from compgraph.communities.pairs import node_pairs
from compgraph.communities.result import Chance, Communities, undefined
from compgraph.errors import ConfigError
from compgraph.graph import ComputationalGraph
from compgraph.graph_import import as_graph
from compgraph.nulls.workers import over_seeds
from compgraph.progress import track

NETWORK = "network"
"""Null model of graphs that are given."""

N_NULLS = 99
"""Null graphs where the caller says nothing."""


def find_communities(
    graph: Any,
    method: str = "louvain",
    seed: int = 0,
    *,
    n_nulls: int = N_NULLS,
    null: str | None = None,
    null_graphs: Sequence[ComputationalGraph] | None = None,
    workers: int = 1,
    **options: Any,
) -> Communities:
    """Communities of a graph, and whether they are more than chance gives.

    Parameters
    ----------
    graph
        A `ComputationalGraph`, a networkx or igraph graph, or a square matrix; a method may refuse some kinds.
        Self-loops are dropped and parallel edges added up, with a note.
    method
        A name of `compgraph.catalogue.COMMUNITIES`: `louvain`, `leiden` (ordinary, signed or directed modularity,
        constant Potts), `leiden-layered` (allowed-pairs modularity; for directed graphs with an architecture),
        `spectral`, `infomap`, …
    seed
        Of the search and of the nulls: the same seed gives the same result.
    n_nulls
        Null graphs; each is searched once and compared with the first run on the graph. 0: no comparison. Null
        graph k is the same however many there are.
    null
        `strength` (degrees and strengths, allowed pairs) or `pairs` (the same weights on any allowed pairs); None:
        what fits the method, `pairs` for core-periphery and `strength` for all others. `network`: graphs of
        randomised networks, which are given.
    null_graphs
        For `null="network"`: graphs made as `graph` was (`compgraph.statistics.nulls.network`). All are used, and
        `n_nulls` is not read.
    workers
        Processes among which null graphs are shared; they change no number. Above 1, a script needs the usual
        `if __name__ == "__main__":` guard.
    options
        Of the method (`n_runs`, `resolution`, …).

    Returns
    -------
    Communities
        With `chance`: `z`, `p`, and `n_beyond_chance`, which is 0 where nothing was found. Where weights are too
        unequal for the modularity of a layered graph, one community of quality NaN, with a note.

    Raises
    ------
    ConfigError
        If there is no such method or null, or null graphs are missing or not wanted.
    GraphError
        If the method cannot serve this graph, or it is no graph.
    """
    if method not in catalogue.COMMUNITIES:
        valid = ", ".join(catalogue.COMMUNITIES)
        raise ConfigError(f"community method {method!r} is not known; valid are {valid}")
    if null is not None and null not in (*NULLS, NETWORK):
        raise ConfigError(f"null model {null!r} is not known; valid are {', '.join((*NULLS, NETWORK))}")
    if n_nulls < 0:
        raise ValueError(f"n_nulls must be at least 0, not {n_nulls}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if (null == NETWORK) != bool(null_graphs) and (null_graphs or n_nulls):
        given_graphs = len(null_graphs or ())
        raise ConfigError(
            f"null model {null!r}, {given_graphs} null_graphs: network needs them, and no other takes any"
        )
    entry = catalogue.COMMUNITIES[method]
    search: Callable[..., Communities] = catalogue.load(entry)
    given = as_graph(graph)
    found = _searched(given, method, seed, options)
    found = replace(found, notes=found.notes + _conversion_notes(given))
    if n_nulls == 0 and not null_graphs:
        return found
    if any(option.name == "n_runs" for option in entry.options):
        options = options | {"n_runs": 1}
    chosen = null or str(getattr(sys.modules[search.__module__], "NULL", "strength"))
    search_one = _Search(method, seed, options)
    reason = _incomparable(given, found.runs[0][1])
    if reason:
        drawn = []
    elif null_graphs:
        drawn = [search_one(one) for one in track(null_graphs, "null graphs")]
    else:
        drawn = over_seeds(_Nulls(given, chosen, search_one), run_seeds(seed + 1, n_nulls), workers, "null graphs")
    chance = _chance(chosen, found.runs[0][1], drawn, reason)
    notes = (f"no comparison with chance: {chance.reason}",) if chance.reason and not len(chance.nulls) else ()
    found = replace(found, chance=chance, notes=found.notes + notes)
    if found.n_beyond_chance == 0:
        told = f"p = {found.p:.3g}: no more than chance gives"
        found = replace(found, notes=(*found.notes, told))
    return found


def _searched(graph: ComputationalGraph, method: str, seed: int, options: dict[str, Any]) -> Communities:
    """What a method finds; one community of undefined quality where the expected weights are out of reach."""
    search: Callable[..., Communities] = catalogue.load(catalogue.COMMUNITIES[method])
    try:
        return search(graph, seed=seed, **options)
    except UnscaledError as error:
        weighted = node_pairs(graph)
        strength = np.zeros(graph.n_nodes)
        for ends in (weighted.source, weighted.target):
            strength += np.bincount(ends, weighted.magnitude, minlength=graph.n_nodes)
        return undefined(graph, strength == 0, method, {"seed": seed, **options}, str(error))


@dataclass(frozen=True)
class _Search:
    """One run of a method, as it is made on the graph and on every null graph."""

    method: str
    seed: int
    options: dict[str, Any]

    def __call__(self, graph: ComputationalGraph) -> tuple[float, int]:
        found = _searched(graph, self.method, self.seed, self.options)
        return found.quality, found.n


@dataclass(frozen=True)
class _Nulls:
    """What a process needs to draw and search null graphs."""

    graph: ComputationalGraph
    null: str
    search: _Search

    def prepared(self) -> Callable[[int], tuple[float, int]]:
        sample = sampler(self.graph, self.null, self.search.seed)
        return lambda null_seed: self.search(sample(np.random.default_rng(null_seed)))


def _chance(null: str, value: float, drawn: list[tuple[float, int]], reason: str) -> Chance:
    """Quality of the first run against the same search in null graphs."""
    none = Chance(null, value, np.zeros(0), np.zeros(0, np.int64), reason)
    if reason:
        return none
    qualities, n = np.array([one[0] for one in drawn]), np.array([one[1] for one in drawn], np.int64)
    if not np.isfinite(qualities).all():
        return replace(none, reason="the quality is undefined for some null graphs")
    chance = Chance(null, value, qualities, n)
    return replace(chance, reason="all null graphs have the same quality: no z") if np.isnan(chance.z) else chance


def _incomparable(graph: ComputationalGraph, value: float) -> str:
    if not graph.weight.any():
        return "the graph has no edge with weight"
    if np.isnan(value):
        return "the quality is undefined"
    return ""


def _conversion_notes(graph: ComputationalGraph) -> tuple[str, ...]:
    record = graph.attributes.get("converted", {})
    told = {"self_loops": "self-loops were dropped", "parallel_edges": "parallel edges were added up"}
    return tuple(f"{record[key]} {text}" for key, text in told.items() if record.get(key))
