"""Greedy growth against its definition, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.circuits.greedy import greedy
from tests.circuits.graphs import names, scored


def grown(graph, n, by):
    """The definition: look at every edge into what is reached, take the strongest, the earlier of equal ones."""
    values = {"abs": np.abs(graph.weight), "signed": graph.weight, "negative": -graph.weight}[by]
    reached, kept = set(graph.outputs.tolist()), []
    for _ in range(n):
        heap = [e for e in range(graph.n_edges) if graph.target[e] in reached and e not in kept]
        if not heap:
            break
        best = min(heap, key=lambda e: (-values[e], e))
        kept.append(best)
        reached.add(int(graph.source[best]))
    return kept, reached


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", ["abs", "signed", "negative"])
def test_is_the_definition_with_and_without_ties(seed, by):
    for graph in (
        scored(seed=seed, n_heads=2, mlp=True),
        scored(np.random.default_rng(seed).integers(-1, 2, 12)),
        scored(np.ones(12)),
    ):
        for n in (0, 1, 2, 5, 9, graph.n_edges):
            kept, reached = grown(graph, n, by)
            choice = greedy(graph, n, by=by)
            assert np.flatnonzero(choice.edges).tolist() == sorted(kept)
            assert choice.record == {"reached": len(reached)}


def test_a_strong_edge_waits_until_its_target_is_reached():
    #  embed -> head 0 (q k v), then embed and head 0 -> head 1 (q, k, v), then embed, head 0, head 1 -> logits
    graph = scored([0, 0, 9, 0, 0, 0, 8, 0, 0, 0.1, 0.2, 0.3])
    chosen = graph.subgraph(greedy(graph, 3).edges)
    assert names(chosen) == {
        ("attn.1/head.0", "logits", ""),
        ("attn.0/head.0", "attn.1/head.0", "k"),
        ("embed", "attn.0/head.0", "v"),
    }


def test_fewer_edges_where_fewer_lead_to_the_output():
    graph = scored(np.ones(12))
    cut = graph.subgraph(graph.target != graph.outputs[0])
    assert greedy(cut, 5).edges.sum() == 0
