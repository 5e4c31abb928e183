"""The library call for communities by any method, and their comparison with chance."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from compgraph import catalogue
from compgraph.communities.chance import NULLS, sampler
from compgraph.communities.optimise import run_seeds
from compgraph.communities.result import Chance, Communities
from compgraph.errors import ConfigError
from compgraph.graph import ComputationalGraph
from compgraph.graph_import import as_graph

N_NULLS = 99
"""Null graphs where the caller says nothing."""


def find_communities(
    graph: Any,
    method: str = "louvain",
    seed: int = 0,
    *,
    n_nulls: int = N_NULLS,
    null: str | None = None,
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
        what fits the method, `pairs` for core-periphery and `strength` for all others.
    options
        Of the method (`n_runs`, `resolution`, …).

    Returns
    -------
    Communities
        With `chance`: `z`, `p`, and `n_beyond_chance`, which is 0 where nothing was found.

    Raises
    ------
    ConfigError
        If there is no such method or null.
    GraphError
        If the method cannot serve this graph, or it is no graph.
    """
    if method not in catalogue.COMMUNITIES:
        valid = ", ".join(catalogue.COMMUNITIES)
        raise ConfigError(f"community method {method!r} is not known; valid are {valid}")
    if null is not None and null not in NULLS:
        raise ConfigError(f"null model {null!r} is not known; valid are {', '.join(NULLS)}")
    if n_nulls < 0:
        raise ValueError(f"n_nulls must be at least 0, not {n_nulls}")
    entry = catalogue.COMMUNITIES[method]
    search: Callable[..., Communities] = catalogue.load(entry)
    given = as_graph(graph)
    found = search(given, seed=seed, **options)
    found = replace(found, notes=found.notes + _conversion_notes(given))
    if n_nulls == 0:
        return found
    if any(option.name == "n_runs" for option in entry.options):
        options = options | {"n_runs": 1}
    chosen = null or str(getattr(sys.modules[search.__module__], "NULL", "strength"))
    chance = compare(given, found, lambda drawn: search(drawn, seed=seed, **options), chosen, n_nulls, seed)
    notes = (f"no comparison with chance: {chance.reason}",) if chance.reason and not len(chance.nulls) else ()
    found = replace(found, chance=chance, notes=found.notes + notes)
    if found.n_beyond_chance == 0:
        told = f"p = {found.p:.3g}: no more than chance gives"
        found = replace(found, notes=(*found.notes, told))
    return found


def compare(
    graph: ComputationalGraph,
    found: Communities,
    search: Callable[[ComputationalGraph], Communities],
    null: str,
    n_nulls: int,
    seed: int,
) -> Chance:
    """Quality of the first run against the same search in null graphs."""
    value = found.runs[0][1]
    reason = _incomparable(graph, value)
    if reason:
        return Chance(null, value, np.zeros(0), np.zeros(0, np.int64), reason)
    sample = sampler(graph, null, seed)
    drawn = [search(sample(np.random.default_rng(null_seed))) for null_seed in run_seeds(seed + 1, n_nulls)]
    qualities = np.array([one.quality for one in drawn])
    n = np.array([one.n for one in drawn], np.int64)
    if not np.isfinite(qualities).all():
        return Chance(null, value, np.zeros(0), np.zeros(0, np.int64), "the quality is undefined for some null graphs")
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
