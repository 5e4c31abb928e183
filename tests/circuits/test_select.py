"""The entry: sizes, options, records, pruning."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.catalogue import SELECTIONS, load
from compgraph.circuits import select_circuit
from compgraph.errors import GraphError
from tests.circuits.graphs import names, scored


@pytest.mark.parametrize("method", SELECTIONS)
def test_every_rule_is_reproducible_and_says_what_it_did(method):
    graph = scored(seed=3, columns={"stderr": np.full(12, 0.1)})
    arguments = {} if method == "threshold" else {"n_edges": 6}
    circuit = select_circuit(graph, method=method, **arguments)
    again = select_circuit(graph, method=method, **arguments)
    assert names(circuit) == names(again) and circuit.attributes == again.attributes
    assert names(circuit) <= names(graph)
    record = circuit.attributes["selection"][-1]
    assert record["method"] == method and record["kept"] == circuit.n_edges
    for option in SELECTIONS[method].options:
        assert record[option.name] == option.default
    assert circuit.n_edges == 12 if method == "threshold" else circuit.n_edges <= 6
    assert "selection" not in graph.attributes


@pytest.mark.parametrize("method", [m for m in SELECTIONS if m != "threshold"])
@pytest.mark.parametrize("size", [0, 12])
def test_nothing_and_everything(method, size):
    graph = scored(seed=1, columns={"stderr": np.zeros(12)})
    assert select_circuit(graph, size, method).n_edges == size


def test_a_share_means_as_many_edges_as_in_faithfulness():
    graph = scored(np.arange(12))
    assert select_circuit(graph, 0.5).n_edges == 6
    assert select_circuit(graph, 0.49).n_edges == 5
    assert select_circuit(graph, 1.0).n_edges == 12
    assert select_circuit(graph, 1).n_edges == 1
    assert select_circuit(graph, np.int64(2)).attributes["selection"][-1]["n_edges"] == 2


def test_pruning_comes_last_and_is_recorded():
    graph = scored([0, 0, 9, 0, 0, 0, 0, 0, 8, 0, 0, 0])
    circuit, pruned = select_circuit(graph, 2), select_circuit(graph, 2, prune=True)
    assert circuit.n_edges == 2 and circuit.n_nodes == 4
    assert pruned.n_edges == 0  # nothing reaches the logits
    assert [list(step) for step in pruned.attributes["selection"]][-1] == ["prune"]
    assert pruned.attributes["selection"][0]["method"] == "top"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_edges": 3, "method": "best"}, "'best' is not known; valid are top, threshold"),
        ({"n_edges": 3, "method": "top", "share": 0.5}, "'top' has no option 'share'; its options: by"),
        ({"n_edges": 3, "by": "size"}, "by 'size' is not one of abs, signed, negative"),
        ({"n_edges": 3, "method": "ratio", "by": "abs"}, "by 'abs' is not one of negative, signed"),
        ({"n_edges": 13}, "n_edges 13 is out of range; this graph has 12 edges"),
        ({"n_edges": -1}, "n_edges -1 is out of range"),
        ({"n_edges": 1.5}, "n_edges 1.5 is out of range; a share"),
        ({"n_edges": 0.0}, "n_edges 0.0 is out of range; a share"),
        ({}, "selection 'top' needs n_edges"),
        ({"n_edges": 3, "method": "threshold"}, "leave n_edges out"),
        ({"n_edges": 3, "method": "ratio", "share": 1.2}, "share 1.2 is out of range"),
        ({"n_edges": 3, "method": "stable-sign"}, "needs the column 'stderr'"),
        ({"n_edges": 3, "method": "ilp", "time_limit": 0.0}, "time_limit 0.0 is out of range"),
    ],
)
def test_bad_requests(arguments, message):
    with pytest.raises(GraphError, match=message):
        select_circuit(scored(), **arguments)


def test_rules_that_start_at_the_output_need_one():
    from compgraph.graph import ComputationalGraph

    plain = ComputationalGraph.from_matrix(np.arange(9.0).reshape(3, 3), directed=True)
    assert select_circuit(plain, 2).n_edges == 2
    for method in ("greedy", "ilp"):
        with pytest.raises(GraphError, match=r"no architecture|go up in level"):
            select_circuit(plain, 2, method)


@pytest.mark.parametrize("entry", SELECTIONS.values(), ids=list(SELECTIONS))
def test_options_of_the_catalogue_are_those_of_the_function(entry):
    import inspect

    parameters = inspect.signature(load(entry)).parameters
    own = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert own == {option.name: option.default for option in entry.options}
