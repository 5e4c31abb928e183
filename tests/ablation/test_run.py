"""Edge and node ablation against brute force, in float64, over every family and random masks."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch

from compgraph.ablation.baselines import make_baseline
from compgraph.ablation.run import ablate_nodes, run_circuits, run_graph
from compgraph.architectural import architectural_edges
from compgraph.catalogue import BASELINES
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.batches import batch_of
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError, GraphError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.brute import BruteForce, base_units
from tests.connectivity.effective.test_eap import SPLITTABLE, Images, chain, cutting, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


def by_brute_force(net, partition, pairs, mask, baseline, split_qkv=True):
    brute = BruteForce(net, partition, split_qkv)
    with torch.no_grad():
        return brute.run(
            torch.from_numpy(pairs.clean),
            torch.from_numpy(pairs.positions),
            base_units(
                net,
                torch.from_numpy(pairs.clean),
                torch.from_numpy(pairs.corrupted),
                torch.from_numpy(pairs.mask),
                baseline == "zero",
            ),
            torch.from_numpy(mask.astype(float)),
            zero=baseline == "zero",
            padding=torch.from_numpy(pairs.mask),
        )


def random_circuit(net, partition, density, seed, split_qkv=True):
    full = ComputationalGraph.from_architecture(net, partition, split_qkv=split_qkv)
    mask = np.random.default_rng(seed).random(full.n_edges) < density
    return full, mask, full.subgraph(mask)


@pytest.mark.parametrize("variant", SPLITTABLE)
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
@pytest.mark.parametrize("granularity", ["heads", "modules"])
def test_equals_brute_force(variant, baseline, granularity):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(padded=True)
    partition = getattr(Partition, granularity)(net)
    for density in (0.1, 0.5, 0.9):
        _, mask, circuit = random_circuit(net, partition, density, seed=int(100 * density))
        expected = by_brute_force(net, partition, pairs, mask, baseline)
        logits = run_graph(net, circuit, pairs, baseline=baseline)
        np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", ["gpt2", "neox", "llama", "gemma2"])
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_groups_of_heads_and_neurons_and_joined_channels(variant, baseline):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs()
    rng = np.random.default_rng(0)
    labels = {}
    for site in net.architecture.node_sites:
        if site.kind == "attn":
            labels[site.name] = np.repeat(np.arange(site.n_heads) % 2, site.n_units // site.n_heads)
        elif site.kind in ("mlp", "embed"):
            labels[site.name] = np.concatenate([[0, 1, 2], rng.integers(0, 3, site.n_units - 3)])
        else:
            labels[site.name] = np.zeros(site.n_units, int)
    partition = Partition.from_labels(labels)
    for split in (True, False):
        _, mask, circuit = random_circuit(net, partition, 0.4, 3, split)
        expected = by_brute_force(net, partition, pairs, mask, baseline, split)
        logits = run_graph(net, circuit, pairs, baseline=baseline)
        np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
@pytest.mark.parametrize("split", [True, False])
def test_patterns_as_nodes(variant, baseline, split):
    """Parts that cut through heads, against every unit and pattern by itself."""
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    partition = cutting(net, dead=0)
    for density in (0.2, 0.6, 1.0):
        _, mask, circuit = random_circuit(net, partition, density, int(10 * density), split)
        expected = by_brute_force(net, partition, pairs, mask, baseline, split)
        logits = run_graph(net, circuit, pairs, baseline=baseline)
        np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-10)


def test_units_as_nodes_and_dead_units_at_their_baseline():
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=2, t=4)
    full = ComputationalGraph.from_architecture(net, Partition.units(net))
    clean = net.run(torch.from_numpy(pairs.clean), positions=torch.from_numpy(pairs.positions)).logits
    np.testing.assert_allclose(run_graph(net, full, pairs).numpy(), clean.numpy(), rtol=0, atol=1e-10)
    alive = cutting(net)
    dead = ComputationalGraph.from_architecture(net, alive)
    units = {s: np.append(alive.labels[s], 0)[:-1] < 0 for s in alive.sites}
    with torch.no_grad():
        base = net.run(torch.from_numpy(pairs.corrupted), capture=[s for s in units if units[s].any()]).units
        edit = {s: lambda x, b=b, s=s: torch.where(torch.from_numpy(units[s]), b, x) for s, b in base.items()}
        held = net.run(torch.from_numpy(pairs.clean), positions=torch.from_numpy(pairs.positions), edit=edit).logits
    np.testing.assert_allclose(run_graph(net, dead, pairs).numpy(), held.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", SPLITTABLE)
def test_full_graph_is_the_model_and_empty_graph_the_baseline_run(variant):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(padded=True)
    positions, mask = torch.from_numpy(pairs.positions), torch.from_numpy(pairs.mask)
    full, _, _ = random_circuit(net, Partition.heads(net), 1.0, 0)
    empty = full.subgraph(np.zeros(full.n_edges, bool))
    with torch.no_grad():
        clean = net.run(torch.from_numpy(pairs.clean), mask, positions=positions).logits
        corrupted = net.run(torch.from_numpy(pairs.corrupted), mask, positions=positions).logits
    both = run_circuits(net, [full, empty], pairs)
    np.testing.assert_allclose(both[0].numpy(), clean.numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(both[1].numpy(), corrupted.numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(run_graph(net, full, pairs, baseline="zero").numpy(), clean.numpy(), rtol=0, atol=1e-10)


def test_circuits_that_carry_nothing_are_warned_of_once():
    net, pairs = tiny_network("gpt2"), make_pairs(n=4)
    full = ComputationalGraph.from_architecture(net, Partition.heads(net), split_qkv=True)
    empty = full.subgraph(np.zeros(full.n_edges, bool))
    loose = full.subgraph(full.target != full.outputs[0])
    for circuit, why in ((empty, "no edge is kept"), (loose, "no path leads from an input to an output")):
        with pytest.warns(UserWarning, match=f"the circuit: {why}") as found:
            logits = run_graph(net, circuit, pairs)
        assert [one.filename for one in found] == [__file__]
        baseline = net.run(torch.from_numpy(pairs.corrupted), positions=torch.from_numpy(pairs.positions)).logits
        np.testing.assert_allclose(logits, baseline, atol=1e-4)
    with pytest.warns(UserWarning, match=r"circuit 1 \(2 of 3 such\): no edge is kept") as found:
        run_circuits(net, [full, empty, loose], pairs)
    assert [one.filename for one in found] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_circuits(net, [full, full], pairs)


def test_batch_size_and_company_do_not_matter():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=7, padded=True)
    partition = Partition.heads(net)
    circuits = [random_circuit(net, partition, d, k)[2] for k, d in enumerate((0.2, 0.5, 0.8))]
    together = run_circuits(net, circuits, pairs)
    for k, circuit in enumerate(circuits):
        for size in (1, 3):
            alone = run_graph(net, circuit, pairs, batch_size=size)
            np.testing.assert_allclose(alone.numpy(), together[k].numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", ["gpt2", "neox", "llama"])
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_node_ablation_is_the_complete_graph_without_the_node(variant, baseline):
    """Removing nodes from a pass equals cutting their out-edges: they write their baseline, all else computes."""
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs()
    partition = Partition.heads(net)
    full = ComputationalGraph.from_architecture(net, partition)
    rng = np.random.default_rng(5)
    for _ in range(4):
        keep = rng.random(partition.n_nodes) < 0.6
        logits = ablate_nodes(net, partition, [keep], pairs, baseline=baseline)[0]
        cut = full.subgraph(keep[full.source])
        expected = run_graph(net, cut, pairs, baseline=baseline)
        np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-10)


def test_node_ablation_of_a_circuit_keeps_the_nodes_with_an_edge():
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs()
    partition = Partition.heads(net)
    _full, _, circuit = random_circuit(net, partition, 0.02, 2)
    keep = np.zeros(partition.n_nodes, bool)
    keep[np.concatenate([circuit.source, circuit.target])] = True
    assert 0 < keep.sum() < len(keep)
    a = run_graph(net, circuit, pairs, ablation="node")
    b = ablate_nodes(net, partition, [keep], pairs)[0]
    assert torch.equal(a, b)


def chain_by_brute_force(net, partition, pairs, mask, baseline):
    """Explicit dense matrices, one block per edge."""
    source, target, _ = architectural_edges(net, partition)
    edge = {(int(s), int(t)): m for s, t, m in zip(source, target, mask, strict=True)}
    sites = [s.name for s in net.architecture.node_sites]
    with torch.no_grad():
        base = baseline.units(net, batch_of(net, pairs, np.arange(pairs.n)), sites[:-1])
        x = net.input_units(torch.from_numpy(pairs.clean))
        for u, v in itertools.pairwise(sites):
            matrix = net.reader(v).matrix().clone()
            own = net.pre_labels(v, partition.labels[v])
            for i in range(len(own)):
                for j, label in enumerate(partition.labels[u]):
                    keep = own[i] >= 0 and label >= 0
                    keep = (
                        keep and edge[(partition.node_slice(u).start + label, partition.node_slice(v).start + own[i])]
                    )
                    matrix[i, j] *= float(keep)
            pre = net.pre_activations(v, base[u]) + ((x - base[u]) @ matrix.T).reshape(pairs.n, *net.pre_shape(v))
            x = net.units_from(v, pre)
    return x


@pytest.mark.parametrize("granularity", ["modules", "channels", "stripes"])
@pytest.mark.parametrize("baseline", list(BASELINES))
def test_chain_equals_brute_force(granularity, baseline):
    net, pairs = chain(), Images(n=2)
    if granularity == "stripes":  # parts that cut through channels
        labels = {
            s.name: (np.arange(s.n_units) // 2) % 2 if s.kind != "logits" else np.arange(s.n_units)
            for s in net.architecture.node_sites
        }
        partition = Partition.from_labels(labels)
    else:
        partition = getattr(Partition, granularity)(net)
    options = {"steps": 2} if baseline == "optimal" else {}
    made = make_baseline(baseline, net, pairs, partition=partition, options=options)
    for density in (0.0, 0.3, 1.0):
        _, mask, circuit = random_circuit(net, partition, density, 1)
        expected = chain_by_brute_force(net, partition, pairs, mask, made)
        logits = run_graph(net, circuit, pairs, baseline=made)
        np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-12)


def test_refuses_foreign_circuits():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs()
    other = tiny_network("llama", dtype=torch.float64)
    foreign = ComputationalGraph.from_architecture(other, Partition.heads(other))
    with pytest.raises(GraphError, match="units"):
        run_graph(net, foreign, pairs)
    undirected = ComputationalGraph.from_matrix(np.ones((3, 3)))
    with pytest.raises(GraphError, match="directed graph over a partition"):
        run_graph(net, undirected, pairs)
    own = ComputationalGraph.from_architecture(net, Partition.heads(net))
    with pytest.raises(GraphError, match="ablation 'edges'"):
        run_graph(net, own, pairs, ablation="edges")
    alone = PromptPairs(pairs.clean, None, pairs.answers, pairs.distractors)
    with pytest.raises(DataError, match="counterfactual"):
        run_graph(net, own, alone)
    strange = PromptPairs(pairs.clean + 10**4, pairs.corrupted, pairs.answers, pairs.distractors)
    with pytest.raises(DataError, match=r"clean holds 100\d+; this network's ids are 0 to"):
        run_graph(net, own, strange)
    with pytest.raises(GraphError, match="circuits is empty"):
        run_circuits(net, [], pairs)


def test_refuses_circuits_of_another_model(monkeypatch):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs()
    monkeypatch.setattr(net, "digest", "sha256:one")
    graph = effective_connectivity(net, pairs, Partition.heads(net), "eap")
    run_circuits(net, [graph, graph.top(3)], pairs)
    monkeypatch.setattr(net, "digest", "sha256:two")
    with pytest.raises(GraphError, match="made for the model sha256:one, and this is sha256:two"):
        run_graph(net, graph.top(3), pairs)
    with pytest.raises(GraphError, match="made for the model sha256:one"):
        run_circuits(net, [ComputationalGraph.from_architecture(net, Partition.heads(net)), graph], pairs)


@pytest.mark.parametrize("variant", ["gpt2", "neox"])
def test_a_kept_mlp_with_dead_units_keeps_its_bias_under_zero(variant):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs()
    labels = {site.name: np.zeros(site.n_units, int) for site in net.architecture.node_sites}
    labels["mlp.0"][:3] = -1
    partition = Partition.from_labels(labels)
    full = ComputationalGraph.from_architecture(net, partition)
    nodes = ablate_nodes(net, partition, [np.ones(partition.n_nodes, bool)], pairs, baseline="zero")[0]
    np.testing.assert_allclose(nodes.numpy(), run_graph(net, full, pairs, baseline="zero").numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("baseline", ["counterfactual", "zero", "mean"])
@pytest.mark.parametrize("variant", ["gpt2", "neox", "llama"])
def test_node_ablation_where_patterns_are_nodes(variant, baseline):
    """Every node in turn, patterns too: as the complete graph without its out-edges."""
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=3, t=5, padded=True)
    full = ComputationalGraph.from_architecture(net, cutting(net, dead=0))
    assert any(name.endswith("/pattern") for name in full.nodes["name"])
    for node in range(full.n_nodes):
        if node in full.outputs:
            continue
        alone = full.subgraph((full.source != node) & (full.target != node))
        cut = full.subgraph(full.source != node)
        found = run_graph(net, alone, pairs, ablation="node", baseline=baseline)
        expected = run_graph(net, cut, pairs, baseline=baseline)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-9, err_msg=full.nodes["name"][node])


@pytest.mark.parametrize("baseline", list(BASELINES))
@pytest.mark.parametrize("variant", [*ONE_PER_FAMILY, "chain"])
def test_directions_and_complements_of_node_ablation_are_explicit_passes(variant, baseline):
    """Which nodes hold their baseline value, in a pass whose units are replaced site by site."""
    if variant == "chain":
        net, pairs, partition = chain(), Images(n=3), Partition.channels(chain())
    else:
        net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=3, t=5, padded=True)
        partition = Partition.heads(net)
    full = ComputationalGraph.from_architecture(net, partition)
    mask = np.isin(np.arange(full.n_edges), np.random.default_rng(4).choice(full.n_edges, 3, replace=False))
    circuit = full.subgraph(mask)
    inside = np.zeros(partition.n_nodes, bool)
    inside[full.source[mask]] = inside[full.target[mask]] = True
    outside = ~inside
    outside[full.inputs] = outside[full.outputs] = True
    assert not inside.all() and not outside.all()
    batch = batch_of(net, pairs, np.arange(3))
    sites = [site.name for site in net.architecture.node_sites[:-1]]
    options = {"steps": 2} if baseline == "optimal" else {}
    made = make_baseline(baseline, net, pairs, partition=partition, options=options)
    base = made.units(net, batch, sites)

    def explicit(keep):
        edit = {}
        for site in sites:
            kept = torch.from_numpy(keep[partition.node_index(site)])
            edit[site] = lambda units, site=site, kept=kept: torch.where(kept, units, base[site])
            if baseline == "zero" and site.startswith("mlp") and not kept.any():
                edit[f"{site}/write"] = torch.zeros_like
        return net.run(batch.clean, batch.mask, positions=batch.positions, edit=edit).logits

    for direction in ("denoise", "noise"):
        for complement in (False, True):
            options = {"ablation": "node", "direction": direction, "complement": complement}
            found = run_graph(net, circuit, pairs, baseline=made, **options)
            expected = explicit(outside if (direction == "noise") != complement else inside)
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-10)
