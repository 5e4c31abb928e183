"""Parameters of nodes, counted by hand."""

from __future__ import annotations

import pytest

from compgraph.models.size import n_parameters, site_parameters
from tests.connectivity.effective.feature_brute import with_features
from tests.connectivity.effective.test_eap import chain
from tests.models.tiny import tiny_network


def counts(net, *more):
    return site_parameters(net, [*(site.name for site in net.architecture.node_sites), *more])


def test_gpt2():
    attn, mlp = 24 * 72 + 72 + 24 * 24, 24 * 96 + 96 + 96 * 24
    found = counts(tiny_network("gpt2"))
    assert found == {"embed": 0, "attn.0": attn, "mlp.0": mlp, "attn.1": attn, "mlp.1": mlp, "logits": 0}


def test_llama_with_shared_keys_and_patterns_apart():
    qk, vo, mlp = 24 * 24 + 24 * 12, 24 * 12 + 24 * 24, 3 * 24 * 36
    net = tiny_network("llama")
    found = counts(net)
    assert found["attn.0"] == qk + vo and found["mlp.1"] == mlp
    apart = counts(net, "attn.0.pattern")
    assert apart.pop("attn.0.pattern") == qk and apart.pop("attn.0") == vo
    assert apart.items() < found.items()


def test_chain():
    net = chain()
    found = counts(net)
    assert found == {"input": 0, "conv.0": 4 * 9 + 4, "conv.1": 3 * 4 * 9 + 3, "linear.0": 65, "logits": 18}
    assert sum(found.values()) == n_parameters(net)


def test_a_dictionary_changes_nothing_and_other_networks_are_refused():
    net = tiny_network("gpt2")
    assert counts(with_features(net, {"mlp.0": "hidden", "attn.1": "write"})) == counts(net)
    with pytest.raises(TypeError, match="size of a str"):
        site_parameters("net", [])
