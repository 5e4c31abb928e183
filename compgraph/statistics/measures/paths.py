"""Paths from the input to the output, and distances."""

from __future__ import annotations

import math

import numpy as np

from compgraph.communities.pairs import Floats, Integers
from compgraph.statistics.measures.kinds import NO_LEVELS, measure
from compgraph.statistics.view import DENSE_NODES, UndefinedError, View

SOURCES = 100
"""Nodes from which distances are measured where there are more than `DENSE_NODES`."""

NO_PATH = "no path leads from the input to the output"


@measure(directed=NO_LEVELS, undirected=NO_LEVELS)
def log_paths(view: View, seed: int) -> float:
    """Number of paths from input to output, as its logarithm to base 10; weights do not count."""
    number = count_paths(view)
    if number == 0:
        raise UndefinedError(NO_PATH)
    return math.log10(number)


def count_paths(view: View) -> int:
    """Number of paths from input to output, exactly; a pair of nodes in three channels is one step."""
    counts = [0] * view.n_nodes
    for node in view.inputs.tolist():
        counts[node] = 1
    order = np.argsort(view.level[view.target], kind="stable")
    for source, target in zip(view.source[order].tolist(), view.target[order].tolist(), strict=True):
        counts[target] += counts[source]
    return sum(counts[node] for node in view.outputs.tolist())


@measure(directed=NO_LEVELS, undirected=NO_LEVELS)
def effective_paths(view: View, seed: int) -> float:
    """Effective number of paths from input to output: exp of the entropy of a walk along |w|.

    The walk starts at an output, in proportion to in-strength, and steps back to source u of node v with
    probability |w_uv| / sum over sources that the input reaches. Its entropy is that of the start plus, for
    each node, expected visits times entropy of the step.
    """
    bands = _bands(view)
    reached = np.zeros(view.n_nodes, dtype=bool)
    reached[view.inputs] = True
    for edges in bands:
        reached[view.target[edges[reached[view.source[edges]]]]] = True
    weight = view.magnitude * reached[view.source]
    into = np.bincount(view.target, weight, minlength=view.n_nodes)
    visits = np.zeros(view.n_nodes)
    visits[view.outputs] = into[view.outputs]
    if not visits.any():
        raise UndefinedError(NO_PATH)
    visits /= visits.sum()
    total = entropy(visits)
    share = np.divide(weight, into[view.target], out=np.zeros_like(weight), where=weight > 0)
    surprise = -share * np.log(share, out=np.zeros_like(share), where=share > 0)
    for edges in reversed(bands):
        arriving = visits[view.target[edges]]
        total += float((arriving * surprise[edges]).sum())
        visits += np.bincount(view.source[edges], arriving * share[edges], minlength=view.n_nodes)
    return float(np.exp(total))


@measure()
def efficiency(view: View, seed: int) -> float:
    """Mean over pairs that could have an edge of 1 / distance; an edge is mean weight / |w| long.

    Undirected: global efficiency (Latora & Marchiori 2001). Pairs without a path count 0. With more than
    2,000 nodes, distances are measured from 100 of them drawn at random.
    """
    n = view.n_nodes
    drawn = np.sort(np.random.default_rng(seed).choice(n, SOURCES, replace=False)) if n > DENSE_NODES else np.arange(n)
    possible = int(view.allowed.partners[0][drawn].sum())
    if possible == 0:
        raise UndefinedError("no node of the sample could have an edge")
    lengths = view.magnitude.mean() / view.magnitude
    graph = view.igraph()
    total = 0.0
    for start in range(0, len(drawn), DENSE_NODES):
        nodes = drawn[start : start + DENSE_NODES]
        found = np.array(graph.distances(source=nodes.tolist(), weights=lengths, mode="out"))
        allowed = view.allowed.has(nodes[:, None], np.arange(n)[None, :])
        total += float(np.divide(1.0, found, out=np.zeros_like(found), where=allowed).sum())
    return total / possible


def _bands(view: View) -> list[Integers]:
    """Numbers of the edges, by the level of their target, from the lowest."""
    level = view.level[view.target]
    order = np.argsort(level, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(level[order])) + 1)


def entropy(share: Floats) -> float:
    """Of shares that sum to 1, in nats."""
    positive = share[share > 0]
    return float(-(positive * np.log(positive)).sum())
