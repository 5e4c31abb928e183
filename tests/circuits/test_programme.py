"""The integer programme against all subsets of edges of tiny graphs."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.circuits import select_circuit
from compgraph.circuits.programme import ilp
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.circuits.graphs import scored


def connected_circuits(graph: ComputationalGraph) -> np.ndarray:
    """Every subset of edges that pruning leaves as it is, bool [subsets, E]."""
    n = graph.n_edges
    subsets = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    inputs, outputs = set(graph.inputs.tolist()), set(graph.outputs.tolist())
    good = np.ones(len(subsets), bool)
    for node in range(graph.n_nodes):
        enters = subsets[:, graph.target == node].any(1)
        leaves = subsets[:, graph.source == node].any(1)
        if node not in inputs:
            good &= enters | ~leaves
        if node not in outputs:
            good &= leaves | ~enters
    return subsets[good]


SHAPES = {
    "two layers": {},
    "two heads, MLP": {"n_layers": 1, "n_heads": 2, "mlp": True},
    "parallel": {"n_layers": 1, "n_heads": 2, "mlp": True, "parallel": True},
}


@pytest.fixture(scope="module", params=SHAPES)
def frame(request):
    shape = SHAPES[request.param]
    return shape, connected_circuits(scored(**shape))


def best(values: np.ndarray, circuits: np.ndarray) -> float:
    return float((circuits @ values).max())


@pytest.mark.parametrize("by", ["abs", "signed", "negative"])
@pytest.mark.parametrize("seed", range(3))
def test_is_the_best_of_all_connected_circuits(frame, by, seed):
    shape, circuits = frame
    graph = scored(seed=seed, **shape)
    values = {"abs": np.abs(graph.weight), "signed": graph.weight, "negative": -graph.weight}[by]
    for n in (1, 2, 4, 7):
        choice = ilp(graph, n, by=by)
        small = circuits[circuits.sum(1) <= n]
        assert choice.record["status"] == "optimal" and choice.record["gap"] < 1e-9
        assert choice.record["objective"] == pytest.approx(best(values, small), abs=1e-9)
        assert values[choice.edges].sum() == pytest.approx(choice.record["objective"])
        assert (small == choice.edges).all(1).any()


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_with_a_share_of_supporting_edges(frame, share, seed):
    shape, circuits = frame
    graph = scored(seed=seed, **shape)
    supporting = graph.weight < 0
    for n in (3, 6):
        needed = min(int(np.floor(share * n + 1e-9)), supporting.sum())
        allowed = circuits[(circuits.sum(1) <= n) & (circuits[:, supporting].sum(1) >= needed)]
        if not len(allowed):
            with pytest.raises(GraphError, match=f"no connected circuit of at most {n} edges has {needed} supporting"):
                ilp(graph, n, share=share)
            continue
        choice = ilp(graph, n, share=share)
        assert choice.record["objective"] == pytest.approx(best(np.abs(graph.weight), allowed), abs=1e-9)
        assert (allowed == choice.edges).all(1).any()


def test_needs_no_pruning_and_is_at_least_as_strong_as_pruned_rivals():
    graph = scored(seed=5, n_layers=3, n_heads=3, mlp=True)
    for n in (10, 40):
        circuit = select_circuit(graph, n, "ilp")
        assert circuit.prune().n_edges == circuit.n_edges <= n
        for rival in ("top", "greedy"):
            other = select_circuit(graph, n, rival, prune=True)
            assert np.abs(other.weight).sum() <= np.abs(circuit.weight).sum() + 1e-9


def test_out_of_time_the_gap_is_told(monkeypatch):
    """A solver that is stopped at once leaves the greedy circuit and an honest bound."""
    graph = scored(seed=2, n_layers=2, n_heads=3, mlp=True)
    proven = ilp(graph, 12)
    import scipy.optimize

    solve = scipy.optimize.milp

    def stopped(*args, **kwargs):
        result = solve(*args, **kwargs)
        result.x, result.status, result.mip_dual_bound = None, 1, result.mip_dual_bound * 1.5
        return result

    monkeypatch.setattr(scipy.optimize, "milp", stopped)
    choice = ilp(graph, 12)
    assert choice.record["status"] == "greedy"
    grown = select_circuit(graph, 12, "greedy", prune=True)
    assert choice.record["objective"] == pytest.approx(np.abs(grown.weight).sum())
    assert choice.record["bound"] == pytest.approx(1.5 * proven.record["objective"])
    assert choice.record["gap"] == pytest.approx(choice.record["bound"] / choice.record["objective"] - 1)
    with pytest.raises(GraphError, match="within its time_limit"):
        ilp(graph, 12, share=1.0)


def test_scores_of_any_magnitude():
    small, large = (scored(scale * np.random.default_rng(0).normal(size=12)) for scale in (1e-12, 1e9))
    np.testing.assert_array_equal(ilp(small, 5).edges, ilp(large, 5).edges)
    assert ilp(scored(np.zeros(12)), 5).record["objective"] == 0
