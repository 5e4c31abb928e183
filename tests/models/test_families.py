"""The engine against `transformers`, for every family."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from compgraph.errors import ModelError
from compgraph.models.families import FAMILIES, rotary_frequencies, spec_of
from compgraph.models.parameters import from_transformers
from compgraph.models.transformer import ACTIVATIONS, Transformer
from tests.models.tiny import (
    ONE_PER_FAMILY,
    VARIANTS,
    reference_inputs,
    tiny_config,
    tiny_mask,
    tiny_model,
    tiny_network,
    tiny_tokens,
    without_float32_islands,
)

TIME = 16
MASKS = {
    "full": None,
    "left": tiny_mask([16, 9, 3], TIME, "left"),
    "right": tiny_mask([11, 16, 1], TIME, "right"),
}


def reference(model, tokens: Tensor, mask: Tensor | None) -> Tensor:
    with torch.no_grad():
        return model(**reference_inputs(tokens, mask)).logits


def difference(ours: Tensor, theirs: Tensor, mask: Tensor | None) -> float:
    """Largest difference on real tokens."""
    gap = (ours - theirs).abs().amax(-1)
    return float(gap.max() if mask is None else gap[mask].max())


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_agree_in_float32(variant):
    model = tiny_model(variant)
    net = Transformer(*from_transformers(model))
    tokens = tiny_tokens(3, TIME)
    for name, mask in MASKS.items():
        theirs = reference(model, tokens, mask)
        with torch.no_grad():
            ours = net.run(tokens, mask).logits
        assert ours.dtype == torch.float32
        assert difference(ours, theirs, mask) < 1e-4, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_agree_in_float64(variant):
    model = tiny_model(variant, dtype=torch.float64)
    net = Transformer(*from_transformers(model))
    tokens = tiny_tokens(3, TIME)
    for name, mask in MASKS.items():
        with without_float32_islands(model):
            theirs = reference(model, tokens, mask)
        with torch.no_grad():
            ours = net.run(tokens, mask).logits
        assert ours.dtype == theirs.dtype == torch.float64
        assert difference(ours, theirs, mask) < 1e-10, name


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_tiny_models_are_lively(variant):
    """Agreement means something only where tokens, context and padding matter."""
    model = tiny_model(variant)
    tokens = tiny_tokens(3, TIME)
    logits = reference(model, tokens, None)
    assert logits.std(1).mean() > 0.3
    changed = tokens.clone()
    changed[:, -3] = (changed[:, -3] + 1) % 7
    assert (reference(model, changed, None) - logits)[:, -1].abs().max() > 0.02
    with torch.no_grad():
        pattern = model(tokens, output_attentions=True).attentions[-1]
    assert pattern[:, :, -1].max() > 0.3


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_half_precision_stays_near(variant):
    """bfloat16 keeps 8 bits, and rounds in another order than `transformers`: only nearness can be asked."""
    model = tiny_model(variant, dtype=torch.bfloat16)
    net = Transformer(*from_transformers(model))
    tokens = tiny_tokens(3, TIME)
    exact = reference(tiny_model(variant), tokens, None)
    with torch.no_grad():
        ours = net.run(tokens).logits
    assert ours.dtype == torch.bfloat16
    error = (ours.float() - exact).pow(2).mean().sqrt()
    error_of_theirs = (reference(model, tokens, None).float() - exact).pow(2).mean().sqrt()
    assert error < 1.5 * error_of_theirs + 0.01


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_logits_at_positions(variant):
    net = tiny_network(variant)
    tokens, positions = tiny_tokens(3, TIME), torch.tensor([15, 7, 0])
    with torch.no_grad():
        every = net.run(tokens, MASKS["right"]).logits
        some = net.run(tokens, MASKS["right"], positions=positions).logits
    assert some.shape == (3, net.spec.vocabulary)
    torch.testing.assert_close(some, every[torch.arange(3), positions], atol=1e-5, rtol=0)


def blocks_of(model) -> torch.nn.ModuleList:
    base = model.base_model
    return base.h if hasattr(base, "h") else base.layers


def record(model, tokens: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """What `transformers` computes at the engine's sites: inputs of output projections, outputs of blocks."""
    kept: dict[str, Tensor] = {}

    def keep_input(name):
        return lambda module, args: kept.__setitem__(name, args[0])

    def keep_output(name):
        return lambda module, args, output: kept.__setitem__(name, output)

    names = FAMILIES[model.config.model_type].names
    get, hooks = model.base_model.get_submodule, []
    hooks.append(get(names["embedding"]).register_forward_hook(keep_output("embed")))
    for layer, block in enumerate(blocks_of(model)):
        out = get(names["o"].format(layer)).register_forward_pre_hook(keep_input(f"attn.{layer}"))
        down = get(names["out"].format(layer)).register_forward_pre_hook(keep_input(f"mlp.{layer}"))
        hooks += [out, down, block.register_forward_hook(keep_output(f"resid.{layer}"))]
    kept["logits"] = reference(model, tokens, mask)
    for hook in hooks:
        hook.remove()
    return kept


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("variant", VARIANTS)
def test_units_are_those_of_transformers(variant, mask):
    model = tiny_model(variant, dtype=torch.float64)
    net = Transformer(*from_transformers(model))
    tokens = tiny_tokens(3, TIME)
    with without_float32_islands(model):
        theirs = record(model, tokens, mask)
    sites = [site.name for site in net.architecture.sites]
    assert set(sites) == set(theirs)
    with torch.no_grad():
        ours = net.run(tokens, mask, capture=sites).units
    for site in net.architecture.sites:
        assert ours[site.name].shape == (3, TIME, site.n_units)
        assert difference(ours[site.name], theirs[site.name], mask) < 1e-10, site.name


@pytest.mark.parametrize("variant", VARIANTS)
def test_writes_add_up_to_the_stream(variant):
    """embed + positions + sum of writes = resid.l, with the writes made of captured units alone."""
    net = tiny_network(variant, dtype=torch.float64)
    tokens, mask = tiny_tokens(3, TIME), MASKS["left"]
    sites = [site.name for site in net.architecture.sites]
    with torch.no_grad():
        units = net.run(tokens, mask, capture=sites).units
        stream = net.add_positions(units["embed"], net.context(tokens, mask))
        for layer in range(net.spec.n_layers):
            stream = stream + net.write(f"attn.{layer}", units[f"attn.{layer}"])
            stream = stream + net.write(f"mlp.{layer}", units[f"mlp.{layer}"])
            torch.testing.assert_close(units[f"resid.{layer}"], stream, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(units["logits"], net.logits(net.read_logits(stream).pre[""]))


@pytest.mark.parametrize("variant", [name for name, (family, _) in VARIANTS.items() if family != "gpt2"])
def test_rotary_frequencies_are_those_of_transformers(variant):
    model = tiny_model(variant)
    frequencies, scale = rotary_frequencies(model.config)
    assert torch.equal(frequencies, model.base_model.rotary_emb.inv_freq)
    assert scale == model.base_model.rotary_emb.attention_scaling


def test_every_activation_is_computed_as_named():
    from transformers.activations import ACT2FN

    from compgraph.models.families import ACTIVATION_NAMES

    x = torch.linspace(-6, 6, 401, dtype=torch.float64)
    for theirs, ours in ACTIVATION_NAMES.items():
        torch.testing.assert_close(ACTIVATIONS[ours](x), ACT2FN[theirs](x), atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("variant", "fields", "words"),
    [
        ("llama", {"hidden_act": "mish"}, ["hidden_act", "mish", "gelu_pytorch_tanh", "silu"]),
        ("gpt2", {"activation_function": "tanh"}, ["activation_function", "tanh", "relu"]),
        ("gpt2", {"add_cross_attention": True}, ["add_cross_attention", "True", "False"]),
        ("gemma2", {"use_bidirectional_attention": True}, ["use_bidirectional_attention", "True"]),
        ("neox", {"head_dim": 16}, ["head_dim", "16", "None"]),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}},
            ["rope_type", "dynamic", "yarn"],
        ),
        (
            "llama",
            {
                "rope_parameters": {
                    "rope_type": "longrope",
                    "rope_theta": 100.0,
                    "short_factor": [1.0] * 3,
                    "long_factor": [2.0] * 3,
                    "original_max_position_embeddings": 8,
                    "factor": 2.0,
                }
            },
            ["rope_type", "longrope", "length of the input", "default"],
        ),
        (
            "llama",
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}},
            ["partial_rotary_factor", "0.5"],
        ),
        (
            "qwen2",
            {"layer_types": ["full_attention", "linear_attention"]},
            ["layer_types", "linear_attention"],
        ),
        ("qwen2", {"layer_types": ["full_attention", "sliding_attention"]}, ["sliding_window", "null"]),
        ("llama", {"num_key_value_heads": 3}, ["num_key_value_heads", "3", "divisor", "4"]),
        ("mistral", {"sliding_window": 0}, ["sliding_window", "0", "positive"]),
        ("llama", {"quantization_config": {"quant_method": "gptq"}}, ["quantization_config"]),
    ],
)
def test_what_the_engine_cannot_compute_is_refused(variant, fields, words):
    with pytest.raises(ModelError) as caught:
        spec_of(tiny_config(variant, **fields))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_family_names_the_nearest():
    from transformers import AutoConfig

    with pytest.raises(ModelError, match=r"'mixtral'.*did you mean mistral.*gpt2, gpt_neox, llama"):
        spec_of(AutoConfig.for_model("mixtral"))


def test_inputs_longer_than_learned_positions_are_refused():
    net = tiny_network("gpt2", n_positions=8)
    net.run(tiny_tokens(1, 8))
    with pytest.raises(ModelError, match=r"9 tokens.*8"):
        net.run(tiny_tokens(1, 9))
    padded = tiny_mask([8], 9, "left")
    assert net.run(tiny_tokens(1, 9), padded).logits.isfinite().all()
