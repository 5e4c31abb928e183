from __future__ import annotations

import math

from compgraph import catalogue
from compgraph.statistics.measures.kinds import value_of
from compgraph.statistics.nulls.sampling import edge_weights
from compgraph.statistics.view import view
from tests.statistics.graphs import scores, sparse


def test_every_measure_of_the_catalogue_is_one() -> None:
    for entry in catalogue.STATISTICS.values():
        function = catalogue.load(entry)
        assert set(function.refused) <= {"layered", "directed", "undirected"}
        assert function.__doc__


def test_a_refused_kind_of_graph_gets_the_reason() -> None:
    clustering = catalogue.load(catalogue.STATISTICS["clustering"])
    value, reason = value_of(clustering, scores(), 0)
    assert math.isnan(value)
    assert reason.startswith("layered graph: directed triangles")
    assert value_of(clustering, view(sparse()), 0)[1] == ""


def test_no_measure_depends_on_the_scale_of_the_weights() -> None:
    for seen in (scores(), view(sparse())):
        larger = seen.with_weights(1e3 * edge_weights(seen))
        for name, entry in catalogue.STATISTICS.items():
            value, reason = value_of(catalogue.load(entry), seen.with_weights(edge_weights(seen)), 0)
            assert reason or math.isclose(value_of(catalogue.load(entry), larger, 0)[0], value, rel_tol=1e-6), name
