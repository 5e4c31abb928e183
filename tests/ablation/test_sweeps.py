"""Many circuits at once, frozen norms, noising and complements."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from compgraph.ablation import sweeps
from compgraph.ablation.circuits import CircuitMasks
from compgraph.ablation.run import run_circuits, run_graph, run_masks
from compgraph.ablation.stream_runner import StreamRunner
from compgraph.data.prompts import PromptPairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.models.tape import Tape
from compgraph.partition import Partition
from tests.ablation.test_run import random_circuit
from tests.brute import BruteForce, base_units
from tests.connectivity.effective.test_eap import Images, chain, cutting, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

FAMILIES = [v for v in ONE_PER_FAMILY if v != "mistral"]  # llama's block


def run_one(net, partition, pairs, mask, **options):
    full = ComputationalGraph.from_architecture(net, partition)
    return run_graph(net, full.subgraph(mask), pairs, **options).numpy()


@pytest.mark.parametrize("variant", FAMILIES)
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_circuits_do_not_feel_each_other(variant, baseline):
    """Nested circuits, circuits that differ in one edge, an equal pair: each as if it ran alone."""
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(padded=True)
    for partition in (Partition.heads(net), Partition.modules(net), cutting(net)):
        full = ComputationalGraph.from_architecture(net, partition)
        rank = np.random.default_rng(1).permutation(full.n_edges)
        masks = [rank < share * full.n_edges for share in (0, 0.1, 0.3, 0.6, 1)]
        for edge in np.flatnonzero(masks[3])[::9]:
            masks.append(masks[3] & (np.arange(full.n_edges) != edge))
        masks.append(masks[2].copy())
        together = run_circuits(net, [full.subgraph(mask) for mask in masks], pairs, baseline=baseline).numpy()
        for mask, got in zip(masks, together, strict=True):
            alone = run_one(net, partition, pairs, mask, baseline=baseline)
            np.testing.assert_allclose(got, alone, rtol=0, atol=1e-10)


def test_what_circuits_share_is_planned_once():
    net = tiny_network("gpt2")
    partition = Partition.heads(net)
    frame = CircuitMasks(net, partition, True)
    runner = StreamRunner(net, partition)
    whole = np.ones(frame.n_edges, bool)
    one_less = whole.copy()
    one_less[-1] = False  # the last edge into the logits: nothing but what they read differs

    def slots(*masks):
        return runner.prepare([frame.kept(mask) for mask in masks], True).n_slots

    assert slots(whole, one_less, whole) == slots(whole) == partition.n_nodes - 1
    dead_end = whole & (frame.full.target != partition.n_nodes - 1)  # no edge into the logits: nothing to compute
    assert slots(dead_end) == len(partition.names["embed"])


def test_groups_of_circuits_and_batches_bound_memory_and_change_nothing(monkeypatch):
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=5, padded=True)
    frame = CircuitMasks(net, Partition.heads(net), True)
    masks = np.random.default_rng(0).random((7, frame.n_edges)) < 0.5
    expected = torch.cat([logits for _, logits in run_masks(net, frame, masks, pairs)], 1)
    monkeypatch.setattr(sweeps, "memory_for", lambda net, pairs: 2**16)
    parts = list(run_masks(net, frame, masks, pairs))
    assert len(parts) > 1
    np.testing.assert_allclose(torch.cat([x for _, x in parts], 1).numpy(), expected.numpy(), rtol=0, atol=1e-12)


class FrozenNorms:
    """A network for `BruteForce` whose norms divide by given scales; a norm is known by its weights."""

    def __init__(self, net, scales):
        self.net = net
        blocks = net.weights.blocks
        self.scales = {id(net.weights.final_norm): scales["logits"]}
        for layer, block in enumerate(blocks):
            self.scales |= {id(block.attn_norm): scales[f"attn.{layer}"], id(block.mlp_norm): scales[f"mlp.{layer}"]}

    def __getattr__(self, name):
        return getattr(self.net, name)

    def normalise(self, x, **options):
        return (x - x.mean(-1, keepdim=True) if self.net.spec.norm == "layer" else x), None

    def gain(self, x, weights):
        return self.net.gain(x * self.scales[id(weights)], weights)

    def read_logits(self, x):
        y = self.gain(self.normalise(x)[0], self.net.weights.final_norm)
        return SimpleNamespace(pre={"": y @ self.net.weights.unembedding.T})


@pytest.mark.parametrize("variant", [v for v in FAMILIES if v != "gemma2"])  # brute force recomputes post-norms
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_frozen_norms_equal_brute_force(variant, baseline):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    clean, corrupted, positions, padding = (
        torch.from_numpy(x) for x in (pairs.clean, pairs.corrupted, pairs.positions, pairs.mask)
    )
    tape = Tape()
    with torch.no_grad():
        net.run(clean, padding, positions=positions, tape=tape)
    scales = {site: reading.inverse_scale.detach() for site, reading in tape.readings.items()}
    base = base_units(net, clean, corrupted, padding, baseline == "zero")
    for partition in (Partition.heads(net), cutting(net, dead=0), Partition.units(net)):
        _, mask, circuit = random_circuit(net, partition, 0.3, 3)
        with torch.no_grad():
            brute = BruteForce(FrozenNorms(net, scales), partition, True)
            weights = torch.from_numpy(mask.astype(float))
            expected = brute.run(clean, positions, base, weights, zero=baseline == "zero", padding=padding)
        logits = run_graph(net, circuit, pairs, baseline=baseline, norm_scale="frozen")
        np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-10)
        exact = run_graph(net, circuit, pairs, baseline=baseline)
        assert float((exact - logits).abs().max()) > 1e-3


@pytest.mark.parametrize("variant", FAMILIES)
def test_whole_graph_is_the_model_under_frozen_norms_and_the_runners_agree(variant, monkeypatch):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(padded=True)
    positions, mask = torch.from_numpy(pairs.positions), torch.from_numpy(pairs.mask)
    clean = net.run(torch.from_numpy(pairs.clean), mask, positions=positions).logits
    for partition in (Partition.heads(net), cutting(net, dead=0)):
        for baseline in ("counterfactual", "zero"):
            full, _, circuit = random_circuit(net, partition, 0.4, 2)
            options = {"baseline": baseline, "norm_scale": "frozen"}
            whole = run_graph(net, full, pairs, **options)
            np.testing.assert_allclose(whole.numpy(), clean.numpy(), rtol=0, atol=1e-10)
            one = run_graph(net, circuit, pairs, **options)
            with monkeypatch.context() as patch:
                patch.setattr(sweeps, "between_units", lambda partition: True)
                other = run_graph(net, circuit, pairs, **options)
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("ablation", ["edge", "node"])
def test_noising_is_denoising_the_complement(ablation):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs()
    partition = Partition.heads(net)
    full, mask, circuit = random_circuit(net, partition, 0.02 if ablation == "node" else 0.4, 4)
    options = {"ablation": ablation}
    plain = run_graph(net, circuit, pairs, **options)
    noised = run_graph(net, circuit, pairs, direction="noise", **options)
    assert torch.equal(noised, run_graph(net, circuit, pairs, complement=True, **options))
    assert torch.equal(plain, run_graph(net, circuit, pairs, direction="noise", complement=True, **options))
    assert float((plain - noised).abs().max()) > 1e-3
    if ablation == "edge":
        assert torch.equal(noised, run_graph(net, full.subgraph(~mask), pairs))
        # Noising every edge is the corrupted run, noising none the clean one.
        for chosen, tokens in ((full, pairs.corrupted), (full.subgraph(np.zeros(full.n_edges, bool)), pairs.clean)):
            run = net.run(torch.from_numpy(tokens), positions=torch.from_numpy(pairs.positions)).logits
            got = run_graph(net, chosen, pairs, direction="noise")
            np.testing.assert_allclose(got.numpy(), run.numpy(), rtol=0, atol=1e-10)


def test_noised_chain_keeps_the_other_edges():
    net, pairs = chain(), Images(n=2)
    partition = Partition.channels(net)
    full, mask, circuit = random_circuit(net, partition, 0.5, 1)
    noised = run_graph(net, circuit, pairs, direction="noise")
    assert torch.equal(noised, run_graph(net, full.subgraph(~mask), pairs))


def test_scored_positions_before_the_end():
    """The last sites are computed at scored positions alone, wherever these are."""
    net, drawn = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=4, t=6)
    positions = np.array([5, 2, 0, 3])
    pairs = PromptPairs(drawn.clean, drawn.corrupted, drawn.answers, drawn.distractors, positions)
    for partition in (Partition.heads(net), Partition.units(net)):
        full = ComputationalGraph.from_architecture(net, partition)
        expected = net.run(torch.from_numpy(pairs.clean), positions=torch.from_numpy(positions)).logits
        np.testing.assert_allclose(run_graph(net, full, pairs).numpy(), expected.numpy(), rtol=0, atol=1e-10)
        _, _, circuit = random_circuit(net, partition, 0.5, 0)
        alone = [run_graph(net, circuit, pairs, batch_size=1), run_graph(net, circuit, pairs)]
        np.testing.assert_allclose(alone[0].numpy(), alone[1].numpy(), rtol=0, atol=1e-10)


def test_refuses_unknown_options():
    net, pairs = tiny_network("gpt2"), make_pairs()
    graph = ComputationalGraph.from_architecture(net, Partition.heads(net))
    with pytest.raises(GraphError, match="norm_scale 'fixed' is not known; valid are exact, frozen"):
        run_graph(net, graph, pairs, norm_scale="fixed")
    with pytest.raises(GraphError, match="direction 'noising' is not known; valid are denoise, noise"):
        run_graph(net, graph, pairs, direction="noising")
    with pytest.raises(GraphError, match="norm_scale 'frozen' is for edge ablation"):
        run_graph(net, graph, pairs, ablation="node", norm_scale="frozen")
    images = chain()
    with pytest.raises(GraphError, match="a chain has no norms"):
        run_graph(
            images,
            ComputationalGraph.from_architecture(images, Partition.modules(images)),
            Images(n=2),
            norm_scale="frozen",
        )


def test_versions_are_made_where_they_are_read():
    """At the scored positions unless a key or value reads more, in any of the circuits; and added up or taken away."""
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=3, t=5)
    full = ComputationalGraph.from_architecture(net, Partition.heads(net))
    names = full.nodes["name"]
    path = {("embed", "mlp.0"), ("mlp.0", "logits"), ("mlp.0", "mlp.1"), ("mlp.1", "logits")}
    ends = list(zip(names[full.source], names[full.target], strict=True))
    late = np.array([end in path for end in ends])
    key = np.array([full.channels[c] == "k" for c in full.channel])
    read = key & np.array([end == ("mlp.0", "attn.1/head.0") for end in ends])
    out = np.array([end == ("attn.1/head.0", "logits") for end in ends])
    assert read.sum() == out.sum() == 1
    frame = CircuitMasks(net, Partition.heads(net), True)
    runner = StreamRunner(net, frame.partition)

    def made(*masks):
        plan = runner.prepare([frame.kept(mask) for mask in masks], True)
        return plan, [(site.shape.name, site.shape.narrow) for site in plan.sites]

    assert made(late)[1] == [("mlp.0", True), ("mlp.1", True)]
    assert made(late | read | out)[1] == [("mlp.0", False), ("attn.1", True), ("mlp.1", True)]
    assert made(late, late | read | out)[1] == [("mlp.0", False), ("attn.1", True), ("mlp.1", True)]
    assert made(np.ones(full.n_edges, bool))[0].n_totals == 1
    together = run_circuits(net, [full.subgraph(m) for m in (late, late | read | out)], pairs)
    for logits, mask in zip(together, (late, late | read | out), strict=True):
        np.testing.assert_allclose(logits, run_graph(net, full.subgraph(mask), pairs), rtol=0, atol=1e-12)
