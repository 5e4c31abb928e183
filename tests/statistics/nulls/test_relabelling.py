from __future__ import annotations

import numpy as np

from compgraph import catalogue
from compgraph.statistics.measures.kinds import value_of
from compgraph.statistics.nulls.relabelling import node_permutation
from compgraph.statistics.view import view
from tests.statistics.graphs import scores, sparse, thinned


def test_nodes_change_roles_within_their_site_only() -> None:
    seen = thinned(0.4)
    drawn = node_permutation(seen)(np.random.default_rng(0))
    assert not np.array_equal(drawn.dense(), seen.dense())
    for group in np.unique(seen.allowed.group):
        members = seen.allowed.group == group
        assert np.sort(drawn.strength[members]).round(9).tolist() == np.sort(seen.strength[members]).round(9).tolist()


def test_every_place_is_equally_likely() -> None:
    seen, rng = scores(), np.random.default_rng(1)
    first = np.flatnonzero(seen.allowed.group == seen.allowed.group[1])
    draw = node_permutation(seen)
    marked = seen.out_strength[1]
    places = [int(np.argmin(np.abs(draw(rng).out_strength - marked))) for _ in range(600)]
    counts = np.array([places.count(node) for node in first])
    assert counts.sum() == 600
    assert (np.abs(counts - 100) < 45).all()


def test_no_measure_of_one_graph_changes() -> None:
    for seen in (thinned(0.5), view(sparse())):
        drawn = node_permutation(seen)(np.random.default_rng(0))
        for name, entry in catalogue.STATISTICS.items():
            if name in ("modularity", "participation"):
                continue  # a search depends on the order of the nodes
            value, reason = value_of(catalogue.load(entry), seen, 0)
            again = value_of(catalogue.load(entry), drawn, 0)[0]
            assert reason or np.isclose(value, again, rtol=1e-9), name
