"""Who reads whom, and the round trip through JSON."""

from __future__ import annotations

import json

import pytest

from compgraph.architecture import Architecture, transformer_architecture

SHAPE = dict(n_layers=2, n_heads=3, d_head=4, d_model=12, d_mlp=20, vocabulary=7)


def test_sequential_blocks_read_their_own_attention():
    a = transformer_architecture("gpt2", **SHAPE)
    assert a.reads["mlp.0"] == ("embed", "attn.0")
    assert a.reads["attn.1"] == ("embed", "attn.0", "mlp.0")
    assert a.reads["logits"] == ("embed", "attn.0", "mlp.0", "attn.1", "mlp.1")
    assert a.channels["attn.1"] == ("q", "k", "v") and a.channels["mlp.1"] == ("",)
    levels = [a.site(name).level for name in ("embed", "attn.0", "mlp.0", "attn.1", "mlp.1", "logits")]
    assert levels == sorted(set(levels))


def test_parallel_blocks_do_not():
    a = transformer_architecture("gpt_neox", parallel=True, **SHAPE)
    assert a.reads["mlp.0"] == ("embed",)
    assert a.reads["mlp.1"] == a.reads["attn.1"] == ("embed", "attn.0", "mlp.0")
    assert a.site("attn.1").level == a.site("mlp.1").level


def test_views_are_not_nodes_and_attention_only_has_no_mlp():
    a = transformer_architecture("gpt2", mlp=False, **SHAPE)
    assert [s.name for s in a.node_sites] == ["embed", "attn.0", "attn.1", "logits"]
    assert not a.site("resid.0").node
    assert a.site("attn.0").n_units == 12 and a.site("attn.0").n_heads == 3


def test_json_round_trip():
    a = transformer_architecture("llama", **SHAPE)
    assert Architecture.from_dict(json.loads(json.dumps(a.to_dict()))) == a


def test_unknown_site_lists_the_sites():
    with pytest.raises(KeyError, match=r"attn\.7.*embed, attn\.0"):
        transformer_architecture("gpt2", **SHAPE).site("attn.7")
