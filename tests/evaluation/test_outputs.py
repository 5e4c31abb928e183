"""Kept outputs of circuits: the same numbers as without them, runs of earlier calls reused, damage noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compgraph import store
from compgraph.ablation.baselines import make_baseline
from compgraph.ablation.run import run_graph
from compgraph.array_cache import cache_key
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.images import ImagePairs
from compgraph.errors import DataError, StoreError
from compgraph.evaluation import outputs
from compgraph.evaluation.curve import curve_of
from compgraph.evaluation.faithfulness import faithfulness
from compgraph.evaluation.outputs import open_outputs, write_outputs
from compgraph.evaluation.planning import plan_circuits
from compgraph.evaluation.run_cache import RunCache
from compgraph.partition import Partition
from compgraph.provenance import Provenance
from tests.connectivity.effective.test_eap import chain, make_pairs
from tests.models.tiny import tiny_network

METRICS = ["logit_difference", "kl", "accuracy", "reciprocal_rank"]


@pytest.fixture(scope="module")
def setting():
    net, pairs = tiny_network("neox"), make_pairs(n=11, padded=True)
    return net, pairs, effective_connectivity(net, pairs, Partition.heads(net))


def kept(folder: Path, setting, sizes, *, cache=None, batch_size=4, **options):
    net, pairs, graph = setting
    plan = plan_circuits(net, graph, sizes, **options)
    baseline = make_baseline("counterfactual", net, pairs)
    folder.mkdir(parents=True, exist_ok=True)
    made = Provenance("ablation", {}, 0, {}, "none")
    with store.create(folder / "x.json", outputs.KIND, "x.zarr", made) as draft:
        draft.summary |= write_outputs(
            net, plan, pairs, draft.path, ablation="edge", baseline=baseline, batch_size=batch_size, cache=cache
        )
    return folder / "x.json", plan


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_the_curve_from_kept_outputs_is_the_curve(tmp_path, setting, monkeypatch, rows):
    net, pairs, graph = setting
    monkeypatch.setattr(outputs, "CHUNK", rows * 4 * net.architecture.site("logits").n_units)
    sizes, options = [0.1, 0.4, 1.0], {"complement": True, "n_random": 3}
    manifest, plan = kept(tmp_path, setting, sizes, **options)
    opened = open_outputs(manifest)
    values = opened.values(pairs, METRICS)
    curve = curve_of(opened.circuits, values, METRICS, pairs.task, opened.about)
    direct = faithfulness(net, graph, pairs, sizes, metrics=METRICS, **options)
    assert list(curve.table) == list(direct.table)
    for name in curve.table.columns:
        if curve.table[name].dtype.kind == "f":
            np.testing.assert_allclose(curve.table[name], direct.table[name], atol=2e-5, err_msg=name)
        else:
            assert list(curve.table[name]) == list(direct.table[name]), name
    np.testing.assert_array_equal(opened.masks(plan.frame.n_edges), plan.masks)


def test_circuits_with_the_same_edges_are_run_once(setting):
    net, _, graph = setting
    plan = plan_circuits(net, graph, [0.001, 0.002, 0.3, 0.3], complement=True)
    assert len(plan.table) == 8
    assert len(plan.masks) == 4, "empty, everything, a circuit, its complement"


def test_a_new_size_runs_only_what_is_new(tmp_path, setting, monkeypatch):
    net, pairs, _ = setting
    key = cache_key(network=net.digest, data="data")
    seen = []
    plain = outputs.run_masks

    def counted(net, frame, masks, *arguments, **options):
        seen.append(len(masks))
        return plain(net, frame, masks, *arguments, **options)

    monkeypatch.setattr(outputs, "run_masks", counted)
    first, _ = kept(tmp_path / "a", setting, [0.1, 0.4], cache=RunCache(tmp_path / "cache", key))
    cache = RunCache(tmp_path / "cache", key)
    second, _ = kept(tmp_path / "b", setting, [0.1, 0.2, 0.4], cache=cache)
    assert (cache.found, cache.missed) == (3, 1)
    assert seen == [3, 1]
    fresh, _ = kept(tmp_path / "c", setting, [0.1, 0.2, 0.4])
    values = [open_outputs(path).values(pairs, ["kl"]) for path in (second, fresh)]
    np.testing.assert_allclose(*values, atol=1e-6)
    other = RunCache(tmp_path / "cache", cache_key(network=net.digest, data="other"))
    kept(tmp_path / "d", setting, [0.1, 0.4], cache=other)
    assert other.found == 0
    again = RunCache(tmp_path / "cache", key)
    third, _ = kept(tmp_path / "e", setting, [0.1, 0.4], cache=again)
    assert again.missed == 0
    np.testing.assert_array_equal(open_outputs(third).logits[:], open_outputs(first).logits[:])


def test_torn_and_damaged_runs_are_run_again(tmp_path, setting):
    key = cache_key(data="data")
    kept(tmp_path / "a", setting, [0.1, 0.4], cache=RunCache(tmp_path / "cache", key))
    torn, damaged, _ = sorted((tmp_path / "cache").rglob("*.run"))
    torn.write_bytes(torn.read_bytes()[:-5])
    damaged.write_bytes(b"\0" * 40 + damaged.read_bytes()[40:])
    cache = RunCache(tmp_path / "cache", key)
    kept(tmp_path / "b", setting, [0.1, 0.4], cache=cache)
    assert (cache.found, cache.missed) == (1, 2)


def test_refuses_other_examples_damage_and_what_is_not_finite(tmp_path, setting):
    _, pairs, graph = setting
    manifest, _ = kept(tmp_path, setting, [0.4])
    with pytest.raises(DataError, match="of other examples"):
        open_outputs(manifest).values(pairs.subset([1, 2]), ["kl"])
    chunk = next((tmp_path / "x.zarr/logits/c").rglob("0"))
    chunk = chunk if chunk.is_file() else next(path for path in chunk.rglob("*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[3] ^= 255
    chunk.write_bytes(bytes(content))
    with pytest.raises(StoreError):
        open_outputs(manifest)
    broken = tiny_network("neox")
    broken.weights.unembedding[0, 0] = torch.nan
    with pytest.raises(DataError, match="logits of the model are not finite"):
        kept(tmp_path / "n", (broken, pairs, graph), [0.4])


def test_confusion_of_circuits_is_what_they_predict(tmp_path, monkeypatch):
    net, rng = chain(), np.random.default_rng(0)
    pairs = ImagePairs(*rng.normal(size=(2, 20, 1, 8, 8)), rng.integers(0, 2, 20), np.full(20, 2), classes="abc")
    graph = effective_connectivity(net, pairs, Partition.channels(net))
    monkeypatch.setattr(outputs, "CHUNK", 7 * 4 * 3)
    manifest, _ = kept(tmp_path, (net, pairs, graph), [0.3, 0.6])
    opened = open_outputs(manifest)
    table = opened.confusion(pairs)
    for fraction, rows in table.groupby("fraction"):
        circuit = graph.top(int(rows["n_edges"].iloc[0]))
        assert fraction == circuit.n_edges / graph.n_edges
        images = {"model": pairs.clean, "empty": pairs.corrupted}
        found = {name: net.run(torch.from_numpy(x)).logits.argmax(1).numpy() for name, x in images.items()}
        found["value"] = run_graph(net, circuit, pairs).argmax(1).numpy()
        expected = {}
        for k, true in enumerate("ab"):
            own = pairs.answers[:, 0] == k
            for j, predicted in enumerate("abc"):
                shares = [(found[name][own] == j).mean() for name in ("value", "model", "empty")]
                if any(shares):
                    expected[true, predicted] = [own.sum(), *shares]
        keys = zip(rows["true"], rows["predicted"], strict=True)
        got = dict(zip(keys, rows[["n", "value", "model", "empty"]].to_numpy().tolist(), strict=True))
        assert got == {key: pytest.approx(value) for key, value in expected.items()}
    with pytest.raises(DataError, match="of other examples"):
        opened.confusion(pairs.subset([1, 2]))


def test_prompts_have_no_confusion(tmp_path, setting):
    manifest, _ = kept(tmp_path, setting, [0.4])
    with pytest.raises(DataError, match="confusion of classes needs images"):
        open_outputs(manifest).confusion(setting[1])
