"""Networks with dictionaries: the same function, features and errors as units."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from compgraph.architecture import Architecture
from compgraph.dictionaries import attach, identity
from compgraph.errors import GraphError, ModelError
from compgraph.partition import Partition
from tests.connectivity.effective.feature_brute import explicit_units, tiny_dictionary, with_features
from tests.connectivity.effective.test_eap import chain
from tests.models.tiny import ONE_PER_FAMILY, tiny_network, tiny_tokens

EVERYWHERE = {"attn.0": "write", "mlp.0": "hidden", "attn.1": "hidden", "mlp.1": "write"}


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("activation", ["relu", "topk", "jumprelu"])
def test_the_function_stays_the_same(variant, activation):
    plain = tiny_network(variant, dtype=torch.float64)
    net = with_features(plain, EVERYWHERE, activation=activation)
    tokens = tiny_tokens(3, 6)
    expected = plain.run(tokens, capture=EVERYWHERE)
    got = net.run(tokens, capture=EVERYWHERE)
    assert float((got.logits - expected.logits).abs().max()) < 1e-10
    for site in EVERYWHERE:
        units = explicit_units(net, site, expected.units[site])
        torch.testing.assert_close(got.units[site], units, rtol=0, atol=1e-10)
        active = (units[..., : net.dictionaries[site].n_features] != 0).double().mean()
        assert 0.1 < active < 0.9  # else the test says nothing about inactive features


@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_edits_of_features_and_error_move_the_write_along_their_rows(variant):
    net = with_features(tiny_network(variant, dtype=torch.float64), {"mlp.0": "write"})
    tokens, n = tiny_tokens(2, 4), 7
    kept = {}

    def shifted(units):
        out = units.clone()
        out[..., 3] += 2.0
        out[..., n + 1] -= 1.0
        return out

    def keep(name):
        return lambda x: kept.setdefault(name, x)

    net.run(tokens, edit={"mlp.0/write": keep("before")})
    net.run(tokens, edit={"mlp.0": shifted, "mlp.0/write": keep("after")})
    moved = kept["after"] - kept["before"]
    expected = 2 * net.dictionaries["mlp.0"].rows[3]
    expected[1] -= 1
    torch.testing.assert_close(moved, expected.expand_as(moved), rtol=0, atol=1e-10)


def test_units_and_their_names():
    net = with_features(tiny_network("llama"), {"mlp.1": "write"}, n_features=3)
    site = net.architecture.site("mlp.1")
    assert (site.n_units, site.n_features, site.has_error) == (3 + 24, 3, True)
    part = Partition.units(net)
    assert part.part_names("mlp.1") == ("feature.0", "feature.1", "feature.2", "error")
    assert part.part_sizes("mlp.1").tolist() == [1, 1, 1, 24]
    assert "mlp.1/feature.2" in part.node_names and "mlp.1/error" in part.node_names
    assert Partition.modules(net).part_names("mlp.1") == ("",)
    full = attach(tiny_network("llama"), {"mlp.1": identity(36), "attn.0": identity(24)})
    assert Partition.units(full).part_names("mlp.1")[-1] == "feature.35"
    assert not full.architecture.site("mlp.1").has_error
    assert Partition.heads(full).part_names("attn.0") == ("",)  # features belong to no head
    again = Architecture.from_dict(net.architecture.to_dict())
    assert again == net.architecture
    assert "n_features" not in str(net.inner.architecture.to_dict())


def test_the_error_is_one_unit():
    net = with_features(tiny_network("llama"), {"mlp.1": "write"}, n_features=3)
    labels = dict(Partition.units(net).labels)
    labels["mlp.1"] = np.append(labels["mlp.1"][:-1], 2)
    with pytest.raises(GraphError, match=r"the error of 'mlp\.1' is one unit"):
        Partition.from_labels(labels).check_causal(net)


def test_digest_sees_network_and_dictionaries():
    plain = tiny_network("llama")
    digests = {with_features(plain, {"mlp.0": "write"}, n_features=k).digest for k in (3, 4)}
    digests |= {plain.digest, with_features(plain, {"mlp.1": "write"}, n_features=3).digest}
    assert len(digests) == 4
    assert with_features(plain, {"mlp.0": "write"}, n_features=3).digest in digests


def test_precision_follows_the_network():
    one = tiny_dictionary(tiny_network("gpt2", dtype=torch.float64), "mlp.0")
    net = attach(tiny_network("gpt2"), {"mlp.0": one})
    assert net.run(tiny_tokens(1, 3), capture=["mlp.0"]).units["mlp.0"].dtype == torch.float32


def test_what_does_not_fit_is_refused():
    net = tiny_network("gpt2", dtype=torch.float64)
    one = tiny_dictionary(net, "mlp.0")
    with pytest.raises(ModelError, match=r"no dictionary can be at site 'embed'; it can be at attn\.0, mlp\.0"):
        attach(net, {"embed": one})
    with pytest.raises(ModelError, match=r"mlp\.0: its hidden space has width 96, but the dictionary's is 24"):
        attach(net, {"mlp.0": dataclasses.replace(one, space="hidden")})
    with pytest.raises(ModelError, match=r"mlp\.1: the dictionary was fitted at 'mlp\.0'"):
        attach(net, {"mlp.1": dataclasses.replace(one, site="mlp.0")})
    with pytest.raises(ModelError, match="fitted on the model sha256:0, and this is another"):
        attach(net, {"mlp.0": dataclasses.replace(one, model="sha256:0")})
    with pytest.raises(ModelError, match="no dictionaries to attach"):
        attach(net, {})
    with pytest.raises(ModelError, match=r"has dictionaries at mlp\.0 already"):
        attach(attach(net, {"mlp.0": one}), {"mlp.1": one})
    with pytest.raises(ModelError, match="dictionaries serve transformers; this is a sequential"):
        attach(chain(), {"linear.0": one})
    gemma = tiny_network("gemma2", dtype=torch.float64)
    biased = dataclasses.replace(tiny_dictionary(gemma, "mlp.0", "hidden"), bias=torch.ones(36).double())
    with pytest.raises(ModelError, match=r"mlp\.0: behind a post-norm"):
        attach(gemma, {"mlp.0": biased})
