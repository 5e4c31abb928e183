from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from compgraph.graph import ComputationalGraph
from compgraph.statistics.measures import laplacian, mixing
from compgraph.statistics.view import UndefinedError, view
from tests.communities.graphs import chain
from tests.statistics.graphs import cyclic, scores, sparse, whole

KINDS = {
    "assortativity": ("out", "in"),
    "assortativity_out_out": ("out", "out"),
    "assortativity_in_in": ("in", "in"),
    "assortativity_in_out": ("in", "out"),
}


def test_assortativity_of_equal_weights_equals_networkx_and_igraph() -> None:
    binary = ComputationalGraph.from_matrix((sparse().matrix() > 0).astype(float), drop_zeros=True)
    value = mixing.assortativity(view(binary), 0)
    assert value == pytest.approx(nx.degree_assortativity_coefficient(binary.to_networkx()), abs=1e-9)
    assert value == pytest.approx(binary.to_igraph().assortativity_degree(directed=False), abs=1e-9)


@pytest.mark.parametrize(("name", "ends"), KINDS.items())
def test_directed_assortativities_of_equal_weights_equal_networkx(name: str, ends: tuple[str, str]) -> None:
    seen = view(cyclic())
    seen = seen.with_weights(np.ones(seen.n_edges))
    graph = nx.from_numpy_array(seen.dense(), create_using=nx.DiGraph)
    expected = nx.degree_assortativity_coefficient(graph, x=ends[0], y=ends[1])
    assert getattr(mixing, name)(seen, 0) == pytest.approx(expected, abs=1e-9)


def test_level_assortativity_equals_networkx() -> None:
    seen = whole(chain((2, 3, 3, 2)))
    graph = nx.from_numpy_array((seen.dense() > 0).astype(int), create_using=nx.DiGraph)
    nx.set_node_attributes(graph, dict(enumerate(seen.level.tolist())), "level")
    expected = nx.numeric_assortativity_coefficient(graph, "level")
    assert mixing.level_assortativity(seen, 0) == pytest.approx(expected, abs=1e-9)


def test_trophic_incoherence_of_a_cascade_is_zero_and_of_a_cycle_one() -> None:
    assert mixing.trophic_incoherence(whole(chain()), 0) == pytest.approx(0, abs=1e-9)
    cycle = ComputationalGraph(["a", "b", "c"], [0, 1, 2], [1, 2, 0], None, [1.0, 1.0, 1.0])
    assert mixing.trophic_incoherence(view(cycle), 0) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("dense", [True, False])
def test_trophic_incoherence_solves_its_equations(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laplacian, "DENSE_NODES", 10**6 if dense else 0)
    seen = scores()
    weights = seen.dense()
    out, into = weights.sum(1), weights.sum(0)
    height = np.linalg.lstsq(np.diag(out + into) - weights - weights.T, into - out, rcond=None)[0]
    gaps = height[None, :] - height[:, None] - 1
    expected = (weights * gaps**2).sum() / weights.sum()
    assert mixing.trophic_incoherence(seen, 0) == pytest.approx(expected, abs=1e-9)


def test_span_is_a_weighted_mean_of_levels_with_a_spread() -> None:
    seen = scores()
    steps = seen.level[seen.target] - seen.level[seen.source]
    expected = np.average(steps, weights=seen.magnitude)
    assert mixing.span(seen, 0) == pytest.approx(expected, abs=1e-12)
    spread = np.sqrt(np.average((steps - expected) ** 2, weights=seen.magnitude))
    assert mixing.span_spread(seen, 0) == pytest.approx(spread, abs=1e-12)
    assert mixing.span(whole(chain()), 0) == pytest.approx(1, abs=1e-12)


def test_a_correlation_of_equal_ends_is_undefined() -> None:
    ring = ComputationalGraph.from_matrix(np.ones((5, 5)))
    with pytest.raises(UndefinedError, match="alike"):
        mixing.assortativity(view(ring), 0)
