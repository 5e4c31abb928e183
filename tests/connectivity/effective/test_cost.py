"""Estimated passes against counted ones; what is told, refused and recorded."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import torch

from compgraph import progress
from compgraph.ablation.baselines import make_baseline
from compgraph.catalogue import EFFECTIVE, load_cost
from compgraph.connectivity.effective import cost, effective_connectivity
from compgraph.connectivity.effective.cost import Cost, Question, announce
from compgraph.connectivity.effective.setting import Setting
from compgraph.errors import DataError
from compgraph.models.counting import Passes, count_passes
from compgraph.partition import Partition
from tests.connectivity.effective.feature_brute import halves, with_features
from tests.connectivity.effective.test_eap import Images, chain, make_pairs
from tests.models.tiny import tiny_network

OPTIONS = {
    "eap": [{}, {"qk_fix": True}, {"grad_drop": True}, {"keep": 3}],
    "eap-ig-inputs": [{"steps": 3}, {"steps": 2, "grad_drop": True}, {"steps": 2, "keep_overall": 5}],
    "clean-corrupted": [{}, {"keep": 2}],
    "edge-pruning": [{"steps": 3, "examples": 2}],
    "node-ig": [{"steps": 3, "edge_steps": 2}],
    "ceap": [{"steps": 2}],
    "eap-gp": [{"steps": 2}],
    "eap-ig-activations": [{"steps": 3}],
    "granger": [{"ridge": 0.1, "signal": "pc"}],
    "transfer-entropy": [{"max_order": 1}, {"permutations": 9, "max_order": 1}],
}
ROUGH = ("acdc",)
"""Methods whose number of passes shows only on the way."""


def question(net, pairs, partition, name, baseline="counterfactual", metric=None, **fields):
    """The setting that `effective_connectivity` makes."""
    entry = EFFECTIVE[name]
    made = make_baseline(baseline if entry.takes_baseline else "zero", net, pairs)
    return Setting(net, pairs, partition, metric or entry.metric, made, **fields)


def assert_estimated(net, pairs, partition, name, options, **asked):
    """The estimate is what is counted, and what is counted is in the graph."""
    estimate = load_cost(EFFECTIVE[name])(question(net, pairs, partition, name, **asked), **options)
    with count_passes() as made:
        graph = effective_connectivity(net, pairs, partition, name, **asked, **options)
    assert graph.attributes["passes"] == {
        "forward": pytest.approx(made.forward / pairs.n, abs=1e-4),
        "backward": pytest.approx(made.backward / pairs.n, abs=1e-4),
    }
    assert (estimate.forward, estimate.backward) == (
        pytest.approx(made.forward / pairs.n, rel=1e-9),
        pytest.approx(made.backward / pairs.n, rel=1e-9),
    )
    assert 1 <= estimate.batch <= pairs.n and estimate.memory > 0


def test_every_method_has_an_estimate():
    assert [name for name, entry in EFFECTIVE.items() if not entry.cost] == []


@pytest.mark.parametrize("name", [name for name in EFFECTIVE if name not in ROUGH])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_passes_of_a_transformer(name, batch_size):
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=8, t=6)
    partition = Partition.modules(net)
    for options in OPTIONS.get(name, [{}]):
        assert_estimated(net, pairs, partition, name, options, batch_size=batch_size)


@pytest.mark.parametrize("name", [name for name, e in EFFECTIVE.items() if "sequential" in e.serves and name != "acdc"])
def test_passes_of_a_chain(name):
    net, pairs = chain(), Images()
    skip = {"qk_fix", "grad_drop", "keep", "keep_overall"}
    for options in OPTIONS.get(name, [{}]):
        if not skip & set(options):
            assert_estimated(net, pairs, Partition.channels(net), name, options)


@pytest.mark.parametrize("name", ["eap", "exact", "node-ig", "eap-ig-activations", "edge-pruning"])
def test_passes_with_other_metrics_baselines_and_finer_parts(name):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=4, t=5, padded=True)
    labels = {site: np.zeros_like(one) for site, one in Partition.modules(net).labels.items()}
    labels["attn.1"] = np.arange(len(labels["attn.1"])) % 2
    for partition in (Partition.heads(net), Partition.from_labels(labels)):
        options = OPTIONS.get(name, [{}])[0] if name == "edge-pruning" else {}
        assert_estimated(net, pairs, partition, name, options, baseline="zero", metric="cross_entropy")
    if name == "exact":
        assert_estimated(net, pairs, Partition.heads(net), name, {}, metric="kl", split_qkv=False)


def test_passes_with_dictionaries():
    net = with_features(tiny_network("gpt2", dtype=torch.float64), {"mlp.0": "write"})
    pairs = make_pairs(n=2, t=4)
    for name in ("eap", "exact", "relp", "gradient-norm", "attention-rollout", "information-flow-routes"):
        assert_estimated(net, pairs, halves(net), name, {})
    assert_estimated(net, pairs, halves(net), "node-ig", {"steps": 2})
    assert_estimated(net, pairs, halves(net), "edge-pruning", {"steps": 3, "examples": 2})
    for option in ("qk_fix", "grad_drop"):
        assert_estimated(net, pairs, Partition.mixed(net, {"mlp.0": "units"}), "eap", {option: True})


@pytest.mark.parametrize(
    "net, make",
    [
        (tiny_network("gpt2", dtype=torch.float64), Partition.modules),
        (chain(), Partition.modules),
        (with_features(tiny_network("gpt2", dtype=torch.float64), {"attn.0": "write"}), halves),
    ],
    ids=["transformer", "chain", "features"],
)
def test_acdc_tries_about_as_often_as_there_are_edges(net, make):
    pairs = make_pairs(n=4, t=5) if net.kind == "transformer" else Images()
    partition = make(net)
    estimate = load_cost(EFFECTIVE["acdc"])(question(net, pairs, partition, "acdc"), tau=0.0)
    made = effective_connectivity(net, pairs, partition, "acdc", tau=0.0).attributes["passes"]
    assert estimate.rough and made["backward"] == 0
    assert estimate.forward / 3 < made["forward"] < 3 * estimate.forward


def test_means_are_made_once_over_their_own_data():
    net, pairs, other = tiny_network("gpt2"), make_pairs(n=4, t=5), make_pairs(n=6, t=5)
    graph = effective_connectivity(net, pairs, Partition.heads(net), baseline="mean", reference=other, batch_size=1)
    assert graph.attributes["passes"] == {"forward": 1 + 6 / 4, "backward": 1.0}
    made = make_baseline("mean", net, pairs, reference=other)
    ask = Question(Setting(net, pairs, Partition.heads(net), "logit_difference", made))
    assert (ask.baseline, ask.preparation) == (0, 6 / 4)


# ---------------------------------------------------------------- counting


def test_parts_of_passes_and_nested_counts():
    net, pairs = tiny_network("gpt2"), make_pairs(n=3, t=4)
    tokens, positions = torch.from_numpy(pairs.clean), torch.from_numpy(pairs.positions)
    with count_passes() as outer:
        net.run(tokens, positions=positions)
        with count_passes() as inner:
            stream = torch.zeros(3, 4, net.spec.d_model)
            net.resume(net.steps[0], stream, stream, net.context(tokens), positions)
        net.capture(tokens, None, ["mlp.0"])
    part = 3 * (len(net.steps) - 1) / len(net.steps)
    assert inner == Passes(part, 0.0)
    assert outer.forward == pytest.approx(6 + part)
    net.run(tokens)
    assert outer.forward == pytest.approx(6 + part)  # closed


def test_backward_passes_count_when_they_happen():
    net, pairs = tiny_network("gpt2"), make_pairs(n=3, t=4)
    with count_passes() as made:
        leaf = net.embed_units(torch.from_numpy(pairs.clean)).detach().requires_grad_()
        out = net.run(torch.from_numpy(pairs.clean), edit={"embed": lambda _: leaf})
        assert made.backward == 0
        torch.autograd.grad(out.logits.sum(), leaf, retain_graph=True)
        torch.autograd.grad(out.logits[0].sum(), leaf)
    assert made.backward == 6


# ---------------------------------------------------------------- told, recorded, refused


def test_one_line_before_and_one_after(tmp_path):
    net, pairs, said = tiny_network("gpt2"), make_pairs(n=5, t=4), io.StringIO()
    progress.enable(stream=said, log_file=tmp_path / "log.txt")
    try:
        effective_connectivity(net, pairs, Partition.heads(net), batch_size=2)
    finally:
        progress.disable()
    first, *_, last = said.getvalue().splitlines()
    assert re.fullmatch(r"eap: 2 forward and 1 backward pass over 5 examples in 3 batches, about \d+ MB", first)
    assert re.match(r"eap: made 2 forward and 1 backward pass of each example in [\d.]+ s(, memory grew .*MB)?$", last)
    assert first in (tmp_path / "log.txt").read_text()


def test_wording():
    assert Cost(1, 0, 2_000_000_000, 1).about("x", 1) == "x: 1 forward pass over 1 example in 1 batch, about 2.0 GB"
    text = Cost(2.5, 1.25, 1, 4, rough=True).about("x", 1000)
    assert text == "x: about 2.50 forward and 1.25 backward passes over 1,000 examples in 250 batches, about 1 MB"


def test_graphs_do_not_depend_on_the_run(tmp_path):
    net, pairs = tiny_network("gpt2"), make_pairs(n=5, t=4)
    graphs = [effective_connectivity(net, pairs, Partition.heads(net), "exact") for _ in range(2)]
    assert graphs[0].attributes == graphs[1].attributes
    for graph, name in zip(graphs, "ab", strict=True):
        graph.save(tmp_path / f"{name}.graph")
    files = [sorted(path for path in (tmp_path / f"{name}.graph").rglob("*") if path.is_file()) for name in "ab"]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_too_much_memory_is_refused_before_any_pass(monkeypatch):
    net, pairs = tiny_network("gpt2"), make_pairs(n=4, t=4)
    monkeypatch.setattr(cost, "available_memory", lambda: 1000)
    with (
        count_passes() as made,
        pytest.raises(DataError, match=r"eap: it needs about .* MB beyond the model, and 1 MB"),
    ):
        effective_connectivity(net, pairs, Partition.heads(net))
    assert made.forward == 0
    setting = question(net, pairs, Partition.heads(net), "eap")
    with pytest.raises(DataError, match="what helps: a batch_size below 64, a coarser partition, or"):
        announce("eap", Cost(1, 1, 10**9, 64), setting)
    monkeypatch.setattr(cost, "available_memory", lambda: None)
    announce("eap", Cost(1, 1, 10**18, 64), setting)  # a system that does not say refuses nothing


def test_memory_grows_with_batch_edges_and_bootstrap():
    net, pairs = tiny_network("gpt2"), make_pairs(n=8, t=4)
    eap = load_cost(EFFECTIVE["eap"])

    def memory(partition=None, **fields):
        return eap(question(net, pairs, partition or Partition.heads(net), "eap", **fields)).memory

    assert memory(batch_size=1) < memory(batch_size=8)
    assert memory(batch_size=1) < memory(batch_size=1, bootstrap=100)
    assert memory() < memory(Partition.units(net))
