"""node-ig against autograd, node by node and edge by edge, in float64, and its sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.architectural import architectural_edges
from compgraph.connectivity.effective import effective_connectivity, products
from compgraph.errors import DataError
from compgraph.evaluation.ground_truth import recover_known
from compgraph.metrics import Targets, get_metric
from compgraph.models.compiled import compile_case
from compgraph.partition import Partition
from tests.connectivity.effective.feature_brute import explicit_units
from tests.connectivity.effective.references import Case
from tests.connectivity.effective.test_eap import Images, chain, cutting, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

STEPS, EDGE_STEPS = 3, 2


class NodeCase(Case):
    """Sensitivities from whole forward passes, edges one at a time."""

    def node_parts(self):
        """(node, site, units of the node as a mask) of every source node; patterns are a head's."""
        for site in self.brute.partition.sites:
            nodes = self.brute.partition.node_slice(site)
            for k in range(nodes.stop - nodes.start):
                if site != "logits":
                    yield nodes.start + k, site, torch.from_numpy(np.asarray(self.brute.partition.labels[site]) == k)

    def live(self, site, moved):
        labels = torch.tensor(np.asarray(self.brute.partition.labels[site]))
        return moved if site.endswith(".pattern") else moved * (labels >= 0)

    def sensitivity(self, b, site, steps):
        """Mean gradient at a site's units, and (a whole MLP under zero) at its write."""
        clean, base = self.units[site][b : b + 1], self.base[site][b : b + 1]
        moved = self.live(site, base - clean)
        bias = None
        if self.zero and site.startswith("mlp") and self.partition.n_parts(site) == 1:
            bias = self.net.decoder(site)[1]
        total, total_bias = 0, 0
        for k in range(steps):
            x = (clean + k / steps * moved).requires_grad_()
            push = torch.zeros(1, self.clean.shape[1], self.net.spec.d_model, dtype=self.net.dtype, requires_grad=True)
            edit = {site: lambda _, x=x: x}
            if bias is not None:
                edit[f"{site}/write"] = lambda w, k=k, push=push: w - k / steps * bias + push
            logits = self.net.run(
                self.clean[b : b + 1], self.padding[b : b + 1], positions=self.positions[b : b + 1], edit=edit
            ).logits
            wanted = [x] if bias is None else [x, push]
            found = torch.autograd.grad(self.metric(logits, b), wanted)
            total = total + found[0] / steps
            total_bias = total_bias + (0 if bias is None else -(found[1] @ bias) / steps)
        return total, moved, total_bias

    def activation(self, b, site, reads, share, h, change, metric_at):
        """Sum of a site's units, by the weights h, from a stream for every (node, channel)."""
        net = self.net
        layer = int(site.split(".")[1]) if "." in site else -1
        block = net.weights.blocks[layer]
        partition = self.brute.partition
        if site == "logits":
            node = partition.node_slice(site).start
            row = reads(node, "")[0, self.positions[b]][None]
            return metric_at(net.logits(net.read_logits(row).pre[""]))
        if site.startswith("mlp"):
            total = 0
            nodes = partition.node_slice(site)
            for node in range(nodes.start, nodes.stop):
                units = self.explicit(site, net.mlp_units(layer, net.read_mlp(layer, reads(node, "")).pre))
                total = total + (units * h[site] * torch.from_numpy(partition.labels[site] == node - nodes.start)).sum()
            return total
        fine = f"{site}.pattern" in partition.labels
        context = net.context(self.clean[b : b + 1], self.padding[b : b + 1])

        def pre(node, head, channel, width=slice(None)):
            y = net.gain(net.normalise(reads(node, channel))[0], block.attn_norm)
            w = {"q": block.w_q, "k": block.w_k, "v": block.w_v}[channel]
            return (y @ w[head * len(w) // net.spec.n_heads])[..., width]

        labels = torch.tensor(np.asarray(partition.labels[site]))
        first = partition.node_slice(f"{site}.pattern" if fine else site).start
        heads = range(net.spec.n_heads)
        whole = partition.n_parts(site) == 1
        owner = [first + (0 if whole else head) if not fine else first + head for head in heads]
        q, k = (torch.stack([pre(owner[i], i, c) for i in heads], -2) for c in ("q", "k"))
        if not fine:
            v = torch.stack([pre(owner[i], i, "v") for i in heads], -2)
            return (self.explicit(site, net.attend(layer, {"q": q, "k": k, "v": v}, context)) * h[site]).sum()
        q, k, _ = net.rotated(layer, {"q": q, "k": k, "v": k}, context)
        total = (net.pattern(layer, q, k, context) * h[f"{site}.pattern"]).sum()
        start = partition.node_slice(site).start
        for part in range(partition.n_parts(site)):
            v = net.values(layer, torch.stack([pre(start + part, i, "v") for i in heads], -2))
            by_head = []
            for i in heads:
                held = self.units[f"{site}.pattern"][b : b + 1, i] + share * change[first + i][None].reshape(
                    1, *self.units[f"{site}.pattern"].shape[2:]
                )
                held = held + reads.pattern(start + part, first + i)
                by_head.append(torch.einsum("bqk,bke->bqe", held, v[:, :, i]))
            units = self.explicit(site, torch.cat(by_head, -1))
            total = total + (units * h[site] * (labels == part)).sum()
        return total

    def explicit(self, site, hidden):
        """Units of a site from what it computes."""
        return explicit_units(self.net, site, hidden) if self.net.architecture.site(site).n_features else hidden


def stream(case, b, site):
    """What a site reads in the clean run, [1, t, d], dead units' writes included."""
    net, units = case.net, case.at(case.units, b)
    x = net.add_positions(units["embed"], net.context(case.clean[b : b + 1], case.padding[b : b + 1]))
    before = x
    for name in net.steps:
        if name == site:
            return before if site.startswith("mlp") and net.spec.parallel else x
        before = x if name.startswith("attn") else before
        x = x + net.write(name, units[name])
    return x


class Nudged:
    """The stream that a node reads by a channel: clean + share · (all changes) + eps of each edge · its change."""

    def __init__(self, case, b, site, share, change, eps):
        self.case, self.share, self.change, self.eps = case, share, change, eps
        self.base = stream(case, b, site)
        self.into = {}
        for (target, channel, source), edge in case.brute.edge.items():
            self.into.setdefault((target, channel if case.split else ""), []).append((source, edge))

    def __call__(self, node, channel):
        x = self.base
        for source, edge in self.into[node, channel if self.case.split else ""]:
            if self.change[source].dim() == 3 and self.change[source].shape[-1] == x.shape[-1]:
                x = x + (self.share + self.eps[edge]) * self.change[source]
        return x

    def pattern(self, node, source):
        edge = self.case.brute.edge.get((node, "", source))
        return 0 if edge is None else self.eps[edge] * self.change[source].reshape(1, *self.change[source].shape[-2:])


def by_hand(case, steps, edge_steps, threshold=0.0):
    """Scores [examples, edges] and effects [examples, nodes but logits]."""
    partition = case.brute.partition
    rows, all_effects = [], []
    for b in range(case.pairs.n):
        change = case.change(case.at(case.units, b), case.at(case.base, b))
        h, effects = {}, {}
        for site in partition.sites:
            if site == "logits":
                continue
            gradient, moved, at_bias = case.sensitivity(b, site, steps)
            if site.endswith(".pattern"):
                per_position = (gradient * moved).sum(-1)
                first = partition.node_slice(site).start
                change |= {first + i: moved[0, i] for i in range(moved.shape[1])}
                effects |= {first + i: per_position[:, i].sum() for i in range(moved.shape[1])}
                h[site] = gradient * (per_position.abs() >= threshold)[..., None]
                continue
            h[site] = torch.zeros_like(gradient)
            for node, _, mask in [n for n in case.node_parts() if n[1] == site]:
                per_position = (gradient * moved * mask).sum(-1) + at_bias
                effects[node] = per_position.sum()
                h[site] += gradient * mask * (per_position.abs() >= threshold)[..., None]
        scores = torch.zeros(len(case.brute.edge), dtype=case.net.dtype)
        for j in range(edge_steps):
            share = j / edge_steps
            for site in [s for s in partition.sites if s != "embed" and not s.endswith(".pattern")]:
                eps = torch.zeros(len(case.brute.edge), dtype=case.net.dtype, requires_grad=True)
                reads = Nudged(case, b, site, share, change, eps)
                value = case.activation(b, site, reads, share, h, change, lambda x, b=b: case.metric(x, b))
                scores += torch.autograd.grad(value, eps)[0] / edge_steps
        rows.append(scores)
        all_effects.append(torch.stack([effects[k].detach() for k in sorted(effects)]))
    return torch.stack(rows), torch.stack(all_effects)


def compare(case, **options):
    expected, effects = by_hand(case, STEPS, EDGE_STEPS, options.get("node_threshold", 0.0))
    graph = effective_connectivity(
        case.net,
        case.pairs,
        case.partition,
        "node-ig",
        baseline="zero" if case.zero else "counterfactual",
        split_qkv=case.split,
        steps=STEPS,
        edge_steps=EDGE_STEPS,
        **options,
    )
    atol = 1e-10 * float(expected.abs().max())
    assert atol > 1e-14
    np.testing.assert_allclose(graph.weight, expected.mean(0).numpy(), rtol=0, atol=atol)
    found = graph.node_columns["effect"]
    assert len(found) == graph.n_nodes
    np.testing.assert_allclose(found[:-1], effects.mean(0).numpy(), rtol=0, atol=1e-10 * float(effects.abs().max()))
    return graph


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero", [False, True])
def test_heads_equal_autograd(variant, zero):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    compare(NodeCase(net, Partition.heads(net), pairs, zero=zero, split_qkv=not zero))


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize("split", [True, False])
def test_parts_that_cut_through_heads_equal_autograd(variant, split):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    case = NodeCase(net, cutting(net), pairs, split_qkv=split, zero=split)
    graph = compare(case)
    assert any(name.endswith("pattern") for name in graph.node_names)
    cut = compare(case, node_threshold=0.2 * float(np.abs(graph.node_columns["effect"][:-1]).max()))
    assert (cut.weight == 0).sum() > (graph.weight == 0).sum()


def test_many_nodes_carried_as_units(monkeypatch):
    net, pairs = tiny_network("gemma2", dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    plain = effective_connectivity(net, pairs, cutting(net), "node-ig", steps=2, edge_steps=2)
    monkeypatch.setattr(products, "FEW", 2)
    many = effective_connectivity(net, pairs, cutting(net), "node-ig", steps=2, edge_steps=2)
    assert "stderr" not in many.columns
    np.testing.assert_allclose(many.weight, plain.weight, rtol=0, atol=1e-11 * np.abs(plain.weight).max())
    np.testing.assert_allclose(many.node_columns["effect"], plain.node_columns["effect"], atol=1e-12)


def test_one_token():
    """Attention to itself alone: no score into queries and keys."""
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=3, t=1)
    graph = compare(NodeCase(net, Partition.modules(net), pairs))
    asking = np.isin(graph.channel, [graph.channels.index("q"), graph.channels.index("k")])
    np.testing.assert_allclose(graph.weight[asking], 0, atol=1e-14)
    assert np.abs(graph.weight[~asking]).min() > 0


def test_threshold_equals_autograd_and_silences_nodes():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=4)
    partition = Partition.heads(net)
    case = NodeCase(net, partition, pairs)
    _, effects = by_hand(case, STEPS, 1)
    some = compare(case, node_threshold=0.3 * float(effects.abs().max()))
    plain = compare(case)
    assert (some.weight == 0).sum() > (plain.weight == 0).sum()
    into_logits = some.target == some.n_nodes - 1
    np.testing.assert_array_equal(some.weight[into_logits], plain.weight[into_logits])


def metric_of(net, pairs, which, **edit):
    positions = None if pairs.positions is None else torch.from_numpy(pairs.positions)
    mask = None if pairs.mask is None else torch.from_numpy(pairs.mask)
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    with torch.no_grad():
        logits = net.run(torch.from_numpy(which), mask, positions=positions, **edit).logits
    return float(get_metric("logit_difference")(logits, targets).mean())


@pytest.mark.parametrize("variant", ["gpt2", "neox", "gemma2"])
def test_effects_of_a_site_sum_to_the_effect_of_its_ablation(variant):
    """Completeness over nodes; the error of the left Riemann sum falls like 1 / steps."""
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=3, t=4)
    partition = Partition.heads(net)
    clean = metric_of(net, pairs, pairs.clean)
    sites = [s for s in partition.sites if s != "logits"]
    base = net.run(torch.from_numpy(pairs.corrupted), capture=sites).units
    exact = np.array([metric_of(net, pairs, pairs.clean, edit={s: lambda _, s=s: base[s]}) - clean for s in sites])
    errors = []
    for steps in (32, 64):
        effects = np.array(effective_connectivity(net, pairs, partition, "node-ig", steps=steps).node_columns["effect"])
        sums = np.array([effects[partition.node_slice(s)].sum() for s in sites])
        errors.append(np.abs(sums - exact).max())
    assert errors[1] < 0.05 * np.abs(exact).max()
    assert 1.6 < errors[0] / errors[1] < 2.5


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gemma2"])
def test_edges_into_a_node_sum_to_its_effect(variant):
    """Completeness over edges: under the counterfactual baseline the baseline stream makes the baseline units."""
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4)
    partition = Partition.heads(net)
    errors = []
    for steps in (64, 128):
        graph = effective_connectivity(net, pairs, partition, "node-ig", steps=2, edge_steps=steps)
        into = np.bincount(graph.target, graph.weight, graph.n_nodes)
        effects = np.array(graph.node_columns["effect"])
        errors.append(np.abs(into - effects)[1:].max())
    assert errors[1] < 0.05 * np.abs(effects).max()
    assert 1.6 < errors[0] / errors[1] < 2.5
    change = metric_of(net, pairs, pairs.corrupted) - metric_of(net, pairs, pairs.clean)
    assert effects[-1] == pytest.approx(change, abs=1e-10)


def test_chain_equals_autograd():
    net, pairs = chain(), Images(n=2)
    partition = Partition.channels(net)
    sites = [s.name for s in net.architecture.node_sites]
    source, target, _ = architectural_edges(net, partition)
    clean, base = (net.run(torch.from_numpy(x), capture=sites).units for x in (pairs.clean, pairs.corrupted))
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    h, effects = {}, []
    for site in sites[:-1]:
        total = 0
        for k in range(STEPS):
            x = (clean[site] + k / STEPS * (base[site] - clean[site])).detach().requires_grad_()
            logits = net.run(torch.from_numpy(pairs.clean), edit={site: lambda _, x=x: x}).logits
            total = total + torch.autograd.grad(get_metric("logit_difference")(logits, targets).sum(), x)[0] / STEPS
        h[site] = total
        for part in range(partition.n_parts(site)):
            mask = torch.from_numpy(partition.labels[site] == part)
            effects.append(float((total * (base[site] - clean[site]) * mask).sum(1).mean()))
    expected = np.zeros(len(source))
    for e, (s, t) in enumerate(zip(source, target, strict=True)):
        u = next(i for i, name in enumerate(sites) if s < partition.node_slice(name).stop)
        moved = (base[sites[u]] - clean[sites[u]]) * torch.from_numpy(
            partition.labels[sites[u]] == s - partition.node_slice(sites[u]).start
        )
        v = sites[u + 1]
        for j in range(EDGE_STEPS):
            eps = torch.zeros((), dtype=torch.float64, requires_grad=True)
            x = clean[sites[u]] + j / EDGE_STEPS * (base[sites[u]] - clean[sites[u]]) + eps * moved
            units = net.units_from(v, net.pre_activations(v, x))
            own = torch.from_numpy(partition.labels[v] == t - partition.node_slice(v).start)
            if v == "logits":
                value = get_metric("logit_difference")(torch.where(own, units, units.detach()), targets).sum()
            else:
                value = (units * h[v] * own).sum()
            expected[e] += float(torch.autograd.grad(value, eps)[0]) / EDGE_STEPS / pairs.n
    graph = effective_connectivity(net, pairs, partition, "node-ig", steps=STEPS, edge_steps=EDGE_STEPS)
    np.testing.assert_allclose(graph.weight, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    found = graph.node_columns["effect"]
    np.testing.assert_allclose(found[: len(effects)], effects, atol=1e-12)
    change = metric_of(net, pairs, pairs.corrupted) - metric_of(net, pairs, pairs.clean)
    assert sum(found[len(effects) :]) == pytest.approx(change)


def test_chain_completeness():
    net, pairs = chain(), Images()
    partition = Partition.channels(net)
    graph = effective_connectivity(net, pairs, partition, "node-ig", steps=200, edge_steps=200)
    change = metric_of(net, pairs, pairs.corrupted) - metric_of(net, pairs, pairs.clean)
    effects = np.array(graph.node_columns["effect"])
    for site in partition.sites:
        assert effects[partition.node_slice(site)].sum() == pytest.approx(change, abs=0.02 * np.abs(effects).sum())
    into = np.bincount(graph.target, graph.weight, graph.n_nodes)
    np.testing.assert_allclose(into[1:], effects[1:], atol=0.02 * np.abs(effects).max())


def test_batches_and_modules():
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=5, padded=True)
    whole = effective_connectivity(net, pairs, Partition.heads(net), "node-ig", steps=2, edge_steps=2)
    parts = effective_connectivity(net, pairs, Partition.heads(net), "node-ig", steps=2, edge_steps=2, batch_size=2)
    np.testing.assert_allclose(parts.weight, whole.weight, atol=1e-12)
    np.testing.assert_allclose(parts.node_columns["effect"], whole.node_columns["effect"], atol=1e-12)
    modules = effective_connectivity(net, pairs, Partition.modules(net), "node-ig", steps=2, edge_steps=2)
    site = {name: k for k, name in enumerate(modules.node_names)}
    of = np.array([site[name] for name in whole.node_columns["site"]])
    sums = np.zeros((modules.n_nodes, modules.n_nodes, 4))
    np.add.at(sums, (of[whole.source], of[whole.target], whole.channel), whole.weight)
    np.testing.assert_allclose(modules.weight, sums[modules.source, modules.target, modules.channel], atol=1e-12)


def test_refuses():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=4)
    partition = Partition.heads(net)
    for options, message in (
        ({"steps": 0}, "steps is 0"),
        ({"edge_steps": 0}, "edge_steps is 0"),
        ({"node_threshold": -1.0}, "node_threshold is -1"),
        ({"metric": "kl"}, "edge_steps: 1"),
    ):
        with pytest.raises(DataError, match=message):
            effective_connectivity(net, pairs, partition, "node-ig", **options)
    graph = effective_connectivity(net, pairs, partition, "node-ig", metric="kl", edge_steps=2)
    assert np.abs(graph.weight).max() > 0


def test_finds_the_true_edges_of_compiled_networks():
    """Hard attention is flat in the clean run (eap: AUROC 0.625): with points along both paths all edges are found."""
    cases = [compile_case("frac-prevs"), compile_case("two-branch")]
    found = recover_known(["eap", "node-ig"], cases, n=32, options={"node-ig": {"edge_steps": 5}}).areas
    assert (found.auroc[found.method == "node-ig"] == 1).all()
    assert (found.auroc[found.method == "eap"] < 1).all()


def test_effects_are_saved_with_the_graph(tmp_path):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=4)
    graph = effective_connectivity(net, pairs, Partition.heads(net), "node-ig", steps=2)
    graph.save(tmp_path / "graph.json")
    again = type(graph).load(tmp_path / "graph.json")
    np.testing.assert_array_equal(again.node_columns["effect"], graph.node_columns["effect"])
    assert again.attributes["steps"] == 2
