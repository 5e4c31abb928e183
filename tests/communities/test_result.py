from __future__ import annotations

import json

from compgraph.communities import find_communities
from tests.communities.graphs import layered, positive, transformer


def test_tables_name_nodes_and_runs() -> None:
    graph, _ = layered(transformer(), seed=0)
    found = find_communities(graph, "leiden-layered", n_runs=3)
    table = found.to_table()
    assert table["node"].tolist() == list(graph.node_names)
    assert table["site"].tolist() == graph.nodes["site"].tolist()
    assert (table["community"] == found.labels).all()
    runs = found.runs_table()
    assert runs["quality"].max() == found.quality
    assert runs["run"].tolist() == [0, 1, 2]


def test_the_summary_is_json_also_where_agreement_is_undefined() -> None:
    found = find_communities(positive(10, 2, 3.0, seed=0), n_runs=1)
    page = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert page["agreement"] is None
    assert page["n"] == found.n
    assert "of 10 nodes" in repr(found)
