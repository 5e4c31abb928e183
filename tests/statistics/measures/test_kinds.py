from __future__ import annotations

import math

from compgraph import catalogue
from compgraph.statistics.measures.kinds import value_of
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
