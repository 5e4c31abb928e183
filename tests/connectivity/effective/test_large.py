"""Graphs of which only the strongest edges are kept, against the graph of all edges, in float64."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
import torch

from compgraph import store
from compgraph.ablation.baselines import make_baseline
from compgraph.architectural import architectural_edges
from compgraph.connectivity.blockwise.score_matrix import ScoreMatrix, open_score_matrix
from compgraph.connectivity.effective import (
    edge_memory,
    effective_connectivity,
    large,
    scratch,
    unit_blocks,
    unit_layout,
    unit_rows,
    unit_scorer,
)
from compgraph.connectivity.effective.ceap import along_the_path
from compgraph.connectivity.effective.large import all_or_strongest
from compgraph.connectivity.effective.setting import Setting
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError, GraphError, StoreError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.patterns import pattern_of
from tests.connectivity.effective.test_eap import cutting, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

ALL = 10**6


def in_order(graph):
    """Number of every edge in the order by target, channel, source, and the permutation that sorts by it."""
    number = (graph.target.astype(np.int64) * len(graph.channels) + graph.channel) * graph.n_nodes + graph.source
    return number, np.argsort(number)


def strongest_of(number, weight, target, keep, keep_overall):
    """Which edges are among the first `keep` of their target, or the first `keep_overall`, by strength, then number."""
    by_strength = np.lexsort((number, -np.abs(weight)))
    mask = np.zeros(len(number), bool)
    mask[by_strength[:keep_overall]] = True
    by_target = by_strength[np.argsort(target[by_strength], kind="stable")]
    begins = np.searchsorted(target[by_target], target[by_target])
    mask[by_target[np.arange(len(number)) - begins < keep]] = True
    return mask


def assert_same(graph, dense, keep=ALL, keep_overall=0):
    """The kept edges are the strongest of the dense graph, and everything said of the others is true."""
    number, order = in_order(dense)
    number, weight = number[order], dense.weight[order]
    mask = strongest_of(number, weight, dense.target[order], keep, keep_overall)
    atol = 1e-10 * np.abs(weight).max()
    np.testing.assert_array_equal(in_order(graph)[0], number[mask])
    np.testing.assert_allclose(graph.weight, weight[mask], rtol=0, atol=atol)
    for column, ends, values in (
        ("in_sum", dense.target, dense.weight),
        ("in_absolute", dense.target, np.abs(dense.weight)),
        ("out_sum", dense.source, dense.weight),
        ("out_absolute", dense.source, np.abs(dense.weight)),
    ):
        expected = np.bincount(ends, values, minlength=dense.n_nodes)
        np.testing.assert_allclose(graph.node_columns[column], expected, rtol=0, atol=len(weight) * atol)
    assert graph.attributes["n_edges_scored"] == dense.n_edges
    assert graph.channels == dense.channels and graph.node_names == dense.node_names


def counted(weight):
    """The histogram of some scores, by `frexp`."""
    exponent = np.maximum(np.frexp(weight[weight != 0])[1] - 1, -126)
    sign = weight[weight != 0] > 0
    bins = range(exponent.min(), exponent.max() + 1)
    return {
        "zero": int((weight == 0).sum()),
        "exponents": list(bins),
        "positive": [int((sign & (exponent == e)).sum()) for e in bins],
        "negative": [int((~sign & (exponent == e)).sum()) for e in bins],
    }


def partitions(net):
    return {
        "units": Partition.units(net),
        "heads": Partition.heads(net),
        "modules": Partition.modules(net),
        "cutting": cutting(net),
    }


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("split_qkv", [True, False])
def test_all_edges_kept_are_the_dense_graph(variant, split_qkv):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=3, t=5, padded=True)
    for partition in partitions(net).values():
        dense = effective_connectivity(net, pairs, partition, split_qkv=split_qkv)
        graph = effective_connectivity(net, pairs, partition, split_qkv=split_qkv, keep=ALL)
        assert graph.n_edges == dense.n_edges
        _, order = in_order(dense)
        atol = 1e-10 * np.abs(dense.weight).max()
        np.testing.assert_allclose(graph.weight, dense.weight[order], rtol=0, atol=atol)
        assert graph.attributes["histogram"] == counted(graph.weight)


@pytest.mark.parametrize("granularity", ["units", "heads", "modules", "cutting"])
@pytest.mark.parametrize("variant", ["gpt2", "neox", "gemma2"])
def test_strongest_edges_sums_and_number(variant, granularity):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4)
    partition = partitions(net)[granularity]
    dense = effective_connectivity(net, pairs, partition)
    for keep, overall in ((3, 0), (0, 40), (2, 25)):
        graph = effective_connectivity(net, pairs, partition, keep=keep, keep_overall=overall)
        assert_same(graph, dense, keep, overall)


@pytest.mark.parametrize("variant", ["gpt2", "gpt2-untied", "llama-biases", "gemma2"])
@pytest.mark.parametrize("split_qkv", [True, False])
def test_zero_baseline_with_and_without_biases(variant, split_qkv):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4)
    for partition in (Partition.modules(net), cutting(net)):
        options = {"baseline": "zero", "split_qkv": split_qkv}
        dense = effective_connectivity(net, pairs, partition, **options)
        assert_same(effective_connectivity(net, pairs, partition, keep=ALL, **options), dense)


@pytest.mark.parametrize("method", ["clean-corrupted", "eap-ig-inputs"])
@pytest.mark.parametrize("metric", ["logit_difference", "kl"])
def test_methods_of_several_passes(method, metric):
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=3, t=4)
    for partition in (Partition.units(net), cutting(net)):
        dense = effective_connectivity(net, pairs, partition, method, metric=metric)
        graph = effective_connectivity(net, pairs, partition, method, metric=metric, keep=4, keep_overall=30)
        assert_same(graph, dense, 4, 30)


def test_passes_with_ends_of_their_own():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=3, t=4)
    partition = cutting(net)
    baseline = make_baseline("counterfactual", net, pairs)
    setting = Setting(net, pairs, partition, "logit_difference", baseline, batch_size=2)

    def passes(context):
        return along_the_path(context, steps=3)

    dense = all_or_strongest(setting, passes, method="path", keep=0, keep_overall=0)
    assert_same(all_or_strongest(setting, passes, method="path", keep=2, keep_overall=9), dense, 2, 9)


def small_budgets(monkeypatch):
    monkeypatch.setattr(scratch, "ROW_MEMORY", 5000)
    monkeypatch.setattr(large, "MEMORY", 2000)
    monkeypatch.setattr(unit_blocks, "SLICE", 256)


@pytest.mark.parametrize("granularity", ["units", "cutting"])
@pytest.mark.parametrize("method", ["eap", "clean-corrupted"])
def test_small_memory_changes_nothing(method, granularity, monkeypatch, tmp_path):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=5, t=6, padded=True)
    partition = partitions(net)[granularity]
    dense = effective_connectivity(net, pairs, partition, method)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spilled, blocks = [], []
    close, into = scratch.RowStore.close, unit_blocks.UnitBlocks.into
    monkeypatch.setattr(scratch.RowStore, "close", lambda self: (spilled.append(self.on_disk), close(self)))
    monkeypatch.setattr(
        unit_blocks.UnitBlocks, "into", lambda self, site: (blocks.append(site) or block for block in into(self, site))
    )
    whole = effective_connectivity(net, pairs, partition, method, keep=3, keep_overall=20)
    n_blocks = len(blocks)
    small_budgets(monkeypatch)
    for size in (None, 1, 2):
        graph = effective_connectivity(net, pairs, partition, method, batch_size=size, keep=3, keep_overall=20)
        assert_same(graph, dense, 3, 20)
        np.testing.assert_array_equal(in_order(graph)[0], in_order(whole)[0])
        assert graph.attributes["histogram"] == whole.attributes["histogram"]
    assert spilled == [False, True, True, True]
    assert len(blocks) - n_blocks > 3 * n_blocks
    assert not list(tmp_path.iterdir())


def test_rows_without_a_change_are_left_out(monkeypatch):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=6)
    corrupted = pairs.clean.copy()
    corrupted[:, 4] = (corrupted[:, 4] + 1) % 41
    pairs = PromptPairs(pairs.clean, corrupted, pairs.answers, pairs.distractors)
    lengths = []
    add = unit_rows.UnitRows._add_change
    monkeypatch.setattr(
        unit_rows.UnitRows, "_add_change", lambda self, *a: lengths.append(len(kept := add(self, *a))) or kept
    )
    partition = Partition.units(net)
    graph = effective_connectivity(net, pairs, partition, keep=ALL)
    assert lengths == [4]
    assert_same(graph, effective_connectivity(net, pairs, partition))


def test_ties_go_to_the_first_edge(monkeypatch):
    """With equal rows of weights, units have equal scores; with ReLU, many have none."""
    net, pairs = tiny_network("gpt2-untied", dtype=torch.float64), make_pairs(n=1, t=3)
    for block in net.weights.blocks:
        block.w_in[:, 1::2] = block.w_in[:, ::2]
        block.b_in[1::2] = block.b_in[::2]
        block.w_out[1::2] = block.w_out[::2]
    partition = Partition.units(net)
    every = effective_connectivity(net, pairs, partition, keep=ALL)
    size = np.abs(every.weight)
    assert (size == 0).sum() > 20 and len(np.unique(size)) < 0.8 * len(size)
    for k in (1, 2, 5):
        graph = effective_connectivity(net, pairs, partition, keep=k, keep_overall=3 * k)
        assert graph.attributes["histogram"] == every.attributes["histogram"]
        expected = strongest_of(in_order(every)[0], every.weight, every.target, k, 3 * k)
        np.testing.assert_array_equal(in_order(graph)[0], in_order(every)[0][expected])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision(dtype):
    pairs = make_pairs(n=3, t=5)
    exact = tiny_network("gpt2", dtype=torch.float64)
    net = tiny_network("gpt2", dtype=dtype)
    partition = Partition.units(net)
    dense = effective_connectivity(exact, pairs, partition, keep=ALL)
    graph = effective_connectivity(net, pairs, partition, keep=ALL)
    assert graph.weight.dtype == np.float32
    scale = np.abs(dense.weight).max()
    assert np.abs(graph.weight - dense.weight).max() < (1e-4 if dtype == torch.float32 else 0.5) * scale
    assert np.corrcoef(graph.weight, dense.weight)[0, 1] > 0.9


def test_node_columns_are_saved(tmp_path):
    net, pairs = tiny_network("llama"), make_pairs(n=2, t=4)
    graph = effective_connectivity(net, pairs, Partition.units(net), keep=2)
    graph.save(tmp_path / "g")
    again = ComputationalGraph.load(tmp_path / "g")
    assert list(again.node_columns) == list(graph.node_columns)
    for name in ("in_sum", "in_absolute", "out_sum", "out_absolute"):
        np.testing.assert_array_equal(again.node_columns[name], graph.node_columns[name])
        assert name in again.nodes.columns
    assert again.attributes == graph.attributes


def stored_edges(graph, stored):
    """Scores of a graph's edges, looked up in a stored matrix."""
    site, label = graph.node_columns["site"], graph.node_columns["label"]
    blocks = {}
    for source, target, channel in zip(graph.source, graph.target, graph.channel, strict=True):
        key = str(site[target]), str(site[source]), graph.channels[channel]
        block = blocks[key] if key in blocks else blocks.setdefault(key, stored.between(*key))
        yield block[label[target], label[source]]


@pytest.mark.parametrize("granularity", ["units", "cutting"])
@pytest.mark.parametrize("split_qkv", [True, False])
def test_matrix_of_all_scores(granularity, split_qkv, tmp_path, monkeypatch):
    small_budgets(monkeypatch)
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=4)
    partition = partitions(net)[granularity]
    dense = effective_connectivity(net, pairs, partition, split_qkv=split_qkv)
    for dtype, tolerance in (("float32", 1e-6), ("float16", 1e-3)):
        path = tmp_path / f"{dtype}.json"
        matrix = path if dtype == "float32" else ScoreMatrix(path, dtype)
        graph = effective_connectivity(net, pairs, partition, split_qkv=split_qkv, matrix=matrix, keep=1)
        assert_same(graph, dense, 1)
        store.verify(path)
        stored = open_score_matrix(path)
        assert stored.partition == graph.partition
        found = np.array(list(stored_edges(dense, stored)))
        np.testing.assert_allclose(found, dense.weight, rtol=tolerance, atol=tolerance * np.abs(dense.weight).max())
    assert stored.result.summary["dtype"] == "float16"
    with pytest.raises(StoreError, match=r"no scores of edges mlp\.1 -> mlp\.0"):
        stored.between("mlp.0", "mlp.1")
    assert not list(tmp_path.glob("*partial*"))


def test_a_matrix_and_no_edges(tmp_path):
    net, pairs = tiny_network("gpt2"), make_pairs(n=2, t=4)
    graph = effective_connectivity(
        net, pairs, Partition.heads(net), "eap-ig-inputs", steps=2, matrix=tmp_path / "m.json"
    )
    assert graph.n_edges == 0 and graph.attributes["n_edges_scored"] == 75
    parameters = open_score_matrix(tmp_path / "m.json").result.parameters
    assert (parameters["method"], parameters["dtype"], parameters["n_examples"]) == ("eap-ig-inputs", "float32", 2)
    assert parameters["partition"] == Partition.heads(net).digest


def test_scores_that_float16_cannot_hold(tmp_path):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=4)
    net.weights.unembedding = net.weights.unembedding * 1e8
    with pytest.raises(DataError, match="too large for float16"):
        effective_connectivity(net, pairs, Partition.modules(net), matrix=ScoreMatrix(tmp_path / "m.json", "float16"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="'int8' is not one of float32, float16"):
        effective_connectivity(net, pairs, Partition.modules(net), matrix=ScoreMatrix(tmp_path / "m.json", "int8"))


def test_what_cannot_be_done_is_said():
    net, pairs = tiny_network("llama"), make_pairs(n=2, t=4)
    partition = Partition.heads(net)
    with pytest.raises(GraphError, match="keep is -1; it must be at least 0"):
        effective_connectivity(net, pairs, partition, keep=-1)
    with pytest.raises(GraphError, match="keep_overall is -3"):
        effective_connectivity(net, pairs, partition, keep=2, keep_overall=-3)
    with pytest.raises(GraphError, match="qk_fix needs all scores"):
        effective_connectivity(net, pairs, partition, keep=2, qk_fix=True)
    with pytest.raises(GraphError, match="grad_drop needs all scores"):
        effective_connectivity(net, pairs, partition, "eap-ig-inputs", keep=2, grad_drop=True)
    with pytest.raises(DataError, match="bootstrap is 5"):
        effective_connectivity(net, pairs, partition, keep=2, bootstrap=5)


def test_gradients_that_are_not_finite_name_the_site():
    net, pairs = tiny_network("gpt2"), make_pairs(n=2, t=4)
    net.weights.blocks[1].w_out[0, 0] = float("nan")
    with pytest.raises(DataError, match=r"at what .* reads are not finite"):
        effective_connectivity(net, pairs, Partition.units(net), keep=2)


@pytest.mark.parametrize("split_qkv", [True, False])
def test_edges_are_counted_without_being_listed(split_qkv):
    for variant in ("gpt2", "neox", "llama"):
        net = tiny_network(variant)
        for partition in partitions(net).values():
            expected = len(architectural_edges(net, partition, split_qkv)[0])
            assert edge_memory.count_edges(net.architecture, partition, split_qkv) == expected


def test_a_graph_too_large_for_memory_is_refused(monkeypatch):
    net, pairs = tiny_network("gpt2"), make_pairs(n=2, t=4)
    partition = Partition.units(net)
    monkeypatch.setattr(edge_memory, "available_memory", lambda: 10**6)
    with pytest.raises(DataError, match=r"20,269 edges need about .* GB.*keep only the strongest \(`keep`"):
        effective_connectivity(net, pairs, partition)
    assert effective_connectivity(net, pairs, partition, keep=1).n_edges
    monkeypatch.setattr(edge_memory, "available_memory", lambda: None)  # unknown: not refused
    assert effective_connectivity(net, pairs, partition).n_edges == 20269


def test_logits_are_carried_as_coordinates_of_the_stream():
    net = tiny_network("gpt2")
    partition = Partition.units(net)
    layout = unit_layout.UnitLayout(unit_scorer.UnitScorer(net, partition, True), partition, (), 10**6)
    assert [len(side.units.node) for side in layout.targets["logits"]] == [net.spec.d_model]
    assert layout.targets["attn.0"][0].site == pattern_of("attn.0")
