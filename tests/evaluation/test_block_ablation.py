"""Block ablation against loops over single examples, the null's sizes, and a network whose tasks are disjoint."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.run import ablate_nodes
from compgraph.data.images import ImagePairs
from compgraph.errors import DataError, GraphError
from compgraph.evaluation.block_ablation import _masks, _strata, block_ablation
from compgraph.metrics import Targets, get_metric
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import chain, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

SERVING = {"x": [0, 2], "y": [1]}


def mixture(n=8):
    pairs = make_pairs(n=n, padded=True)
    pairs.task[:] = np.array(["x", "y"])[np.arange(n) % 2]
    return pairs


def metric_of(name, logits, model, pairs, i):
    targets = Targets(torch.from_numpy(pairs.answers[[i]]), torch.from_numpy(pairs.distractors[[i]]), model)
    return float(get_metric(name)(logits, targets))


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_equals_a_loop_over_examples(variant, baseline):
    net, pairs = tiny_network(variant, dtype=torch.float64), mixture()
    partition = Partition.heads(net)
    labels = np.array([k % 4 - 1 for k in range(partition.n_nodes)])
    metrics = ["logit_difference", "kl"]
    found = block_ablation(net, partition, pairs, labels, SERVING, metrics=metrics, baseline=baseline, n_null=0)
    never = np.isin(partition.nodes(net)["site"].astype(str), ["embed", "logits"]) | (labels == -1)
    for number, blocks in enumerate(SERVING.values()):
        own = np.isin(labels, blocks) & ~never
        keeps = [np.ones(len(labels), bool), never, ~own, never | own]
        for task in ("x", "y"):
            rows = np.flatnonzero(pairs.task == task)
            values = np.zeros((len(keeps), 2, len(rows)))
            for j, i in enumerate(rows):
                runs = [ablate_nodes(net, partition, [k], pairs.subset([i]), baseline=baseline)[0] for k in keeps]
                values[:, :, j] = [[metric_of(m, run, runs[0], pairs, i) for m in metrics] for run in runs]
            mean = values.mean(2)
            for k, m in np.ndindex(2, 2):
                where = {"target": "xy"[number], "task": task, "mode": ("removed", "kept")[k], "metric": metrics[m]}
                cell = found.table.set_index(list(where)).loc[tuple(where.values())]
                assert cell["value"] == pytest.approx(mean[2 + k, m], abs=1e-10)
                assert cell["model"] == pytest.approx(mean[0, m], abs=1e-10)
                expected = (mean[2 + k, m] - mean[1, m]) / (mean[0, m] - mean[1, m])
                assert cell["faithfulness"] == pytest.approx(expected, abs=1e-8)
                assert cell["low"] - 1e-9 <= cell["faithfulness"] <= cell["high"] + 1e-9
                assert cell["n_nodes"] == own.sum() and cell["n_examples"] == 4
    matrix = found.matrix("removed", "kl")
    assert matrix.shape == (2, 2) and list(matrix.index) == ["x", "y"]


def two_paths(n_classes=2, width=3):
    """A chain in which pixel k alone drives the `width` hidden units of class k."""
    hidden = n_classes * width
    owner = np.repeat(np.arange(n_classes), width)
    first = torch.from_numpy((owner[:, None] == np.arange(n_classes)) * 1.0)
    layers = [
        {"type": "flatten"},
        {"type": "linear", "features": hidden, "bias": False},
        {"type": "relu"},
        {"type": "linear", "features": n_classes, "bias": False},
    ]
    weights = {"linear.0.weight": first, "logits.weight": first.T.contiguous()}
    return Sequential(layers, (n_classes, 1, 1), weights), owner


def class_images(n_classes=2, each=6, seed=0):
    rng = np.random.default_rng(seed)
    answers = np.repeat(np.arange(n_classes), each)
    clean = (np.eye(n_classes) + 0.1 * rng.random((n_classes, n_classes)))[answers][:, :, None, None]
    return ImagePairs(clean, None, answers)


@pytest.fixture(scope="module")
def disjoint():
    net, owner = two_paths(3, 4)
    partition, pairs = Partition.units(net), class_images(3, 5)
    labels = np.full(partition.n_nodes, -1)
    labels[partition.node_slice("linear.0")] = owner
    return net, partition, pairs, labels


def test_disjoint_tasks(disjoint):
    net, partition, pairs, labels = disjoint
    serving = {name: [k] for k, name in enumerate(pairs.tasks)}
    metrics = ["accuracy", "probability"]
    found = block_ablation(net, partition, pairs, labels, serving, metrics=metrics, baseline="zero", n_null=99)
    removed, kept = (found.matrix(mode, "accuracy", "value").to_numpy() for mode in ("removed", "kept"))
    np.testing.assert_array_equal(removed, 1 - np.eye(3))
    np.testing.assert_array_equal(kept, np.eye(3))
    by = found.selectivity.set_index(["metric", "of"]).sort_index()
    assert (by.loc["probability", "p"] == 0.01).all() and (by.loc["probability", "n_targets"] == 3).all()
    # All logits zero: class 0 is predicted, so that ablating everything costs class 0 no accuracy.
    assert (by.loc[("accuracy", "faithfulness"), ["value", "n_targets"]] == [1, 2]).all(axis=None)
    assert (by.loc[("accuracy", "value"), ["value", "n_targets"]] == [1, 3]).all(axis=None)
    assert (found.table["q"] >= found.table["p"]).all()


def test_null_draws_change_roles_among_equals():
    net = tiny_network("gpt2")
    partition = Partition.heads(net)
    nodes = partition.nodes(net)
    kinds = np.array([str(site).split(".")[0] for site in nodes["site"]])
    labels = np.where(np.isin(kinds, ["attn", "mlp"]), 0, -1)
    roles = np.where(labels == 0, np.arange(len(labels)) % 3 - 1, -1)
    for among, strata in (("kind", kinds), ("site", nodes["site"].astype(str)), ("all", np.full(len(labels), ""))):
        masks = _masks(labels, roles, 2, _strata(net, partition, among), 20, 0)
        assert masks.shape == (1 + 21 * 4, len(labels))
        assert masks[:, labels == -1].all()
        removed, kept = masks[1::2], masks[2::2]
        np.testing.assert_array_equal((~removed) ^ kept, np.tile(labels == -1, (42, 1)))
        assert not (~removed[0::2] & ~removed[1::2]).any()  # targets stay disjoint
        for value in np.unique(strata):
            n = (~removed[:, strata == value]).sum(1).reshape(21, 2)
            assert (n == n[0]).all()
        assert len(np.unique(removed, axis=0)) > 10


def test_a_null_without_freedom_finds_nothing(disjoint):
    net, partition, pairs, labels = disjoint
    everything = np.where(labels >= 0, 0, -1)
    found = block_ablation(
        net, partition, pairs, everything, {"0": [0]}, baseline="zero", metrics=["accuracy"], n_null=19
    )
    assert (found.table["p"] == 1).all()
    np.testing.assert_allclose(found.table["null_low"], found.table["faithfulness"], atol=1e-12)


def test_null_is_calibrated():
    """Blocks that are random themselves are found selective as often as the level says."""
    net, rng = chain(), np.random.default_rng(0)
    pairs = ImagePairs(rng.normal(size=(12, 1, 8, 8)), None, np.arange(12) % 3, task=["x", "y"] * 6)
    partition, p = Partition.units(net), []
    for k in range(200):
        labels = rng.permutation(np.arange(partition.n_nodes) % 4 - 1)
        options = {"metrics": ["margin"], "baseline": "zero", "n_null": 9, "n_bootstrap": 1, "seed": k}
        found = block_ablation(net, partition, pairs, labels, {"x": [0], "y": [1]}, **options)
        p.append(found.selectivity["p"])
    for at in np.array(p).T:  # modes, faithfulness and value
        assert 0.115 <= (at <= 0.2).mean() <= 0.285  # mean ± 3 sd


def test_targets_without_blocks_and_tasks_without_loss(disjoint):
    net, partition, pairs, labels = disjoint
    found = block_ablation(
        net, partition, pairs, labels, {"0": [0], "1": []}, baseline="zero", metrics=["accuracy"], n_null=9
    )
    rows = found.table[found.table["target"] == "1"]
    assert rows[["value", "faithfulness", "p"]].isna().all(axis=None)
    assert (rows["reason"] == "no block serves this target").all()
    of = found.selectivity.set_index("of")["n_targets"]
    assert (of["faithfulness"] == 0).all() and (
        of["value"] == 1
    ).all()  # all zero logits predict class 0: no loss on it
    lost = found.table.query("target == '0' and task == '0'")
    assert lost["faithfulness"].isna().all() and lost["reason"].str.contains("nothing").all()
    assert lost["value"].notna().all()


def test_results_do_not_depend_on_batches_or_draws():
    net, pairs = tiny_network("llama", dtype=torch.float64), mixture()
    partition = Partition.heads(net)
    labels = np.arange(partition.n_nodes) % 3
    a = block_ablation(net, partition, pairs, labels, SERVING, n_null=5, batch_size=3).table
    b = block_ablation(net, partition, pairs, labels, SERVING, n_null=9).table
    for column in ("value", "faithfulness", "low", "high"):
        np.testing.assert_allclose(a[column], b[column], rtol=0, atol=1e-9)


def test_what_does_not_fit():
    net, pairs = tiny_network("gpt2"), mixture(4)
    partition = Partition.heads(net)
    labels = np.arange(partition.n_nodes) % 3
    with pytest.raises(GraphError, match="target 'y' shares block 2"):
        block_ablation(net, partition, pairs, labels, {"x": [2], "y": [1, 2]})
    with pytest.raises(GraphError, match="there is no block 3; blocks are 0 to 2"):
        block_ablation(net, partition, pairs, labels, {"x": [3]})
    with pytest.raises(DataError, match="at least one target"):
        block_ablation(net, partition, pairs, labels, {})
    with pytest.raises(GraphError, match="among 'layer'"):
        block_ablation(net, partition, pairs, labels, SERVING, among="layer")
    with pytest.raises(DataError, match="at least 0"):
        block_ablation(net, partition, pairs, labels, SERVING, n_null=-1)
    only_embed = np.where(partition.nodes(net)["site"].astype(str) == "embed", 0, -1)
    with pytest.raises(GraphError, match="no node in a block is at a site that may be ablated"):
        block_ablation(net, partition, pairs, only_embed, {"x": [0]})
