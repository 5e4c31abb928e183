from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand, fit_sbm, sample_blocks
from compgraph.communities.blocks.chains import Chain, GraphToolChain, MaskedChain
from compgraph.communities.blocks.diagnostics import autocorrelation_time, effective_samples, scale_reduction
from compgraph.communities.blocks.generated import KINDS
from compgraph.communities.blocks.library import reproducible
from compgraph.communities.blocks.masked import MaskedModel
from compgraph.communities.blocks.merge_split import merge_or_split
from compgraph.communities.blocks.modes import modes
from compgraph.communities.blocks.problem import describe
from compgraph.communities.blocks.starts import cut
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.blocks.test_masked import circuit
from tests.communities.graphs import undirected

pytest.importorskip("graph_tool", reason="graph-tool is not installed")

from compgraph.communities.blocks.states import States


def partitions(n: int) -> list[tuple[int, ...]]:
    """All partitions of n nodes, numbered by their first nodes."""
    found: list[tuple[int, ...]] = [(0,)]
    for _ in range(n - 1):
        found = [(*one, block) for one in found for block in range(max(one) + 2)]
    return found


def mixes(partition: tuple[int, ...], kinds: np.ndarray) -> bool:
    """Whether a block holds nodes of several kinds."""
    return len(set(zip(partition, kinds.tolist(), strict=True))) > max(partition) + 1


def visited(chain: Chain, samples: int) -> dict[tuple[int, ...], float]:
    """Share of the samples that each partition is."""
    chain.step(50)
    counts: dict[tuple[int, ...], float] = {}
    for _ in range(samples):
        chain.step(3)
        key = tuple(int(label) for label in chain.labels())
        counts[key] = counts.get(key, 0) + 1 / samples
    return counts


class MergesAndSplits(MaskedChain):
    """Without moves of single nodes."""

    def step(self, sweeps: int) -> tuple[int, int]:
        made = 0
        for _ in range(sweeps):
            self._state, changed = merge_or_split(self._state, self._rng)
            made += changed
        return sweeps, made


@pytest.mark.parametrize("kind", ["graph-tool", "masked", "merges and splits", "merges and splits of kinds"])
def test_chains_visit_partitions_as_often_as_enumeration_says(kind: str) -> None:
    every = partitions(6)
    if kind != "graph-tool":
        kinds = np.array([0, 0, 1, 1, 1, 0]) if kind.endswith("kinds") else None
        every = [one for one in every if kinds is None or not mixes(one, kinds)]
        site = np.arange(6) // 2
        source, target = np.array([[0, 2], [0, 3], [1, 4], [2, 4], [2, 5], [3, 5], [0, 5]]).T
        masked = MaskedModel.of(source, target, site[:, None] < site, kinds)
        length = masked.length
        chain = MaskedChain if kind == "masked" else MergesAndSplits
        made: Chain = chain(masked, cut(np.zeros(6, np.int32), kinds), seed=0)
    else:
        edges = np.array([[0, 1], [1, 2], [0, 2], [2, 3], [3, 4], [4, 5], [3, 5]])
        graph = ComputationalGraph(list("abcdef"), *edges.T, None, np.ones(7), directed=False)
        states = States(describe(graph, weights=None).observed)
        length = lambda labels: states.flat_length(labels, False)  # noqa: E731
        made = GraphToolChain(states, (np.zeros(6, np.int32),), False, False)
    weight = np.exp(-np.array([length(np.array(one, np.int32)) for one in every]))
    expected = dict(zip(every, weight / weight.sum(), strict=True))
    with reproducible(0):
        found = visited(made, 3000 if kind == "graph-tool" else 1500)
    gap = sum(abs(found.get(one, 0) - share) for one, share in expected.items()) / 2
    assert gap < 0.1  # total variation; independent samples of 203 partitions make 0.06 (1500) or 0.045 (3000)
    assert set(found) <= set(expected)


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


def test_chains_from_one_block_find_the_groups_of_a_circuit() -> None:
    graph, labels = circuit(8.0, seed=0)
    fit = fit_sbm(graph, weights=None, n_runs=1)
    drawn = sample_blocks(graph, fit, n_samples=30, thin=3)
    assert drawn.scale_reduction < 1.1
    assert adjusted_rand(drawn.consensus, labels) > 0.9
    assert drawn.chains["overlap_between"].min() > 0.9
    assert drawn.modes["least"][0] > 0.8


def test_two_ways_to_divide_nodes_are_two_modes() -> None:
    rng = np.random.default_rng(0)
    ways = np.repeat([0, 1], 10), np.tile([0, 1], 10)
    samples = np.stack([ways[k % 3 == 0] for k in range(60)]).astype(np.int32)
    at = rng.integers(20, size=60)
    samples[np.arange(60), at] = 1 - samples[np.arange(60), at]  # one node of each is elsewhere
    with reproducible(0):
        found = modes(samples)
    assert [len(mode.members) for mode in found] == [40, 20]
    assert [adjusted_rand(mode.consensus, way) for mode, way in zip(found, ways, strict=True)] == [1, 1]
    assert all(mode.marginals.sum(axis=1) == pytest.approx(1) for mode in found)
    with reproducible(0):
        assert [len(mode.members) for mode in modes(samples[:1])] == [1]


def test_a_chain_that_stays_where_it_is_agrees_with_itself() -> None:
    graph = undirected(30, 3, 3.0, 0)
    drawn = sample_blocks(graph, fit_sbm(graph, nested=False, n_runs=1), n_samples=30, thin=1)
    assert drawn.trace["n_blocks"].unique().tolist() == [3]
    assert drawn.equilibrated  # lengths differ by rounding alone
    assert drawn.modes["share"].tolist() == [1]


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
