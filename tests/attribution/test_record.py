"""Attribution buffers: sealed, resumable, of the same bytes, and read by whatever reads activations."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph import catalogue, store
from compgraph.ablation.baselines import Zero
from compgraph.data.batches import batches
from compgraph.errors import CompgraphError, DataError, ModelError, StoreError
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from tests.attribution.test_methods import Images
from tests.connectivity.effective.test_eap import chain, make_pairs
from tests.data.fake_networks import content
from tests.models.tiny import tiny_network

METHODS = list(catalogue.ATTRIBUTIONS)
SMALL_CHUNKS = {"chunk_bytes": 20 * 36 * 4, "batch_size": 2}  # some 20 rows a chunk: several batches, cut anywhere


def record(folder: Path, net, pairs, **options):
    return cg.record_attributions(net, pairs, folder / "a.json", **(SMALL_CHUNKS | options))


@pytest.mark.parametrize("method", METHODS)
def test_a_buffer_holds_what_the_call_in_memory_gives(tmp_path, method):
    net, pairs = tiny_network("llama"), make_pairs(n=9, padded=True)
    buffer = record(tmp_path, net, pairs, method=method, sites=["attn.*", "mlp.1"])
    found = cg.node_attributions(net, pairs, method=method, sites=["attn.*", "mlp.1"], batch_size=2)
    assert buffer.quantity == found.quantity == "attribution"
    assert buffer.n_chunks > 1
    assert list(buffer.sites["site"]) == list(found.sites["site"]) == ["attn.0", "attn.1", "mlp.1"]
    for column in ("item", "id", "position"):
        assert list(buffer.items[column]) == list(found.items[column])
    np.testing.assert_array_equal(buffer.item, found.item)
    for site in found.values:
        np.testing.assert_array_equal(buffer.read(site), found.read(site))
        np.testing.assert_allclose(buffer.mean(site), found.mean(site), rtol=0, atol=1e-7)
        np.testing.assert_allclose(buffer.variance(site), found.variance(site), rtol=1e-5, atol=1e-9)
    store.verify(tmp_path / "a.json")


def test_batches_change_rounding_alone(tmp_path):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=7, padded=True)
    one, other = (record(tmp_path / str(size), net, pairs, batch_size=size) for size in (1, 5))
    again = record(tmp_path / "again", net, pairs, batch_size=5)
    for site in one.sites["site"]:
        scale = np.abs(one.read(site)).max()
        np.testing.assert_allclose(other.read(site), one.read(site), rtol=0, atol=2e-7 * scale)
    assert content(tmp_path / "again") == content(tmp_path / "5") and again.digest == other.digest


def test_the_manifest_says_how_it_was_made(tmp_path):
    net, pairs = tiny_network("gpt2"), make_pairs()
    buffer = record(tmp_path, net, pairs, method="integrated-gradients", steps=2, baseline="zero", sites="embed")
    said = {"quantity": "attribution", "method": "integrated-gradients", "metric": "logit_difference", "steps": 2}
    assert buffer.result.kind == "attributions"
    assert buffer.result.summary.items() >= (said | {"baseline": "zero", "dtype": "float32"}).items()
    assert buffer.attributes["attribution"]["data"].startswith("sha256:")
    assert buffer.result.provenance.stage == "attributions"
    assert record(tmp_path / "object", net, pairs, baseline=Zero(), sites="embed").result.parameters["baseline"] == {
        "baseline": "zero"
    }


def test_a_network_in_bfloat16(tmp_path):
    """The passes are those of the network's precision; what comes of them is kept as float32."""
    fine, pairs = tiny_network("llama"), make_pairs(n=4)
    coarse = tiny_network("llama", dtype=torch.bfloat16)
    buffer, exact = record(tmp_path, coarse, pairs), cg.node_attributions(fine, pairs)
    found = cg.node_attributions(coarse, pairs, batch_size=2)
    for site in ("embed", "attn.1", "mlp.1"):
        assert found.read(site).dtype == np.float32
        np.testing.assert_array_equal(found.read(site), buffer.read(site))
        assert np.corrcoef(found.read(site).ravel(), exact.read(site).ravel())[0, 1] > 0.99


def test_images(tmp_path):
    net, images = chain(), Images(11)
    buffer = record(tmp_path, net, images, sites=["conv.*", "logits"])
    found = cg.node_attributions(net, images)
    for site in ("conv.0", "conv.1", "logits"):
        np.testing.assert_allclose(buffer.read(site), found.read(site), rtol=1e-6, atol=1e-9)


# ---- interrupted recordings ------------------------------------------------------------------------------


def interrupt(folder: Path, net: Transformer, pairs, after: int, **options) -> None:
    """Stop after some forward passes, as an error or Ctrl-C would."""
    left = [after]

    def failing(run):
        def call(*arguments, **keywords):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return run(*arguments, **keywords)

        return call

    plain = net.run, net.capture
    net.run, net.capture = (failing(one) for one in plain)
    with pytest.raises(KeyboardInterrupt):
        record(folder, net, pairs, **options)
    net.run, net.capture = plain


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_buffer_goes_on_and_ends_the_same(tmp_path, method):
    net, pairs = tiny_network("llama"), make_pairs(n=15, padded=True)
    options = {"method": method, "sites": ["mlp.*"], "dtype": "bfloat16", "compress": ["mlp.1"]}
    passes = [0]

    def counted(run):
        def call(*arguments, **keywords):
            passes[0] += 1
            return run(*arguments, **keywords)

        return call

    net.run, net.capture = counted(net.run), counted(net.capture)
    record(tmp_path / "calm", net, pairs, **options)
    total = passes[0]
    for after in sorted({0, 1, total // 2, total - 1}):
        interrupt(tmp_path / str(after), net, pairs, after, **options)
        passes[0] = 0
        record(tmp_path / str(after), net, pairs, **options)
        assert content(tmp_path / str(after)) == content(tmp_path / "calm")
        if after == total - 1:
            assert passes[0] < total / 2  # it went on, and did not begin afresh


def altered(pairs, **fields):
    other = copy.copy(pairs)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def test_another_question_begins_afresh(tmp_path):
    net, pairs = tiny_network("llama"), make_pairs(n=15)
    changed = [
        altered(pairs, answers=pairs.answers[::-1].copy()),
        altered(pairs, corrupted=pairs.corrupted[::-1].copy()),
    ]
    questions = [(pairs, {"metric": "cross_entropy"}), (pairs, {"baseline": "zero"}), *((c, {}) for c in changed)]
    for number, (data, options) in enumerate(questions):
        interrupt(tmp_path / str(number), net, pairs, 9, sites="mlp.0")
        assert (tmp_path / str(number) / "a.zarr.partial/moments/c/0/0/0").is_file()
        record(tmp_path / str(number), net, data, sites="mlp.0", **options)
        record(tmp_path / "calm", net, data, sites="mlp.0", **options)
        assert content(tmp_path / str(number)) == content(tmp_path / "calm")
        shutil.rmtree(tmp_path / "calm")


KILLED = """
    import os, signal, sys
    import torch
    torch.set_num_threads(1)
    from pathlib import Path
    from compgraph.data.buffer_chunks import RawSink
    from tests.attribution.test_record import Images, chain, record

    append = RawSink.append

    def die_at(point):
        count = 0

        def appended(self, rows):
            nonlocal count
            count += 1
            append(self, rows)
            if count == point:  # in the middle of a chunk
                os.kill(os.getpid(), signal.SIGKILL)

        RawSink.append = appended
        record(Path(sys.argv[1], str(point)), chain(), Images(60), sites=["conv.*", "linear.*"])
        return count

    for point in map(int, sys.argv[2:]):  # a process each, but one import of torch
        child = os.fork()
        if child == 0:
            print(die_at(point), flush=True)
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)
"""


def test_kill_at_several_moments(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    environment = os.environ | {"PYTHONPATH": str(Path(store.__file__).parents[1]), "OMP_NUM_THREADS": "1"}

    def run(*points: int) -> list[int]:
        """What the processes printed (the number of writes, if they lived) and how they ended."""
        command = [sys.executable, script, tmp_path, *map(str, points)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [int(line) for line in done.stdout.split()]

    total, status = run(0)
    assert status == 0
    points = [1, total // 3, total // 2, total - 1]
    assert run(*points) == [signal.SIGKILL] * len(points)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for point in points:
            folder = tmp_path / str(point)
            with pytest.raises(StoreError, match="interrupted"):
                cg.open_buffer(folder / "a.json")
            record(folder, chain(), Images(60), sites=["conv.*", "linear.*"])
            assert content(folder) == content(tmp_path / "0")
    finally:
        torch.set_num_threads(threads)


# ---- what reads it ---------------------------------------------------------------------------------------


def test_functional_graphs_and_rois_of_attributions(tmp_path):
    net, pairs = tiny_network("neox", dtype=torch.float64), make_pairs(n=12, padded=True)
    buffer = record(tmp_path, net, pairs, sites=["attn.*", "mlp.*"])
    memory = cg.node_attributions(net, pairs, sites=["attn.*", "mlp.*"])
    heads = Partition.heads(net)
    graph = cg.functional_connectivity(buffer, heads)
    same = cg.functional_connectivity(memory, heads)
    np.testing.assert_allclose(graph.weight, same.weight, rtol=0, atol=1e-5)
    labels = Partition.units(net)
    units = cg.functional_connectivity(buffer, labels, sites=["mlp.1"])
    expected = np.corrcoef(memory.read("mlp.1").T)
    found = np.eye(len(expected))
    found[units.source - units.source.min(), units.target - units.source.min()] = units.weight
    np.testing.assert_allclose(np.triu(found, 1), np.triu(expected, 1), rtol=0, atol=1e-5)
    rois = cg.find_rois(buffer, "mlp.*", method="kmeans", n_rois=3)
    assert rois == cg.find_rois(memory, "mlp.*", method="kmeans", n_rois=3)
    assert rois.n_parts("mlp.0") == 3


# ---- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"method": "eap"}, DataError, "attribution method 'eap' is not known; valid are attribution-patching"),
        ({"steps": 3}, DataError, "'attribution-patching' has no option 'steps'; its options: none"),
        ({"method": "integrated-gradients", "steps": 0}, DataError, "steps is 0; it must be at least 1"),
        ({"metric": "accuracy"}, DataError, "metric 'accuracy' has no gradient"),
        ({"metric": "kl"}, DataError, "'kl' is flat in the clean run, whose gradient 'attribution-patching' takes"),
        ({"method": "integrated-gradients", "steps": 1, "metric": "kl"}, DataError, "'kl' is flat in the clean run"),
        ({"method": "activation-x-gradient", "baseline": "zero"}, DataError, "takes no baseline"),
        ({"baseline": "one"}, DataError, "baseline 'one' is not known"),
        ({"sites": ["logits"]}, ModelError, "'logits' is what the metric reads"),
        ({"sites": ["mlp.9"]}, DataError, "no site matches 'mlp.9'"),
        ({"positions": "first"}, DataError, "positions 'first' is not"),
        ({"batch_size": 0}, DataError, "batch_size is 0"),
    ],
)
def test_what_cannot_be_is_refused(options, error, said, tmp_path):
    net, pairs = tiny_network("gpt2"), make_pairs()
    with pytest.raises(error, match=said):
        cg.node_attributions(net, pairs, **options)
    with pytest.raises(error, match=said):
        record(tmp_path, net, pairs, **options)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]  # before any work


def constant(logits, targets):
    """A metric of nothing."""
    return torch.zeros(len(logits))


def root(logits, targets):
    """A metric whose gradient is infinite where the first logit is zero."""
    return (logits[:, 0] - logits[:, 0].detach()).abs().sqrt()


def test_metrics_of_ones_own():
    net, pairs = tiny_network("gpt2"), make_pairs()
    with pytest.raises(DataError, match="constant in the logits"):
        cg.node_attributions(net, pairs, metric="tests.attribution.test_record:constant")
    with pytest.raises(DataError, match=r"attributions at embed of item .* are not finite"):
        cg.node_attributions(net, pairs, metric="tests.attribution.test_record:root")


def test_what_does_not_fit_into_memory_is_refused_before_the_work(monkeypatch):
    net, pairs = tiny_network("gpt2"), make_pairs()
    monkeypatch.setattr("compgraph.attribution.record.available_memory", lambda: 1000)
    net.run = None
    with pytest.raises(DataError, match=r"need about 0\.0 GB, and 0\.0 GB are free; name fewer sites"):
        cg.node_attributions(net, pairs, method="activation-x-gradient")


def test_data_without_a_counterfactual():
    net, pairs = tiny_network("gpt2"), altered(make_pairs(), corrupted=None)
    with pytest.raises(DataError, match="needs a corrupted input per example"):
        cg.node_attributions(net, pairs)
    assert cg.node_attributions(net, pairs, method="activation-x-gradient").n_rows == pairs.n * 6


def test_numbers_too_large_for_the_disk_are_refused(tmp_path):
    net, pairs = tiny_network("gpt2"), make_pairs()
    net.weights.unembedding.mul_(1e6)
    with pytest.raises(DataError, match="too large for float16: record it as float32"):
        record(tmp_path, net, pairs, dtype="float16")


def test_other_results_are_no_buffers(tmp_path):
    from compgraph.provenance import Provenance

    made = Provenance("x", {}, None, {}, "code")
    with store.create(tmp_path / "g.json", "graph", "g.graph", made) as draft:
        draft.path.mkdir()
        (draft.path / "f").write_text("x")
    with pytest.raises(CompgraphError, match="kind 'graph'; expected 'activations' or 'attributions'"):
        cg.open_buffer(tmp_path / "g.json")


def test_batches_cut_padding_and_rows_keep_their_place():
    """Prompts that share left padding: positions are those of the whole token array."""
    net, pairs = tiny_network("qwen2", dtype=torch.float64), make_pairs(n=3)
    wide = np.zeros((3, 4), int)
    mask = np.concatenate([np.zeros((3, 4), bool), np.ones((3, 6), bool)], 1)
    padded = cg.PromptPairs(
        np.concatenate([wide, pairs.clean], 1),
        np.concatenate([wide, pairs.corrupted], 1),
        pairs.answers,
        pairs.distractors,
        mask=mask,
    )
    assert next(batches(net, padded, 3)).clean.shape == (3, 6)
    plain, shifted = cg.node_attributions(net, pairs), cg.node_attributions(net, padded)
    np.testing.assert_array_equal(shifted.position, plain.position + 4)
    for site in plain.values:
        np.testing.assert_allclose(shifted.read(site), plain.read(site), rtol=0, atol=1e-12)
