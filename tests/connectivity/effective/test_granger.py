"""Node signals, and causality between nodes of networks from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from compgraph.connectivity.effective import effective_connectivity
from compgraph.connectivity.effective.granger import granger_over_training
from compgraph.connectivity.effective.influence import readers_of
from compgraph.connectivity.effective.time_series import NodeSignals, signals_over_training
from compgraph.data.prompts import PromptPairs
from compgraph.dictionaries import attach
from compgraph.errors import DataError, GraphError, ModelError
from compgraph.partition import Partition
from tests.connectivity.effective.feature_brute import with_features
from tests.connectivity.effective.test_eap import Images, chain, make_pairs
from tests.connectivity.effective.test_vector_autoregression import dummies, rows
from tests.models.tiny import ONE_PER_FAMILY, VOCABULARY, tiny_network


def data(n=60, t=10, seed=0, padded=True):
    """Prompts of several lengths, padded on either side."""
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, VOCABULARY, (n, t))
    mask = np.ones((n, t), bool)
    if padded:
        mask[::3, :2] = False
        mask[1::3, -2:] = False
    answers = rng.permuted(np.tile(np.arange(VOCABULARY), (n, 1)), axis=1)
    return PromptPairs(clean, None, answers[:, :2], answers[:, 2:3], mask=mask)


def grouped(net):
    """Heads; MLPs in two parts of unequal size, one with dead units; all biases as they come."""
    labels = {}
    for site in net.architecture.node_sites:
        labels[site.name] = np.zeros(site.n_units, int)
        if site.kind == "attn":
            labels[site.name] = np.arange(site.n_units) * site.n_heads // site.n_units
        elif site.name == "mlp.1":
            labels[site.name][: site.n_units // 3] = 1
            labels[site.name][-2:] = -1
    return Partition.from_labels(labels)


def series_by_hand(net, pairs, partition, i, signal, readout):
    """[time, nodes] of one example."""
    mask = torch.from_numpy(pairs.mask[i])
    tokens = torch.from_numpy(pairs.clean[i])[mask][None]
    sites = [s for s in partition.sites if s != "logits"]
    run = net.run(tokens, capture=sites)
    columns = []
    for site in sites:
        for k in range(partition.n_parts(site)):
            own = torch.tensor(partition.labels[site] == k)
            units = run.units[site][0] * own
            if signal == "mean":
                columns.append(units.sum(-1) / own.sum())
            elif site == "embed":
                columns.append(units.norm(dim=-1))
            else:
                rows_, bias, post = net.decoder(site)
                write = units @ rows_
                if post is not None:
                    total = run.units[site][0] @ rows_
                    write = write * torch.rsqrt(total.square().mean(-1, keepdim=True) + net.spec.norm_eps) * post.gain
                elif bias is not None and site.startswith("mlp") and partition.n_parts(site) == 1:
                    write = write + bias
                columns.append(write.norm(dim=-1))
    if readout == "entropy":
        p = run.logits[0].softmax(-1)
        columns.append(-(p * p.log()).sum(-1))
    else:
        answers, others = pairs.answers[i], pairs.distractors[i]
        columns.append(run.logits[0][:, answers].mean(-1) - run.logits[0][:, others].mean(-1))
    return torch.stack(columns, -1).detach().numpy()


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize(("signal", "readout"), [("norm", "metric"), ("mean", "entropy")])
def test_signals_are_those_of_every_example_alone(variant, signal, readout):
    net, pairs = tiny_network(variant, dtype=torch.float64), data(n=7)
    partition = grouped(net)
    for size in (None, 2):
        found = list(NodeSignals(net, pairs, partition, signal=signal, readout=readout, batch_size=size))
        k = 0
        for trials in found:
            for values, length in zip(trials.values, trials.lengths, strict=True):
                expected = series_by_hand(net, pairs, partition, k, signal, readout)
                assert length == len(expected)
                np.testing.assert_allclose(values[:length], expected, atol=1e-10)
                k += 1
        assert k == 7


def test_principal_components():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), data(n=20)
    partition = grouped(net)
    signals = NodeSignals(net, pairs, partition, signal="pc", batch_size=3)
    values = np.concatenate([t.values[k, : t.lengths[k]] for t in signals for k in range(len(t.values))])
    units = {s: [] for s in ("mlp.1", "attn.0")}
    for i in range(20):
        run = net.run(torch.from_numpy(pairs.clean[i][pairs.mask[i]])[None], capture=list(units))
        for site in units:
            units[site].append(run.units[site][0].numpy())
    for site, name, k in (("mlp.1", "mlp.1/part.1", 1), ("attn.0", "attn.0/part.2", 2)):
        x = np.concatenate(units[site])[:, partition.labels[site] == k]
        direction = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][0]
        direction *= np.sign(direction[np.abs(direction).argmax()])
        node = partition.node_slice(site).start + k
        assert partition.n_parts(site) > k, name
        np.testing.assert_allclose(values[:, node], x @ direction, atol=1e-9)


def feature_network(variant="gpt2"):
    plain = tiny_network(variant, dtype=torch.float64)
    return with_features(plain, {"mlp.0": "write", "attn.1": "write", "mlp.1": "hidden"}, n_features=5)


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize("signal", ["norm", "mean"])
def test_signals_of_features_errors_and_patterns(variant, signal):
    """Prompts one at a time and without padding; patterns row by row."""
    net, pairs = feature_network(variant), data(n=6)
    partition = Partition.mixed(net, {"mlp.*": "units", "attn.1": "units"}, default="heads")
    signals = NodeSignals(net, pairs, partition, signal=signal, batch_size=4)
    names = list(signals.partition.node_names)
    values = [t.values[k, : t.lengths[k]] for t in signals for k in range(len(t.lengths))]
    for i, found in enumerate(values):
        tokens = torch.from_numpy(pairs.clean[i][pairs.mask[i]])[None]
        units = net.run(tokens, capture=["mlp.0", "mlp.1", "attn.1", "attn.1.pattern"]).units
        for site in ("mlp.0", "mlp.1", "attn.1"):
            n = net.dictionaries[site].n_features
            features, error = units[site][0, :, :n].numpy(), units[site][0, :, n:]
            at = names.index(f"{site}/feature.0")
            if signal == "mean":
                np.testing.assert_allclose(found[:, at : at + n], features, atol=1e-12)
                np.testing.assert_allclose(found[:, at + n], error.mean(-1), atol=1e-12)
            elif site != "mlp.1":  # in space `write` the error writes its own coordinates
                rows_ = net.dictionaries[site].rows.norm(dim=1).numpy()
                np.testing.assert_allclose(found[:, at : at + n], np.abs(features) * rows_, atol=1e-12)
                np.testing.assert_allclose(found[:, at + n], error.norm(dim=-1), atol=1e-12)
        for head in range(net.spec.n_heads):
            at = names.index(f"attn.1/head.{head}/pattern")
            for t, row in enumerate(units["attn.1.pattern"][0, head].numpy()):
                expected = np.sqrt((row**2).sum()) if signal == "norm" else sum(w * (t - k) for k, w in enumerate(row))
                assert found[t, at] == pytest.approx(expected, abs=1e-12)


def test_principal_component_of_a_pattern():
    net, pairs = tiny_network("llama", dtype=torch.float64), data(n=8)
    partition = Partition.mixed(net, {"attn.0": "units"}, default="modules")
    signals = NodeSignals(net, pairs, partition, signal="pc", batch_size=3)
    node = list(signals.partition.node_names).index("attn.0/head.1/pattern")
    found = np.concatenate([t.values[k, : t.lengths[k], node] for t in signals for k in range(len(t.lengths))])
    back = []
    for i in range(pairs.n):
        tokens = torch.from_numpy(pairs.clean[i][pairs.mask[i]])[None]
        pattern = net.run(tokens, capture=["attn.0.pattern"]).units["attn.0.pattern"][0, 1].numpy()
        back += [np.pad(row[: t + 1][::-1], (0, pairs.clean.shape[1] - t - 1)) for t, row in enumerate(pattern)]
    x = np.array(back)
    direction = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][0]
    np.testing.assert_allclose(found, x @ direction * np.sign(direction[np.abs(direction).argmax()]), atol=1e-9)


@pytest.mark.parametrize("method", ["granger", "transfer-entropy"])
def test_parts_of_heads_are_regressed_on_the_patterns_that_serve_them(method):
    """And only on those; a dead feature scores 0 and changes nothing else."""
    net, pairs = tiny_network("gpt2", dtype=torch.float64), data(n=80)
    labels = Partition.heads(net).labels | {"attn.1": np.arange(net.architecture.site("attn.1").n_units) // 3}
    partition = Partition.from_labels(labels)
    options = {"baseline": "zero", "max_order": 1, "criterion": "max", "split_qkv": False}
    graph = effective_connectivity(net, pairs, partition, method, **options)
    signals = NodeSignals(net, pairs, partition)
    nodes, names, trials = signals.partition, graph.node_names, next(iter(signals))
    score = {(int(t), int(s)): w for s, t, w in zip(graph.source, graph.target, graph.weight, strict=True)}
    start = nodes.node_slice("attn.1").start
    for v in range(start, start + 3):
        sources = sorted(s for t, s in score if t == v)
        served = [names[s] for s in sources if "pattern" in names[s]]
        assert 0 < len(served) < net.spec.n_heads or net.spec.n_heads == 1
        x, y, at = rows(trials, v, sources, 1, 1)
        means = dummies(at, True)
        x, y = (z - means @ np.linalg.lstsq(means, z, rcond=None)[0] for z in (x, y))

        def rss(z, y=y):
            return np.square(y - z @ np.linalg.lstsq(z, y, rcond=None)[0]).sum()

        for k, u in enumerate(sources):
            expected = np.log(rss(np.delete(x, [2 * k, 2 * k + 1], 1)) / rss(x)) / (1 if method == "granger" else 2)
            assert score[v, u] == pytest.approx(expected, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("options", [{}, {"choose_ridge": True}, {"signal": "mean"}])
def test_dead_features_score_nothing_and_disturb_nothing(options):
    net, pairs = feature_network(), data(n=120)
    one = net.dictionaries["mlp.0"]
    shut = replace(one, encoder_bias=one.encoder_bias - 1e3 * (torch.arange(one.n_features) < 2))
    net = attach(net.inner, {"mlp.0": shut})
    dead = Partition.mixed(net, {"mlp.0": "units"}, default="modules")
    without = np.where(np.arange(len(dead.labels["mlp.0"])) < 2, -1, dead.labels["mlp.0"] - 2)
    live = Partition.from_labels(dict(dead.labels) | {"mlp.0": without})
    kind = {"baseline": "zero", "max_order": 1, "criterion": "max", "split_qkv": False, **options}
    graph, expected = (effective_connectivity(net, pairs, p, "granger", **kind) for p in (dead, live))
    silent = np.isin(np.arange(graph.n_nodes), [dead.node_slice("mlp.0").start + k for k in (0, 1)])
    touched = silent[graph.source] | silent[graph.target]
    assert touched.any() and (graph.weight[touched] == 0).all() and (graph.columns["p"][touched] == 1).all()
    np.testing.assert_allclose(graph.weight[~touched], expected.weight, atol=1e-10)
    np.testing.assert_allclose(graph.columns["q"][~touched], expected.columns["q"], atol=1e-8)


@pytest.mark.parametrize("method", ["granger", "transfer-entropy"])
def test_scores_of_a_network_equal_least_squares(method):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), data()
    partition = grouped(net)
    graph = effective_connectivity(
        net, pairs, partition, method, baseline="zero", max_order=1, criterion="max", split_qkv=False
    )
    trials = next(iter(NodeSignals(net, pairs, partition)))
    factor = 1 if method == "granger" else 0.5
    score = {(int(t), int(s)): w for s, t, w in zip(graph.source, graph.target, graph.weight, strict=True)}
    for site in readers_of(net.architecture, partition)[1:4:2]:
        v = site.targets[0]
        x, y, at = rows(trials, v, site.sources, 1, 1)
        means = dummies(at, True)
        x, y = (z - means @ np.linalg.lstsq(means, z, rcond=None)[0] for z in (x, y))

        def rss(z, y=y):
            return np.square(y - z @ np.linalg.lstsq(z, y, rcond=None)[0]).sum()

        for k, u in enumerate(site.sources):
            without = rss(np.delete(x, [2 * k, 2 * k + 1], 1))
            assert score[v, u] == pytest.approx(factor * np.log(without / rss(x)), rel=1e-6, abs=1e-10)
    assert len(score) == graph.n_edges
    assert set(graph.columns) == {"p", "q", "significant"}
    assert (graph.columns["q"] >= graph.columns["p"]).all()
    np.testing.assert_array_equal(graph.columns["significant"], graph.columns["q"] <= 0.05)


def test_channels_share_a_score():
    net, pairs = tiny_network("llama", dtype=torch.float64), data()
    partition = Partition.modules(net)
    split = effective_connectivity(net, pairs, partition, "granger", baseline="zero")
    joined = effective_connectivity(net, pairs, partition, "granger", baseline="zero", split_qkv=False)
    score = {(s, t): w for s, t, w in zip(joined.source, joined.target, joined.weight, strict=True)}
    assert [score[s, t] for s, t in zip(split.source, split.target, strict=True)] == list(split.weight)
    assert split.n_edges > joined.n_edges
    assert split.attributes["n_tested"] == joined.n_edges


@pytest.mark.parametrize("method", ["granger", "transfer-entropy"])
@pytest.mark.parametrize("options", [{}, {"choose_ridge": True}, {"ridge": 0.01}])
def test_batches_and_order_of_examples_do_not_matter(method, options):
    net, pairs = tiny_network("llama", dtype=torch.float64), data()
    partition, kind = Partition.modules(net), {"method": method, "baseline": "zero", **options}
    whole = effective_connectivity(net, pairs, partition, **kind)
    assert np.abs(whole.weight).max() > 1e-3
    again = effective_connectivity(net, pairs, partition, **kind)
    np.testing.assert_array_equal(again.weight, whole.weight)
    shuffled = pairs.subset(np.random.default_rng(0).permutation(pairs.n))
    for other in (
        effective_connectivity(net, pairs, partition, batch_size=7, **kind),
        effective_connectivity(net, shuffled, partition, **kind),
    ):
        np.testing.assert_allclose(other.weight, whole.weight, atol=1e-10)
        np.testing.assert_allclose(other.columns["p"], whole.columns["p"], atol=1e-8)


def test_permutations_are_seeded():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), data()
    partition = Partition.modules(net)

    def graph(seed, permutations=19):
        kind = {"baseline": "zero", "max_order": 1, "permutations": permutations, "seed": seed}
        return effective_connectivity(net, pairs, partition, "transfer-entropy", **kind)

    first, again, other, analytic = graph(0), graph(0), graph(1), graph(0, 0)
    np.testing.assert_array_equal(first.columns["p"], again.columns["p"])
    assert (first.columns["p"] != other.columns["p"]).any()
    np.testing.assert_array_equal(first.weight, analytic.weight)
    assert first.columns["p"].min() == 1 / 20
    strong = analytic.columns["p"] < 1e-8
    assert strong.any()
    assert (first.columns["p"][strong] == 1 / 20).all()


def test_refuses():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), data(n=20)
    partition = Partition.modules(net)

    def run(part=partition, method="granger", **options):
        return effective_connectivity(net, pairs, part, method, baseline="zero", **options)

    with pytest.raises(GraphError, match="signal 'power'"):
        run(signal="power")
    with pytest.raises(GraphError, match="readout 'logits'"):
        run(readout="logits")
    with pytest.raises(DataError, match="series is constant"):
        run(metric="kl")
    with pytest.raises(DataError, match=r"granger: .* too few for 725 coefficients"):
        run(Partition.units(net))
    with pytest.raises(DataError, match=r"granger: .* too few for"):
        run(Partition.heads(net), max_order=4)
    with pytest.raises(DataError, match="permutations is 9"):
        run(method="transfer-entropy", permutations=9, ridge=0.1)
    with pytest.raises(DataError, match="permutations is -1"):
        run(method="transfer-entropy", permutations=-1)
    with pytest.raises(GraphError, match="bootstrap"):
        run(bootstrap=5)
    with pytest.raises(ModelError, match="does not serve sequential"):
        effective_connectivity(chain(), Images(), Partition.channels(chain()), "granger")
    bare = PromptPairs(pairs.clean)
    with pytest.raises(DataError, match="answers"):
        effective_connectivity(net, bare, partition, "granger", baseline="zero")
    graph = effective_connectivity(net, bare, partition, "granger", baseline="zero", readout="entropy")
    assert np.isfinite(graph.weight).all()


def test_over_training():
    """Signals of checkpoints are means over the data; drift alone is not a cause, a lagged drive is."""
    nets, pairs = [tiny_network("gpt2", dtype=torch.float64, seed=seed) for seed in range(3)], data(n=6)
    partition = grouped(nets[0])
    signals = signals_over_training(iter(nets), pairs, partition, signal="mean")
    expected = [
        np.concatenate([series_by_hand(net, pairs, partition, i, "mean", "metric") for i in range(6)]).mean(0)
        for net in nets
    ]
    np.testing.assert_allclose(signals, expected, atol=1e-10)

    net, partition = nets[0], Partition.modules(nets[0])
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((400, partition.n_nodes))
    steps[1:, 3] += 0.8 * steps[:-1, 1]
    walk = steps.cumsum(0)
    for options in ({}, {"ridge": 1e-3}):
        graph = granger_over_training(walk, net, partition, split_qkv=False, **options)
        found = np.flatnonzero(graph.columns["significant"])
        assert [(graph.source[k], graph.target[k]) for k in found] == [(1, 3)]
    changes = granger_over_training(steps[1:], net, partition, split_qkv=False, difference=False, ridge=1e-3)
    np.testing.assert_allclose(changes.weight, graph.weight, atol=1e-10)
    with pytest.raises(DataError, match="too few for"):
        granger_over_training(walk[:12], net, partition)
    with pytest.raises(DataError, match="shape"):
        granger_over_training(walk[:, :3], net, partition)
    with pytest.raises(DataError, match="checkpoint 2"):
        granger_over_training(np.where(np.arange(400)[:, None] == 2, np.nan, walk), net, partition)
    with pytest.raises(GraphError, match="signal 'pc'"):
        signals_over_training(nets, pairs, partition, signal="pc")


def test_over_training_of_a_chain():
    nets = [chain(seed) for seed in range(2)]
    partition = Partition.channels(nets[0])
    signals = signals_over_training(nets, Images(), partition)
    assert signals.shape == (2, partition.n_nodes)
    images = torch.from_numpy(Images().clean)
    units = nets[1].run(images, capture=["conv.1"]).units["conv.1"]
    first = partition.node_slice("conv.1").start
    own = torch.from_numpy(partition.labels["conv.1"] == 1)
    assert signals[1, first + 1] == pytest.approx(float((units * own).norm(dim=1).mean()))


def test_principal_components_of_a_post_norm_family():
    net, pairs = tiny_network("gemma2", dtype=torch.float64), make_pairs(n=40, t=8)
    graph = effective_connectivity(net, pairs, Partition.modules(net), "granger", signal="pc", max_order=1)
    assert np.isfinite(graph.weight).all()
    assert graph.attributes["signal"] == "pc"
