"""The entry to every selection rule."""

from __future__ import annotations

from typing import Any

from compgraph.catalogue import SELECTIONS, load
from compgraph.circuits.choice import Choice, edge_budget
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph


def select_circuit(
    graph: ComputationalGraph,
    n_edges: int | float | None = None,
    method: str = "top",
    *,
    prune: bool = False,
    **options: Any,
) -> ComputationalGraph:
    """A circuit: the edges of a scored graph that a rule keeps.

    Parameters
    ----------
    graph
        Scores as weights.
    n_edges
        How many edges at most: a number (int), or a share of all edges (float in (0, 1], `int(share · E)`). None for
        `threshold` alone, which has no number.
    method
        `top`, `threshold`, `greedy`, `ratio`, `stable-sign` or `ilp` (`compgraph.catalogue.SELECTIONS`).
    prune
        Drop what is on no path from input to output afterwards. This can leave fewer edges than asked for, and changes
        what a circuit computes under zero and mean ablation, so it is said in the attributes.
    options
        The rule's own: `by` (all but `stable-sign`), `at` (`threshold`), `share` (`ratio`, `ilp`), `level` and `fill`
        (`stable-sign`), `time_limit` (`ilp`).

    Returns
    -------
    ComputationalGraph
        The kept edges in their old order with their scores, and all nodes (unless pruned).
        `attributes["selection"][-1]` (before a possible `{"prune": true}`) holds method, n_edges, kept, the options and
        what the rule reports.

    Raises
    ------
    GraphError
        An unknown rule or option, a size out of range, a graph that the rule cannot serve.

    Notes
    -----
    Of edges with equal strength the earlier in the graph's order is taken, so that a selection is reproducible.
    """
    if method not in SELECTIONS:
        raise GraphError(f"selection {method!r} is not known; valid are {', '.join(SELECTIONS)}")
    own = {option.name: option for option in SELECTIONS[method].options}
    for name, value in options.items():
        if name not in own:
            listed = ", ".join(own) or "none"
            raise GraphError(f"selection {method!r} has no option {name!r}; its options: {listed}")
        if own[name].choices and value not in own[name].choices:
            raise GraphError(f"selection {method!r}: {name} {value!r} is not one of {', '.join(own[name].choices)}")
    settings = {name: options.get(name, option.default) for name, option in own.items()}
    if (n_edges is None) != (method == "threshold"):
        why = "keeps what is strong enough; leave n_edges out" if n_edges is not None else "needs n_edges"
        raise GraphError(f"selection {method!r} {why}")
    if n_edges is None:
        choice: Choice = load(SELECTIONS[method])(graph, **settings)
    else:
        budget = edge_budget(graph, n_edges)
        choice = load(SELECTIONS[method])(graph, budget, **settings)
        settings = {"n_edges": budget} | settings
    circuit = graph.subgraph(choice.edges)
    record = {"method": method, "kept": int(choice.edges.sum())} | settings | choice.record
    circuit.attributes["selection"][-1] = record
    return circuit.prune() if prune else circuit
