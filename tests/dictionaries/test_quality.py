"""What is measured of a dictionary, against the definitions; dictionaries through whole stages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.data.buffer_writer import record_activations
from compgraph.data.prompts import PromptPairs
from compgraph.dictionaries import (
    SiteRows,
    attach,
    load_dictionaries,
    measure_fit,
    measure_splice,
    pca,
    sparse_autoencoder,
)
from compgraph.dictionaries.encoded import EncodedBuffer
from compgraph.dictionaries.stage import fit_sites, write_stage
from compgraph.errors import DataError, ModelError
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network

FAMILIES = ("gpt2", "llama", "gemma2")


def network(family="gpt2"):
    return tiny_network(family, dtype=torch.float64)


def autoencoder(net, site, space, n=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    width = net.spec.d_model if space == "write" else net.architecture.site(site).n_units
    encoder, rows = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((width, n), (n, width)))
    bias = torch.randn(width, generator=generator, dtype=torch.float64)
    return sparse_autoencoder(space, encoder, rows, None, bias, activation="topk", k=2, site=site)


def test_fit_is_that_of_the_definitions():
    net = network()
    rows = np.random.default_rng(0).normal(size=(50, net.architecture.site("mlp.0").n_units))
    one = autoencoder(net, "mlp.0", "hidden")
    fit = measure_fit(one, SiteRows(rows, net, "mlp.0"))
    x = torch.from_numpy(rows)
    features = one.encode(x)
    expected = 1 - (x - one.decode(features)).square().sum() / (x - x.mean(0)).square().sum()
    assert fit.explained_variance == pytest.approx(expected.item())
    assert fit.l0 == pytest.approx((features != 0).double().sum(1).mean().item())
    np.testing.assert_allclose(fit.density, (features != 0).double().mean(0))
    active = (features != 0).sum(0)
    np.testing.assert_allclose(fit.mean_active, features.sum(0) / active.clamp_min(1))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("site", "space"), [("mlp.0", "write"), ("attn.1", "hidden"), ("resid.0", "hidden")])
def test_splices_are_runs_without_the_error(family, site, space):
    net, pairs = network(family), make_pairs(n=5)
    one = autoencoder(net, site, space)
    found = measure_splice(net, site, one, pairs, batch_size=2)
    tokens, mask = torch.from_numpy(pairs.clean), torch.from_numpy(pairs.mask)
    positions, answers = torch.from_numpy(pairs.positions), torch.from_numpy(pairs.answers)

    def loss(net, edit):
        log_p = net.run(tokens, mask, positions=positions, edit=edit).logits.log_softmax(-1)
        return -log_p.gather(1, answers).logsumexp(1).mean().item()

    assert found.loss == "answers" and found.clean == pytest.approx(loss(net, {}))
    # A view of the stream is not attached, nor a bias behind a post-norm.
    if not site.startswith("resid") and (space == "write" or net.decoder(site)[2] is None):
        featured = attach(net, {site: one})
        width = one.n_features

        def without_error(units):
            return torch.cat([units[..., :width], torch.zeros_like(units[..., width:])], -1)

        assert found.spliced == pytest.approx(loss(featured, {site: without_error}))
    place = f"{site}/write" if space == "write" else site
    assert found.ablated == pytest.approx(loss(net, {place: torch.zeros_like}))
    expected = (found.ablated - found.spliced) / (found.ablated - found.clean)
    assert found.recovered == pytest.approx(expected)


def test_next_tokens_are_scored_where_there_are_no_answers():
    net, pairs = network(), make_pairs(n=5)
    plain = PromptPairs(pairs.clean, mask=pairs.mask)
    found = measure_splice(net, "mlp.0", autoencoder(net, "mlp.0", "write"), plain, batch_size=2)
    tokens, mask = torch.from_numpy(pairs.clean), torch.from_numpy(pairs.mask)
    log_p = net.run(tokens, mask).logits.log_softmax(-1)[:, :-1]
    losses = -log_p.gather(2, tokens[:, 1:, None])[..., 0]
    real = mask[:, 1:] & mask[:, :-1]
    assert found.loss == "next-token" and found.clean == pytest.approx(losses[real].mean().item())


def test_only_the_recorded_positions_are_spliced():
    net, pairs = network(), make_pairs(n=5)
    one = autoencoder(net, "mlp.0", "write")
    found = measure_splice(net, "mlp.0", one, pairs, "scored")
    tokens, mask = torch.from_numpy(pairs.clean), torch.from_numpy(pairs.mask)
    positions, answers = torch.from_numpy(pairs.positions), torch.from_numpy(pairs.answers)

    def edit(x):
        x, rows = x.clone(), torch.arange(len(x))
        x[rows, positions] = one.decode(one.encode(x[rows, positions]))
        return x

    log_p = net.run(tokens, mask, positions=positions, edit={"mlp.0/write": edit}).logits.log_softmax(-1)
    assert found.spliced == pytest.approx(-log_p.gather(1, answers).logsumexp(1).mean().item())


def test_views_of_the_stream_are_described_and_not_attached():
    net = network()
    rows = np.random.default_rng(0).normal(size=(50, net.spec.d_model))
    one = pca(rows, net, "resid.0", n_components=3)
    assert measure_fit(one, SiteRows(rows, net, "resid.0")).l0 == 3
    with pytest.raises(ModelError, match=r"resid\.0 is a view of the stream.* can be trained and evaluated"):
        attach(net, {"resid.0": one})
    with pytest.raises(ModelError, match=r"resid\.0 is a view of the stream and writes nothing"):
        pca(rows, net, "resid.0", "write")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    net, folder = network(), tmp_path_factory.mktemp("stage")
    pairs = make_pairs(n=20)
    buffer = record_activations(net, pairs, folder / "b.json", sites=["mlp.*", "resid.*"], dtype="float32")
    return net, pairs, buffer


def fitted(stage, **changed):
    net, pairs, buffer = stage
    settings = {"sites": ["mlp.*"], "space": "write", "method": "pca", "n_features": 4, "held_out": 0.25, "seed": 0}
    return fit_sites(net, pairs, buffer, **(settings | changed))


def test_held_out_examples_measure_what_was_fitted_to_the_others(stage, tmp_path):
    net, pairs, buffer = stage
    found = fitted(stage)
    assert list(found) == ["mlp.0", "mlp.1"]
    from compgraph.data.holding_out import held_out

    test = held_out(pairs, 0.25)[buffer.item]
    expected = pca(buffer.read("mlp.0")[~test], net, "mlp.0", "write", n_components=4)
    np.testing.assert_allclose(found["mlp.0"].dictionary.rows, expected.rows, atol=1e-6)
    assert found["mlp.0"].fit.rows == test.sum()
    summary = write_stage(found, tmp_path)
    assert summary["quality"][0]["site"] == "mlp.0" and {p.name for p in tmp_path.iterdir()} == {
        "mlp.0.safetensors",
        "mlp.1.safetensors",
        "quality.parquet",
        "density.parquet",
    }


def test_a_buffer_of_another_network_or_without_the_site_is_refused(stage):
    net, _, buffer = stage
    with pytest.raises(DataError, match=r"attn\.\* matches none of the recorded sites mlp\.0, resid\.0"):
        fitted(stage, sites=["attn.*"])
    other = tiny_network("gpt2", dtype=torch.float64)
    other.digest, net.digest = "sha256:other", "sha256:one"
    buffer.attributes["network"]["digest"] = "sha256:one"
    try:
        with pytest.raises(DataError, match="was recorded from the model sha256:one, and this is sha256:other"):
            SiteRows(buffer, other, "mlp.0")
    finally:
        net.digest = ""
        buffer.attributes["network"]["digest"] = ""


def test_buffers_through_dictionaries_hold_features_and_errors(stage):
    net, _, buffer = stage
    one = autoencoder(net, "mlp.0", "write")
    featured = attach(net, {"mlp.0": one})
    seen = EncodedBuffer(buffer, featured)
    values = torch.from_numpy(buffer.read("mlp.0")).double()
    expected = one.units(net.write("mlp.0", values)).numpy()
    np.testing.assert_allclose(seen.read("mlp.0"), expected, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([c["mlp.0"] for c in seen.chunks(["mlp.0"])]), expected, atol=1e-5)
    np.testing.assert_allclose(seen.mean("mlp.0"), expected.mean(0), atol=1e-5)
    np.testing.assert_allclose(seen.variance("mlp.0"), expected.var(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(seen.read("mlp.1"), buffer.read("mlp.1"))
    assert dict(zip(seen.sites["site"], seen.sites["n_units"], strict=True))["mlp.0"] == one.n_units


def test_features_are_divided_into_rois_and_the_error_is_a_part(stage):
    from compgraph.partition import Partition
    from compgraph.rois.find import find_rois

    net, _, buffer = stage
    featured = attach(net, {"mlp.0": autoencoder(net, "mlp.0", "write")})
    found = find_rois(EncodedBuffer(buffer, featured), "mlp.0", "kmeans", 2)
    assert found.names["mlp.0"] == ("roi.0", "roi.1", "error")
    assert set(found.labels["mlp.0"][7:]) == {2} and set(found.labels["mlp.0"][:7]) <= {-1, 0, 1}
    assert Partition.mixed(featured, {"mlp.0": found}).n_parts("mlp.0") == 3


def test_agreement_of_rois_leaves_the_error_out(stage, tmp_path):
    from compgraph.communities.agreement import adjusted_rand
    from compgraph.rois.evidence import write_evidence
    from compgraph.rois.find import find_rois
    from compgraph.rois.stability import SEEDS, consensus, roi_stability

    net, _, buffer = stage
    seen = EncodedBuffer(buffer, attach(net, {"mlp.0": autoencoder(net, "mlp.0", "write")}))
    found = find_rois(seen, "mlp.0", "random", 3)
    stable = roi_stability(seen, found, "mlp.0", "random", 3, n_repeats=1)
    ari = stable.table.set_index("kind").loc[SEEDS, "ari"]
    assert ari == pytest.approx(adjusted_rand(*(one.labels["mlp.0"][:7] for one in (found, stable.repeats[0]))))
    agreed = consensus(found, stable.repeats, ["mlp.0"])
    np.testing.assert_array_equal(agreed.labels["mlp.0"][7:], 3)
    assert set(agreed.labels["mlp.0"][:7]) <= {-1, 0, 1, 2}
    agreed.save(tmp_path / "a.partition")
    summary = write_evidence(tmp_path / "a.partition", agreed, [seen], stable, n_permutations=9, seed=0)
    assert set(summary["stability"]) == {"seeds", "halves", "bootstrap"}


def test_dictionaries_survive_the_disk(stage, tmp_path):
    from compgraph import store
    from compgraph.provenance import Provenance

    found = fitted(stage)
    with store.create(tmp_path / "d.json", "dictionaries", "d.dictionaries", Provenance("dictionaries")) as draft:
        draft.summary |= write_stage(found, draft.path)
    again = load_dictionaries(tmp_path / "d.json")
    assert {site: one.digest for site, one in again.items()} == {k: v.dictionary.digest for k, v in found.items()}
