from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand, fit_sbm, sample_blocks
from compgraph.communities.blocks.chains import Chain, GraphToolChain, MaskedChain
from compgraph.communities.blocks.diagnostics import autocorrelation_time, effective_samples, scale_reduction
from compgraph.communities.blocks.generated import KINDS
from compgraph.communities.blocks.library import reproducible
from compgraph.communities.blocks.masked import MaskedModel
from compgraph.communities.blocks.problem import describe
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import undirected

pytest.importorskip("graph_tool", reason="graph-tool is not installed")

from compgraph.communities.blocks.states import States


def partitions(n: int) -> list[tuple[int, ...]]:
    """All partitions of n nodes, numbered by their first nodes."""
    found: list[tuple[int, ...]] = [(0,)]
    for _ in range(n - 1):
        found = [(*one, block) for one in found for block in range(max(one) + 2)]
    return found


def visited(chain: Chain, samples: int) -> dict[tuple[int, ...], float]:
    """Share of the samples that each partition is."""
    chain.step(50)
    counts: dict[tuple[int, ...], float] = {}
    for _ in range(samples):
        chain.step(3)
        key = tuple(int(label) for label in chain.labels())
        counts[key] = counts.get(key, 0) + 1 / samples
    return counts


@pytest.mark.parametrize("kind", ["graph-tool", "masked"])
def test_chains_visit_partitions_as_often_as_enumeration_says(kind: str) -> None:
    if kind == "masked":
        site = np.arange(6) // 2
        source, target = np.array([[0, 2], [0, 3], [1, 4], [2, 4], [2, 5], [3, 5], [0, 5]]).T
        masked = MaskedModel.of(source, target, site[:, None] < site)
        length = masked.length
        made: Chain = MaskedChain(masked, np.zeros(6, np.int32), seed=0)
    else:
        edges = np.array([[0, 1], [1, 2], [0, 2], [2, 3], [3, 4], [4, 5], [3, 5]])
        graph = ComputationalGraph(list("abcdef"), *edges.T, None, np.ones(7), directed=False)
        states = States(describe(graph, weights=None).observed)
        length = lambda labels: states.flat_length(labels, False)  # noqa: E731
        made = GraphToolChain(states, (np.zeros(6, np.int32),), False, False)
    every = partitions(6)
    weight = np.exp(-np.array([length(np.array(one, np.int32)) for one in every]))
    expected = dict(zip(every, weight / weight.sum(), strict=True))
    with reproducible(0):
        found = visited(made, 4000)
    gap = sum(abs(found.get(one, 0) - share) for one, share in expected.items()) / 2
    assert gap < 0.08  # total variation; 203 partitions, and 4000 samples alone make about half of that


def test_samples_of_planted_groups_agree_on_them() -> None:
    graph, labels = KINDS["modular"](n=120, seed=0)
    fit = fit_sbm(graph, weights=None, nested=False, n_runs=1)
    drawn = sample_blocks(graph, fit, n_samples=40, thin=2, seed=1)
    assert adjusted_rand(drawn.consensus, labels) > 0.9
    assert drawn.marginals.sum(axis=1) == pytest.approx(1)
    assert drawn.chains["start"].tolist() == ["fit", "one block"]
    assert drawn.chains["overlap_between"].min() > 0.8
    assert len(drawn.trace) == 80
    assert drawn.summary()["equilibrated"] == (drawn.scale_reduction < 1.1)
    again = sample_blocks(graph, fit, n_samples=40, thin=2, seed=1)
    assert again.trace.equals(drawn.trace)
    assert np.array_equal(again.marginals, drawn.marginals)


def test_what_is_not_sampled() -> None:
    graph, other = undirected(8, 1, 0.0, 0), undirected(9, 1, 0.0, 0)
    fit = fit_sbm(graph, n_runs=1)
    with pytest.raises(GraphError, match="the fit is of another graph"):
        sample_blocks(other, fit)
    with pytest.raises(ValueError, match="at least 1"):
        sample_blocks(graph, fit, thin=0)
    plain, _ = KINDS["modular"](n=40)
    with pytest.raises(GraphError, match="this fit is assortative"):
        sample_blocks(plain, fit_sbm(plain, weights=None, structure="assortative", n_runs=1))


def test_autocorrelation_of_a_known_process() -> None:
    rng, rho = np.random.default_rng(0), 0.8
    noise = rng.normal(size=20_000)
    series = np.zeros(20_000)
    for k in range(1, len(series)):
        series[k] = rho * series[k - 1] + noise[k]
    assert autocorrelation_time(series) == pytest.approx((1 + rho) / (1 - rho), rel=0.25)
    assert effective_samples(noise) == pytest.approx(20_000, rel=0.1)
    assert effective_samples(np.ones(10)) == 10


def test_chains_that_differ_do_not_agree() -> None:
    rng = np.random.default_rng(0)
    same = rng.normal(size=(2, 200))
    assert scale_reduction(same) < 1.05
    assert scale_reduction(same + np.array([[0.0], [3.0]])) > 1.5
    assert scale_reduction(same + np.linspace(0, 5, 200)) > 1.3  # both drift
    assert scale_reduction(np.ones((2, 10))) == 1
    assert np.isnan(scale_reduction(same[:1]))
