"""Class ablation against loops over single examples; random parts; confusion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph.ablation.run import ablate_nodes
from compgraph.data.images import ImagePairs
from compgraph.errors import DataError, GraphError
from compgraph.evaluation.class_ablation import class_ablation, random_partition
from compgraph.evaluation.confusion import confusion_table
from compgraph.partition import Partition
from tests.connectivity.effective.feature_brute import with_features
from tests.connectivity.effective.test_eap import chain, cutting, make_pairs
from tests.models.tiny import tiny_network


@pytest.fixture(scope="module")
def setting():
    net, rng = chain(), np.random.default_rng(0)
    images = rng.normal(size=(30, 1, 8, 8))
    answers = net.run(torch.from_numpy(images)).logits.argmax(-1).numpy()
    answers[::5] = (answers[::5] + 1) % 3  # the network is wrong about some
    pairs = ImagePairs(images, None, answers)
    found = cg.node_attributions(net, pairs, metric="margin", baseline="zero", sites=["conv.1", "linear.0"])
    return net, pairs, found


SHARES = (0.0, 0.1, 0.5, 1.0)


@pytest.mark.parametrize("order", ["input", "class"])
@pytest.mark.parametrize("rank", ["support", "abs"])
def test_equals_a_loop_over_examples(setting, order, rank):
    net, pairs, found = setting
    partition = Partition.mixed(net, {"conv.1": "channels", "linear.0": "units"})
    result = class_ablation(net, {"own": partition}, pairs, found, shares=SHARES, order=order, rank=rank, batch_size=7)
    nodes = partition.nodes(net)
    regions = np.flatnonzero(np.isin(nodes["site"].astype(str), ["conv.1", "linear.0"]))
    support = np.zeros((pairs.n, len(regions)))
    for j, node in enumerate(regions):
        units = np.asarray(partition.labels[nodes["site"][node]]) == nodes["label"][node]
        support[:, j] = -found.read(nodes["site"][node])[:, units].sum(1)
    scores = support if rank == "support" else np.abs(support)
    if order == "class":
        scores = np.stack([scores[pairs.task == task].mean(0) for task in pairs.task])
    for mode in ("removed", "kept"):
        for share in SHARES:
            k = int(np.floor(share * len(regions) + 0.5))
            predicted = []
            for i in range(pairs.n):
                strongest = regions[np.argsort(-scores[i], kind="stable")[:k]]
                keep = np.ones(partition.n_nodes, bool)
                if mode == "removed":
                    keep[strongest] = False
                else:
                    keep[np.setdiff1d(regions, strongest)] = False
                logits = ablate_nodes(net, partition, [keep], pairs.subset([i]), baseline="zero")
                predicted.append(int(logits[0, 0].argmax()))
            run = result.curves.index(("own", mode, share))
            np.testing.assert_array_equal(result.predicted[run, 0], predicted)
            right = np.array(predicted) == pairs.answers[:, 0]
            rows = result.table.query("mode == @mode and share == @share").set_index("class")
            assert rows.loc["all", "accuracy"] == right.mean() and rows.loc["all", "n_rois"] == k
            for task in pairs.tasks:
                assert rows.loc[task, "accuracy"] == pytest.approx(right[pairs.task == task].mean())
                assert rows.loc[task, "n"] == (pairs.task == task).sum()
            assert (rows["low"] <= rows["accuracy"]).all() and (rows["accuracy"] <= rows["high"]).all()


def test_ends_of_the_curves(setting):
    net, pairs, found = setting
    result = class_ablation(net, {"units": Partition.units(net)}, pairs, found, shares=SHARES, sites=["linear.0"])
    table = result.table.query("`class` == 'all'").set_index(["mode", "share"])
    assert table.loc[("removed", 0.0), "accuracy"] == table.loc[("kept", 1.0), "accuracy"] == 24 / 30
    assert (table["model"] == 24 / 30).all() and (table["chance"] == 1 / 3).all()
    bias = int(net.weights["logits.bias"].argmax())  # nothing else is left
    for key in (("removed", 1.0), ("kept", 0.0)):
        assert table.loc[key, "accuracy"] == (pairs.answers == bias).mean()
    np.testing.assert_allclose(table["unit_share"], table["n_rois"] / 5)
    wrong = result.confusion("units", "removed", 0.0)
    assert wrong.query("true == predicted")["n"].sum() == 24 and wrong["n"].sum() == 30
    with pytest.raises(ValueError, match="no run"):
        result.confusion("units", "removed", 0.33)


def test_random_draws_are_averaged(setting):
    net, pairs, found = setting
    labels = {"conv.1": np.arange(12) % 3, "linear.0": np.array([0, 0, 1, 1, 2])}
    rois = Partition.mixed(net, dict.fromkeys(labels, Partition.from_labels(labels)))
    draws = [random_partition(rois, seed=k) for k in range(4)]
    result = class_ablation(net, {"rois": rois, "random": draws}, pairs, found, shares=(0.5,))
    single = [class_ablation(net, {"one": one}, pairs, found, shares=(0.5,)).table["accuracy"] for one in draws]
    rows = result.table[result.table["partition"] == "random"]
    np.testing.assert_allclose(rows["accuracy"], np.mean(single, 0))
    np.testing.assert_allclose(rows["draw_low"], np.min(single, 0))
    np.testing.assert_allclose(rows["draw_high"], np.max(single, 0))
    assert (rows["n_draws"] == 4).all() and (result.predicted[:2, 1:] == -1).all()


@pytest.mark.parametrize("dead", [-1, 0])
def test_random_parts_have_equal_sizes(dead):
    net = tiny_network("gpt2")
    partition = cutting(net, dead=dead)
    drawn = random_partition(partition, seed=1)
    assert drawn.node_names == partition.node_names and drawn != partition
    for site in partition.sites:
        np.testing.assert_array_equal(drawn.part_sizes(site), partition.part_sizes(site))
        np.testing.assert_array_equal(drawn.labels[site] < 0, partition.labels[site] < 0)
    assert random_partition(partition, seed=1) == drawn != random_partition(partition, seed=2)
    some = random_partition(partition, ["mlp.0"], seed=1)
    assert (some.labels["mlp.0"] != partition.labels["mlp.0"]).any()
    np.testing.assert_array_equal(some.labels["mlp.1"], partition.labels["mlp.1"])
    with pytest.raises(GraphError, match=r"site 'mlp\.9'"):
        random_partition(partition, ["mlp.9"])


def test_transformers_and_streamed_attributions(tmp_path):
    net, pairs = tiny_network("neox", dtype=torch.float64), make_pairs(n=7, padded=True)
    partition = Partition.heads(net)
    found = cg.node_attributions(net, pairs)
    path = tmp_path / "attributions.json"
    buffer = cg.record_attributions(net, pairs, path, chunk_bytes=7 * 40 * 8)
    options = {"shares": (0.0, 0.3, 1.0), "baseline": "counterfactual", "n_bootstrap": 10}
    a, b = (
        class_ablation(net, {"heads": partition}, pairs, source, batch_size=size, **options)
        for source, size in ((found, None), (buffer, 2))
    )
    np.testing.assert_array_equal(a.predicted, b.predicted)
    assert a.attributes["sites"] == ["attn.0", "attn.1"] and (a.table["chance"] == 1 / 41).all()


def test_the_error_of_a_dictionary_is_no_region():
    """With all regions removed it is all that is left of the site, whichever way they were drawn."""
    net = with_features(tiny_network("gpt2", dtype=torch.float64), {"mlp.0": "write"}, n_features=6)
    pairs = make_pairs(n=5)
    labels = np.append(np.arange(6) % 3, np.full(net.architecture.site("mlp.0").n_units - 6, 3))
    names = {"mlp.0": ["roi.0", "roi.1", "roi.2", "error"]}
    rois = Partition.mixed(net, {"mlp.0": Partition.from_labels({"mlp.0": labels}, names=names)})
    drawn = random_partition(rois, seed=1).check_causal(net)
    assert (drawn.labels["mlp.0"][:6] != labels[:6]).any() and (drawn.labels["mlp.0"][6:] == 3).all()
    found = cg.node_attributions(net, pairs, baseline="zero")
    result = class_ablation(net, {"rois": rois, "random": drawn}, pairs, found, shares=(0.0, 0.34, 1.0))
    assert result.table["n_rois"].unique().tolist() == [0, 1, 3]
    assert set(result.table.query("share == 1")["unit_share"]) == {1.0}
    keep = np.ones(rois.n_nodes, bool)
    keep[rois.node_slice("mlp.0")][:3] = False
    expected = ablate_nodes(net, rois, [keep], pairs, baseline="zero")[0].argmax(-1)
    for partition in ("rois", "random"):
        run = result.curves.index((partition, "removed", 1.0))
        np.testing.assert_array_equal(result.predicted[run, 0], expected)


def test_what_does_not_fit(setting):
    net, pairs, found = setting
    units = {"units": Partition.units(net)}
    with pytest.raises(DataError, match=r"shares \[1\.5\] are out of range"):
        class_ablation(net, units, pairs, found, shares=[1.5])
    with pytest.raises(DataError, match="of 30 examples but 3 examples"):
        class_ablation(net, units, pairs.subset([0, 1, 2]), found)
    with pytest.raises(DataError, match=r"no attributions at site 'conv\.0'"):
        class_ablation(net, units, pairs, found, sites=["conv.0"])
    with pytest.raises(GraphError, match="site 'logits' is not one that can be ablated"):
        class_ablation(net, units, pairs, found, sites=["logits"])
    with pytest.raises(DataError, match="order 'task'"):
        class_ablation(net, units, pairs, found, order="task")
    with pytest.raises(GraphError, match="no site with attributions has more than one region"):
        class_ablation(net, {"modules": Partition.modules(net)}, pairs, found)
    with pytest.raises(GraphError, match="must have as many"):
        class_ablation(net, {"own": [Partition.units(net), Partition.channels(net)]}, pairs, found)
    with pytest.raises(DataError, match="needs answers"):
        class_ablation(net, units, ImagePairs(pairs.clean), found)


def test_confusion():
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 3.0], [0.0, 2.0, 1.0], [0.0, 0.5, 1.0]])
    table = confusion_table(logits, np.array([[0], [2], [1], [1]]), ("cat", "dog", "eel")).set_index(
        ["true", "predicted"]
    )
    assert table["n"].sum() == 4
    assert table.loc[("dog", "eel"), "n"] == 1 and table.loc[("dog", "eel"), "share"] == 0.5
    assert table.loc[("cat", "cat"), "share"] == 1
    assert confusion_table([0, 0], [0, 2]).query("true == '1'")["share"].isna().all()
    with pytest.raises(DataError, match="one prediction and one answer"):
        confusion_table([0, 1], [0])
    with pytest.raises(DataError, match="numbers from 0 to 1"):
        confusion_table([0, 2], [0, 1], ("a", "b"))
