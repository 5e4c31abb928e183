"""Task separability: extremes, definition by explicit arithmetic, calibration of the null, sums over attributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph.communities.result import Communities
from compgraph.errors import DataError, GraphError
from compgraph.evaluation.profiles import block_profiles, direction, node_blocks
from compgraph.evaluation.separability import separability_of, task_separability
from compgraph.partition import Partition
from tests.attribution.test_record import record
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network

TASKS = np.array(list("abc") * 8)
NUMBER = np.unique(TASKS, return_inverse=True)[1]


def by_hand(x, tasks):
    """The index from sums over single examples and blocks."""
    names = sorted(set(tasks))
    spread = {t: np.zeros(x.shape[1]) for t in names}
    for row, task in zip(x, tasks, strict=True):
        spread[task] += row / row.sum() / list(tasks).count(task)
    total = 0.0
    for b in range(x.shape[1]):
        whole = sum(spread[t][b] for t in names)
        entropy = -sum(p * math.log(p) for t in names if (p := spread[t][b] / whole) > 0)
        total += whole / len(names) * (1 - entropy / math.log(len(names)))
    return total


def test_extremes():
    rng = np.random.default_rng(0)
    disjoint = np.zeros((24, 6))
    disjoint[np.arange(24), 2 * NUMBER] = rng.random(24)
    disjoint[np.arange(24), 2 * NUMBER + 1] = rng.random(24)
    found = separability_of(disjoint, TASKS, n_permutations=199)
    assert found.index == pytest.approx(1, abs=1e-12) and found.adjusted == pytest.approx(1, abs=1e-12)
    assert found.p == 1 / 200
    assert found.serving() == {"a": [0, 1], "b": [2, 3], "c": [4, 5]}
    same = rng.random((24, 1)) * rng.random((1, 6))  # examples differ in scale only
    found = separability_of(same, TASKS, n_permutations=199)
    assert found.index == pytest.approx(0, abs=1e-12) and found.p == 1
    np.testing.assert_allclose(found.blocks["specificity"], 0, atol=1e-12)
    np.testing.assert_allclose(found.shares["share"], 1 / 3)


def test_equals_explicit_sums_and_is_mutual_information():
    x = np.random.default_rng(1).gamma(0.4, size=(24, 5))
    found = separability_of(x, TASKS, n_permutations=9)
    assert found.index == pytest.approx(by_hand(x, TASKS), abs=1e-12)
    joint = found.shares.pivot(index="block", columns="task", values="of_task").to_numpy() / 3
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    information = (joint * np.log(joint / independent)).sum()
    assert found.index == pytest.approx(information / math.log(3), abs=1e-12)
    blocks = found.blocks
    assert (blocks["weight"] * blocks["specificity"]).sum() == pytest.approx(found.index, abs=1e-12)
    assert blocks["weight"].sum() == pytest.approx(1)


def test_shuffles_are_those_of_the_tasks():
    x = np.random.default_rng(2).gamma(0.4, size=(24, 4))
    found = separability_of(x, TASKS, n_permutations=50, seed=3)
    rng = np.random.default_rng(3)
    nulls = [by_hand(x, np.array(list("abc"))[rng.permutation(NUMBER)]) for _ in range(50)]
    assert found.null_mean == pytest.approx(np.mean(nulls), abs=1e-12)
    assert found.null_sd == pytest.approx(np.std(nulls, ddof=1), abs=1e-12)
    assert found.p == (1 + sum(null >= found.index for null in nulls)) / 51
    assert found.adjusted == pytest.approx((found.index - np.mean(nulls)) / (1 - np.mean(nulls)))


def test_null_is_calibrated_and_adjusted_index_unbiased():
    """400 mixtures of tasks that do not differ, in index, single blocks and any number of examples per task."""
    rng = np.random.default_rng(4)
    tasks = np.array(["a"] * 6 + ["b"] * 9 + ["c"] * 15)
    found = [
        separability_of(rng.gamma(0.5, size=(30, 5)) * rng.lognormal(size=(30, 1)), tasks, n_permutations=39, seed=k)
        for k in range(400)
    ]
    rejected = np.array([[one.p <= level for one in found] for level in (0.05, 0.25)]).mean(1)
    assert 0.025 <= rejected[0] <= 0.085 and 0.19 <= rejected[1] <= 0.32  # mean ± 3 sd of 400 draws
    by_block = np.mean([(one.blocks["p"] <= 0.05).mean() for one in found])
    assert 0.03 <= by_block <= 0.075
    adjusted = np.array([one.adjusted for one in found])
    assert abs(adjusted.mean()) < 3 * adjusted.std() / 20
    assert np.mean([one.index for one in found]) > 0.02  # what is corrected


def test_weighing_by_attribution():
    x = np.array([[1.0, 1.0], [9.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    tasks = ["a", "a", "b", "b"]
    by_example, by_attribution = (
        separability_of(x, tasks, weigh=word, n_permutations=0).shares.set_index(["task", "block"])["of_task"]
        for word in ("examples", "attribution")
    )
    assert by_example["a", 0] == pytest.approx(0.75) and by_attribution["a", 0] == pytest.approx(10 / 11)
    assert by_example["b", 0] == by_attribution["b", 0] == pytest.approx(0.5)


def test_degenerate_data():
    x = np.random.default_rng(5).random((24, 3))
    one_task = separability_of(x, ["a"] * 24)
    assert math.isnan(one_task.index) and math.isnan(one_task.p) and "one task only" in one_task.reason
    assert one_task.serving() == {"a": [0, 1, 2]}
    one_block = separability_of(x[:, :1], TASKS)
    assert one_block.index == 0 and one_block.p == 1 and one_block.adjusted == 0
    silent = x.copy()
    silent[:, 1], silent[4] = 0, 0
    found = separability_of(silent, TASKS)
    assert found.attributes["n_silent"] == 1 and found.attributes["n_examples"] == 23
    row = found.blocks.iloc[1]
    assert row["weight"] == 0 and math.isnan(row["p"]) and row["task"] == ""
    assert all(1 not in blocks for blocks in found.serving().values())
    assert found.serving(least=1.0) == {"a": [], "b": [], "c": []}
    silent[TASKS == "b"] = 0
    with pytest.raises(DataError, match="no example of task 'b'"):
        separability_of(silent, TASKS)
    with pytest.raises(DataError, match="finite and at least 0"):
        separability_of(-x, TASKS)
    with pytest.raises(DataError, match="weigh"):
        separability_of(x, TASKS, weigh="all")


@pytest.mark.parametrize("sign", ["abs", "support", "against"])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_profiles_of_attributions(tmp_path, sign, rows):
    net, pairs = tiny_network("llama"), make_pairs(n=6, padded=True)
    partition = Partition.heads(net)
    labels = np.array([k % 3 - 1 for k in range(partition.n_nodes)])
    buffer = record(tmp_path, net, pairs, sites=["attn.*", "mlp.0"], chunk_bytes=rows * 36 * 4)
    found = block_profiles(buffer, partition, labels, sign)
    values = cg.node_attributions(net, pairs, sites=["attn.*", "mlp.0"])
    expected = np.zeros((6, 2))
    for node, (site, part) in enumerate(zip(*(partition.nodes(net)[c] for c in ("site", "label")), strict=True)):
        if labels[node] < 0 or site not in values.values:
            continue
        for i in range(6):
            units = np.asarray(partition.labels[site]) == part
            support = -values.read(site)[values.item == i][:, units].sum()  # ablating lowers the metric
            size = {"abs": abs(support), "support": max(support, 0), "against": max(-support, 0)}[sign]
            expected[i, labels[node]] += size
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_support_has_one_sign_for_all_methods_and_metrics():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs()
    partition = Partition.heads(net)
    labels = node_blocks(partition, None)
    removal = cg.node_attributions(net, pairs, baseline="zero")
    value = cg.node_attributions(net, pairs, method="activation-x-gradient")
    loss = cg.node_attributions(net, pairs, metric="cross_entropy", baseline="zero")
    assert (direction(removal), direction(value), direction(loss)) == (-1, 1, 1)
    for sign in ("support", "against"):
        a, b = (block_profiles(one, partition, labels, sign) for one in (removal, value))
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_a_mixture_of_tasks_end_to_end():
    """Heads and MLPs by themselves, and blocks by name; tasks that are the same data cannot be told apart."""
    net, pairs = tiny_network("gpt2"), make_pairs(n=12)
    found = cg.node_attributions(net, pairs)
    partition = Partition.heads(net)
    nodes = task_separability(found, partition, ["a", "b"] * 6, n_permutations=99)
    assert list(nodes.blocks["name"]) == list(partition.node_names)
    assert nodes.blocks["weight"].iloc[-1] == 0  # logits have no attributions
    names = ("mlp.1", "attn.0/head.1", "unknown", "mlp.0")
    labels = np.array([1, 0, 0, 1], np.int32)
    blocks = Communities(labels, 0.1, "own", {}, 1.0, (), names, ("",) * 4)
    few = task_separability(found, partition, ["a", "b"] * 6, blocks, n_permutations=99)
    assert list(few.blocks["n_nodes"]) == [1, 2]
    assert 0 <= few.index <= nodes.index <= 1  # coarser blocks say less about the task
    row = few.to_table().iloc[0]
    assert row["index"] == few.index and row["n_examples"] == 12 and row["sign"] == "abs"


def test_what_does_not_fit():
    net, pairs = tiny_network("gpt2"), make_pairs(n=4)
    found, partition = cg.node_attributions(net, pairs), Partition.heads(net)
    with pytest.raises(DataError, match="3 were given"):
        task_separability(found, partition, ["a"] * 3)
    with pytest.raises(GraphError, match="one whole number for each"):
        task_separability(found, partition, ["a"] * 4, [0, 1])
    with pytest.raises(GraphError, match="none of the"):
        task_separability(found, partition, ["a"] * 4, np.full(partition.n_nodes, -1))
    with pytest.raises(GraphError, match="label -2"):
        task_separability(found, partition, ["a"] * 4, np.full(partition.n_nodes, -2))
    with pytest.raises(DataError, match="sign 'up'"):
        task_separability(found, partition, ["a"] * 4, sign="up")
