"""Attributions against autograd unit by unit, in float64, over every family and a chain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph.connectivity.effective import effective_connectivity
from compgraph.metrics import Targets, get_metric
from compgraph.partition import Partition
from tests.connectivity.effective import test_eap
from tests.connectivity.effective.test_eap import chain, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, VARIANTS, tiny_network


class Images(test_eap.Images):
    """With the fields that a buffer records of every item."""

    def __init__(self, n: int = 4, seed: int = 0) -> None:
        super().__init__(n, seed)
        self.task, self.split = np.array(["shapes"] * n), np.array(["all"] * n)


def metric_of(net, pairs, item, changes, metric="logit_difference"):
    """Metric of one example whose units are changed: site -> (position, unit) -> what is added. No batching."""
    chosen = [torch.from_numpy(np.asarray(a)[item : item + 1]) for a in (pairs.clean, pairs.answers, pairs.distractors)]
    mask = None if pairs.mask is None else torch.from_numpy(pairs.mask[item : item + 1])
    positions = None if pairs.positions is None else torch.from_numpy(pairs.positions[item : item + 1])
    edit = {site: (lambda units, change=change: units + change) for site, change in changes.items()}
    logits = net.run(chosen[0], mask, positions=positions, edit=edit).logits
    return get_metric(metric)(logits, Targets(*chosen[1:]))[0]


def units_of(net, pairs, item, side, sites):
    values = torch.from_numpy(getattr(pairs, side)[item : item + 1])
    mask = None if pairs.mask is None else torch.from_numpy(pairs.mask[item : item + 1])
    with torch.no_grad():
        return net.run(values, mask, capture=sites).units


def slopes(net, pairs, item, sites, at=None, metric="logit_difference"):
    """Gradient of the metric by what is added to every unit, one site after another."""
    clean = units_of(net, pairs, item, "clean", sites)
    found = {}
    for site in sites:
        zero = torch.zeros_like(clean[site]).requires_grad_()
        added = zero if at is None else zero + at[site]
        found[site] = torch.autograd.grad(metric_of(net, pairs, item, {site: added}, metric), zero)[0]
    return clean, found


def rows_of(values, pairs, item):
    """[1, t, n] or [1, n] -> the rows of real tokens."""
    if values.ndim == 2:
        return values
    return values[0] if pairs.mask is None else values[0][torch.from_numpy(pairs.mask[item])]


def expected(net, pairs, sites, method, zero=False, steps=4, metric="logit_difference"):
    found = {site: [] for site in sites}
    for item in range(pairs.n):
        clean, slope = slopes(net, pairs, item, sites, metric=metric)
        base = (
            {site: torch.zeros_like(value) for site, value in clean.items()}
            if zero
            else units_of(net, pairs, item, "corrupted", sites)
        )
        change = {site: base[site] - clean[site] for site in sites}
        if method == "integrated-gradients":
            points = [{site: k / steps * change[site] for site in sites} for k in range(steps)]
            runs = [slopes(net, pairs, item, sites, point, metric)[1] for point in points]
            slope = {site: sum(run[site] for run in runs) / steps for site in sites}
        factor = clean if method == "activation-x-gradient" else change
        for site in sites:
            found[site].append(rows_of(factor[site] * slope[site], pairs, item))
    return {site: torch.cat(rows).numpy() for site, rows in found.items()}


def agree(found, wanted):
    for site, values in wanted.items():
        scale = np.abs(values).max()
        assert scale > 1e-7, f"{site}: nothing to compare"
        np.testing.assert_allclose(found.read(site), values, rtol=0, atol=1e-10 * scale)


def all_sites(net):
    return [site.name for site in net.architecture.sites if site.name != "logits" or net.kind == "sequential"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("method", ["activation-x-gradient", "attribution-patching"])
def test_equals_autograd_unit_by_unit(variant, method):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(padded=True)
    found = cg.node_attributions(net, pairs, method=method, batch_size=2)
    assert list(found.values) == all_sites(net)
    agree(found, expected(net, pairs, all_sites(net), method))


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero", [False, True])
def test_integrated_gradients_equal_autograd(variant, zero):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    sites, baseline = ["embed", "attn.1", "mlp.0", "resid.0"], "zero" if zero else "counterfactual"
    found = cg.node_attributions(
        net, pairs, sites=sites, method="integrated-gradients", steps=4, baseline=baseline, metric="cross_entropy"
    )
    agree(found, expected(net, pairs, list(found.values), "integrated-gradients", zero, metric="cross_entropy"))


@pytest.mark.parametrize("method", ["activation-x-gradient", "attribution-patching", "integrated-gradients"])
def test_chains_equal_autograd(method):
    net, pairs = chain(), Images(5)
    steps = {"steps": 4} if method == "integrated-gradients" else {}
    found = cg.node_attributions(net, pairs, method=method, batch_size=2, **steps)
    agree(found, expected(net, pairs, all_sites(net), method))


@pytest.mark.parametrize("positions", ["last", "scored", [0, -1]])
def test_positions_choose_rows_of_the_same_numbers(positions):
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(padded=True)
    every = cg.node_attributions(net, pairs)
    some = cg.node_attributions(net, pairs, positions=positions)
    place = {key: row for row, key in enumerate(zip(every.item, every.position, strict=True))}
    rows = [place[key] for key in zip(some.item, some.position, strict=True)]
    assert len(rows) == pairs.n * (2 if isinstance(positions, list) else 1)
    for site in every.values:
        np.testing.assert_array_equal(some.read(site), every.read(site)[rows])


@pytest.mark.parametrize("method", ["attribution-patching", "integrated-gradients"])
def test_batches_and_order_of_examples_do_not_matter(method):
    net, pairs = tiny_network("qwen3", dtype=torch.float64), make_pairs(n=5, padded=True)
    whole = cg.node_attributions(net, pairs, method=method)
    for size in (1, 2):
        parts = cg.node_attributions(net, pairs, method=method, batch_size=size)
        for site in whole.values:
            np.testing.assert_allclose(parts.read(site), whole.read(site), rtol=0, atol=1e-12)


def test_one_step_is_attribution_patching_and_zero_is_activation_x_gradient_reversed():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs()
    patched = cg.node_attributions(net, pairs)
    one = cg.node_attributions(net, pairs, method="integrated-gradients", steps=1)
    against_zero = cg.node_attributions(net, pairs, baseline="zero")
    product = cg.node_attributions(net, pairs, method="activation-x-gradient")
    for site in patched.values:
        np.testing.assert_array_equal(one.read(site), patched.read(site))
        np.testing.assert_array_equal(product.read(site), -against_zero.read(site))


@pytest.mark.parametrize("network", ["gpt2", "gemma2", "chain"])
def test_integrated_gradients_are_complete_at_every_site(network):
    """Units of a site sum to what replacing the whole site does; the error falls like 1 / steps."""
    net = chain() if network == "chain" else tiny_network(network, dtype=torch.float64)
    pairs = Images(2) if network == "chain" else make_pairs(n=2, t=4)
    sites = ["input", "conv.0", "linear.0"] if network == "chain" else ["embed", "attn.0", "mlp.1", "resid.0"]
    change = np.zeros((2, len(sites)))
    for item in range(2):
        clean, base = (units_of(net, pairs, item, side, sites) for side in ("clean", "corrupted"))
        before = metric_of(net, pairs, item, {})
        for column, site in enumerate(sites):
            change[item, column] = metric_of(net, pairs, item, {site: base[site] - clean[site]}) - before
    errors = []
    for steps in (20, 1280 if network == "chain" else 80):
        found = cg.node_attributions(net, pairs, sites=sites, method="integrated-gradients", steps=steps)
        sums = [[found.read(site)[found.item == item].sum() for site in sites] for item in range(2)]
        errors.append(np.abs(np.array(sums) - change).max(0))
    scale = np.abs(change).max(0)
    assert (errors[1] < np.maximum(0.05 * scale, 1e-10)).all()
    # A chain's path is piecewise linear: the error is that of finding the kinks, which falls less regularly.
    assert (errors[1] < errors[0] / 3 + 1e-10).all()


LINEAR = [v for v in VARIANTS if not v.startswith("gemma2")]


@pytest.mark.parametrize("variant", LINEAR)
@pytest.mark.parametrize("granularity", ["modules", "heads"])
def test_nodes_are_the_sums_of_their_outgoing_edges(variant, granularity):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(padded=True)
    partition = getattr(Partition, granularity)(net)
    graph = effective_connectivity(net, pairs, partition)
    scores = cg.node_scores(cg.node_attributions(net, pairs, batch_size=2), partition)
    edges = dict(zip(graph.node_names, graph.node_scores("out"), strict=True))
    assert set(scores["name"]) == set(edges) - {"logits"}
    wanted = [edges[name] for name in scores["name"]]
    np.testing.assert_allclose(scores["score"], wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


def test_neurons_and_channels_are_the_sums_of_their_outgoing_edges():
    net, pairs = tiny_network("neox", dtype=torch.float64), make_pairs()
    partition = Partition.mixed(net, {"mlp.*": "units", "*": "heads"})
    graph = effective_connectivity(net, pairs, partition)
    images = chain()
    channels = Partition.channels(images)
    for one, data, nodes, found in [
        (net, pairs, partition, graph),
        (images, Images(5), channels, effective_connectivity(images, Images(5), channels)),
    ]:
        scores = cg.node_scores(cg.node_attributions(one, data), nodes)
        edges = dict(zip(found.node_names, found.node_scores("out"), strict=True))
        last = scores["site"] == "logits"
        wanted = [edges[name] for name in scores["name"][~last]]
        np.testing.assert_allclose(scores["score"][~last], wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


def test_where_a_write_is_not_linear_node_and_edges_differ():
    """A post-norm mixes a site's units; baseline zero takes the output bias of a whole MLP too."""
    pairs = make_pairs()
    for variant, baseline, same in [("gemma2", "counterfactual", ["embed"]), ("gpt2", "zero", ["embed", "attn.0"])]:
        net = tiny_network(variant, dtype=torch.float64)
        partition = Partition.modules(net)
        graph = effective_connectivity(net, pairs, partition, baseline=baseline)
        scores = cg.node_scores(cg.node_attributions(net, pairs, baseline=baseline), partition).set_index("name")
        edges = dict(zip(graph.node_names, graph.node_scores(), strict=True))
        for name in same:
            assert scores["score"][name] == pytest.approx(edges[name], rel=1e-9)
        assert abs(scores["score"]["mlp.1"] - edges["mlp.1"]) > 1e-3
