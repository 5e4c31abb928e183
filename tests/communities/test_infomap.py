from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from compgraph.communities import adjusted_rand, infomap
from compgraph.communities.copies import copy
from compgraph.communities.optimise import igraph_seed
from compgraph.graph import ComputationalGraph
from compgraph.graph_import import as_graph
from tests.communities.graphs import groups, layered, positive, transformer


@pytest.mark.parametrize(
    "graph",
    [as_graph(nx.karate_club_graph()), positive(40, 4, 7.0, seed=0), layered(transformer(), seed=0, ratio=4.0)[0]],
)
def test_the_code_length_is_that_of_igraph(graph: ComputationalGraph) -> None:
    copied = copy(graph)
    with igraph_seed(0):
        found = copied.graph.community_infomap(edge_weights="weight")
    length = infomap.code_length(copied, np.array(found.membership))
    assert length == pytest.approx(found.codelength, abs=1e-9)


def test_quality_is_the_share_saved() -> None:
    graph = positive(40, 4, 7.0, seed=0)
    found = infomap.find(graph)
    assert adjusted_rand(found.labels, groups(40, 4)) == 1
    lengths = [infomap.code_length(copy(graph), labels) for labels in (found.labels, np.zeros(40, int))]
    assert found.quality == pytest.approx(1 - lengths[0] / lengths[1], abs=1e-12)
    assert (infomap.find(positive(40, 1, 1.0, seed=0)).n, infomap.find(positive(40, 1, 1.0, seed=0)).quality) == (1, 0)
