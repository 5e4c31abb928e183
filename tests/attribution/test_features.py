"""Attributions of features and errors: they sum to what the site contributes, and are read like any others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph.attribution.record import record_attributions
from compgraph.dictionaries.encoded import EncodedBuffer
from compgraph.errors import DataError
from compgraph.metrics import Targets, get_metric
from compgraph.partition import Partition
from tests.attribution.test_methods import rows_of
from tests.connectivity.effective.feature_brute import with_features
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

PLACES = [{"attn.0": "hidden", "mlp.1": "write"}, {"attn.1": "write", "mlp.0": "hidden"}]
STEPS = 3


def place_of(site, space):
    """Where the plain network can be read and edited at what a dictionary describes."""
    return site if space == "hidden" else f"{site}/write"


def run(net, pairs, item, side, place, change=None):
    """What passes a place of the plain network, and the metric of one example."""
    kept = []

    def edit(value):
        kept.append(value if change is None else value + change)
        return kept[0]

    tokens, mask = (torch.from_numpy(x[item : item + 1]) for x in (getattr(pairs, side), pairs.mask))
    answers = [torch.from_numpy(np.asarray(x)[item : item + 1]) for x in (pairs.answers, pairs.distractors)]
    positions = None if pairs.positions is None else torch.from_numpy(pairs.positions[item : item + 1])
    logits = net.run(tokens, mask, positions=positions, edit={place: edit}).logits
    return kept[0].detach(), get_metric("logit_difference")(logits, Targets(*answers))[0]


def contribution(net, pairs, site, one, method, item):
    """Of the whole site in the space of its dictionary, by autograd: one number a token."""
    place = place_of(site, one.space)
    clean, base = (run(net, pairs, item, side, place)[0] for side in ("clean", "corrupted"))
    steps = STEPS if method == "integrated-gradients" else 1
    slope = torch.zeros_like(clean)
    for k in range(steps):
        change = (k / steps * (base - clean)).requires_grad_()
        slope += torch.autograd.grad(run(net, pairs, item, "clean", place, change)[1], change)[0] / steps
    # The decoder's bias belongs to no unit: it is what is left of the site where they all are zero.
    factor = clean - (0 if one.bias is None else one.bias) if method == "activation-x-gradient" else base - clean
    return rows_of((factor * slope).sum(-1, keepdim=True), pairs, item)[:, 0].numpy()


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("method", ["activation-x-gradient", "attribution-patching", "integrated-gradients"])
def test_features_and_error_sum_to_the_site(variant, places, method):
    plain, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=3, t=5, padded=True)
    net = with_features(plain, places)
    options = {"steps": STEPS} if method == "integrated-gradients" else {}
    found = cg.node_attributions(net, pairs, sites=list(places), method=method, batch_size=2, **options)
    for site in places:
        one = net.dictionaries[site]
        wanted = np.concatenate([contribution(plain, pairs, site, one, method, item) for item in range(pairs.n)])
        values = found.read(site)
        assert values.shape[1] == one.n_features + one.width
        # Terms of both signs cancel in the sum.
        np.testing.assert_allclose(values.sum(1), wanted, rtol=0, atol=1e-12 * np.abs(values).sum(1).max())
        assert np.abs(values[:, : one.n_features]).max() > 1e-6 and np.abs(wanted).max() > 1e-8


def test_a_sealed_buffer_of_them_serves_nodes_graphs_and_regions(tmp_path):
    net, pairs = with_features(tiny_network("llama"), {"mlp.1": "write"}, n_features=9), make_pairs(n=12, padded=True)
    buffer = record_attributions(net, pairs, tmp_path / "a.json", sites=["mlp.1"], compress=["mlp.1"])
    held = cg.node_attributions(net, pairs, sites=["mlp.1"])
    np.testing.assert_allclose(buffer.read("mlp.1"), held.read("mlp.1"), rtol=0, atol=1e-6)
    units = Partition.units(net)
    scores = cg.node_scores(buffer, units)
    assert list(scores["name"]) == [f"mlp.1/feature.{k}" for k in range(9)] + ["mlp.1/error"]
    error = held.read("mlp.1")[:, 9:].sum(1)
    assert scores["score"].iloc[-1] == pytest.approx(error.sum() / pairs.n, rel=1e-4)
    assert cg.functional_connectivity(buffer, units.restrict(["mlp.1"]), "pearson").n_nodes == 10
    regions = cg.find_rois(buffer, "mlp.1", method="kmeans", n_rois=2)
    assert regions.part_names("mlp.1") == ("roi.0", "roi.1", "error")
    with pytest.raises(DataError, match="features are those of activations"):
        EncodedBuffer(buffer, net)
