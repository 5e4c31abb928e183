"""Weights as views of a `transformers` model; that they are right, test_families.py shows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from compgraph.models.parameters import checkpoint_names, from_transformers
from compgraph.models.transformer import Transformer
from tests.models.tiny import VARIANTS, tiny_model, tiny_tokens


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_views_where_the_layout_allows(variant):
    model = tiny_model(variant)
    spec, weights = from_transformers(model)
    owned = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def shared(tensor: Tensor | None) -> bool:
        return tensor is None or tensor.untyped_storage().data_ptr() in owned

    copies = {
        f"{part}"
        for block in weights.blocks
        for part in ("w_q", "b_q", "w_k", "b_k", "w_v", "b_v", "w_o", "w_in", "w_gate", "w_out")
        if not shared(getattr(block, part))
    }
    assert copies == ({"w_q", "w_k", "w_v"} if spec.family == "gpt_neox" else set())
    assert shared(weights.embedding) and shared(weights.unembedding)
    assert shared(weights.final_norm.gain) == (spec.family != "gemma2")
    tied = weights.embedding.data_ptr() == weights.unembedding.data_ptr()
    assert tied == model.config.tie_word_embeddings
    assert not any(tensor.requires_grad for tensor in (weights.embedding, weights.blocks[0].w_q))


@pytest.mark.parametrize("variant", VARIANTS)
def test_readers_are_read_without_a_copy(variant):
    """`Transformer.project` reshapes readers; that must be free."""
    _, weights = from_transformers(tiny_model(variant))
    for reader in (weights.blocks[0].w_q, weights.blocks[0].w_k, weights.blocks[0].w_v):
        matrix = reader.transpose(0, 1).reshape(reader.shape[1], -1)
        assert matrix.data_ptr() == reader.data_ptr()


def test_changes_of_the_model_show():
    model = tiny_model("llama")
    net = Transformer(*from_transformers(model))
    tokens = tiny_tokens(1, 6)
    before = net.run(tokens).logits
    with torch.no_grad():
        model.model.layers[0].self_attn.v_proj.weight.mul_(2)
        torch.testing.assert_close(net.run(tokens).logits, model(tokens).logits)
    assert (net.run(tokens).logits - before).abs().max() > 0.1


def test_names_in_checkpoints():
    gpt2, neox = tiny_model("gpt2"), tiny_model("neox")
    names = [
        "h.0.attn.c_attn.bias",
        "h.0.attn.bias",
        "transformer.wte.weight",
        "h.0.attn.masked_bias",
        "extra",
    ]
    assert checkpoint_names(gpt2, names) == {
        "h.0.attn.c_attn.bias": "transformer.h.0.attn.c_attn.bias",
        "transformer.wte.weight": "transformer.wte.weight",
        "extra": "extra",
    }
    names = ["embed_out.weight", "gpt_neox.layers.0.attention.bias", "gpt_neox.layers.0.attention.dense.bias"]
    assert checkpoint_names(neox, names) == {
        "embed_out.weight": "lm_head.weight",
        "gpt_neox.layers.0.attention.dense.bias": "gpt_neox.layers.0.attention.dense.bias",
    }
