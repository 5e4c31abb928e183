from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from compgraph.graph import ComputationalGraph
from compgraph.statistics.measures import laplacian, spectrum
from compgraph.statistics.view import UndefinedError, View, view
from tests.statistics.graphs import correlations, scores, sparse


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("make", [scores, correlations])
def test_spectrum_is_that_of_all_singular_values(make, dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "DENSE_NODES", 10**6 if dense else 0)
    seen = make()
    squares = np.linalg.svd(seen.dense(), compute_uv=False) ** 2
    assert spectrum.effective_rank(seen, 0) == pytest.approx(squares.sum() ** 2 / (squares**2).sum(), abs=1e-9)
    assert spectrum.leading_share(seen, 0) == pytest.approx(squares[0] / squares.sum(), abs=1e-9)


def mean_resistance(seen: View) -> float:
    """Over connected pairs, from networkx."""
    graph = nx.from_numpy_array(seen.dense() / seen.magnitude.mean())
    found = []
    for nodes in nx.connected_components(graph):
        if len(nodes) > 1:
            distances = nx.resistance_distance(graph.subgraph(nodes).copy(), weight="weight", invert_weight=False)
            found += [distances[u][v] for u in nodes for v in nodes if u < v]
    return float(np.mean(found))


def two_parts() -> View:
    """A disconnected graph with a node by itself."""
    weights = np.zeros((30, 30))
    weights[:18, :18] = sparse().matrix()
    weights[18:29, 18:29] = sparse().matrix()[:11, :11] + 0.1
    np.fill_diagonal(weights, 0)
    return view(ComputationalGraph.from_matrix(weights, drop_zeros=True))


@pytest.mark.parametrize("make", [lambda: view(sparse()), correlations, two_parts])
def test_effective_resistance_is_that_of_networkx(make) -> None:
    assert spectrum.effective_resistance(make(), 0) == pytest.approx(mean_resistance(make()), abs=1e-9)


def test_effective_resistance_of_a_large_graph_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = spectrum.effective_resistance(two_parts(), 0)
    monkeypatch.setattr(laplacian, "DENSE_NODES", 0)
    monkeypatch.setattr(laplacian, "PROBES", 4000)
    assert spectrum.effective_resistance(two_parts(), 0) == pytest.approx(exact, rel=0.03)


def test_directions_do_not_count_and_nothing_connected_is_undefined() -> None:
    edge = ComputationalGraph(["a", "b"], [0], [1], None, [3.0])
    assert spectrum.effective_resistance(view(edge), 0) == pytest.approx(1)
    empty = view(ComputationalGraph(["a", "b"], [], [], None, []))
    with pytest.raises(UndefinedError, match="no two nodes"):
        spectrum.effective_resistance(empty, 0)
