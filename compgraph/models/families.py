"""Hugging Face transformers as data: which configuration field and which parameter is what, per family.

A `Family` says where a family keeps things (names of parameters, layout of its matrices, names of
configuration fields); `spec_of` turns a configuration into a `TransformerSpec`,
`compgraph.models.parameters` a loaded model's parameters into `Weights`. What the engine cannot compute is
refused here, by field and value. A new family is one more entry of `FAMILIES`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from compgraph.errors import ModelError
from compgraph.models.spec import TransformerSpec

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

ACTIVATION_NAMES = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}
"""Name in a configuration -> name in `compgraph.models.transformer.ACTIVATIONS`."""

STATIC_ROPE = ("default", "linear", "llama3", "proportional", "yarn")
"""Kinds of rotary embedding whose frequencies do not depend on the length of the sequence."""


# ---------------------------------------------------------------- configuration: the few rules that differ


def _uniform_scale(config: PreTrainedConfig) -> tuple[float, ...]:
    return (float(_d_head(config) ** -0.5),) * int(config.num_hidden_layers)


def _gpt2_scale(config: PreTrainedConfig) -> tuple[float, ...]:
    scale = _d_head(config) ** -0.5 if config.scale_attn_weights else 1.0
    by_layer = config.scale_attn_by_inverse_layer_idx
    return tuple(scale / (layer + 1) if by_layer else scale for layer in range(config.num_hidden_layers))


def _scalar_scale(config: PreTrainedConfig) -> tuple[float, ...]:
    return (float(config.query_pre_attn_scalar**-0.5),) * int(config.num_hidden_layers)


def _no_windows(config: PreTrainedConfig) -> tuple[int | None, ...]:
    return (None,) * int(config.num_hidden_layers)


def _same_window(config: PreTrainedConfig) -> tuple[int | None, ...]:
    return (config.sliding_window,) * int(config.num_hidden_layers)


def _windows_by_type(config: PreTrainedConfig) -> tuple[int | None, ...]:
    kinds = tuple(config.layer_types)
    if len(kinds) != config.num_hidden_layers:
        raise ModelError(
            f"config.json: layer_types names {len(kinds)} layers, but num_hidden_layers is "
            f"{config.num_hidden_layers}; the two must agree."
        )
    sliding = {"full_attention": None, "sliding_attention": config.sliding_window}
    for kind in kinds:
        if kind not in sliding:
            raise ModelError(
                f"config.json: layer_types holds {kind!r}; valid are full_attention and sliding_attention."
            )
        if kind == "sliding_attention" and config.sliding_window is None:
            raise ModelError(
                "config.json: layer_types holds 'sliding_attention', but sliding_window is null (or switched "
                "off by use_sliding_window); it must be a positive number."
            )
    return tuple(sliding[kind] for kind in kinds)


def _d_head(config: PreTrainedConfig) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


# ---------------------------------------------------------------- families


@dataclass(frozen=True)
class Family:
    """Where one family keeps its configuration and its parameters.

    Attributes
    ----------
    model_type
        `model_type` in config.json.
    title
        What people call it.
    names
        Role -> name of the module below the base model; `{}` stands for the layer. Its `.weight` is used, and
        its `.bias` where it has one.
    fields
        `d_mlp`, `norm_eps`, `activation` -> name of the configuration field.
    norm
        Kind of its norms.
    gain_offset
        What is added to the stored gain (Gemma: 1).
    layout
        `linear`: matrices are [out, in]; `conv1d`: [in, out].
    fused
        How queries, keys and values lie in one matrix: side by side, interleaved per head, or not at all.
    scale, windows
        Configuration -> factor on attention scores, and sliding window, per layer.
    partial_rotary
        Whether `rope_parameters.partial_rotary_factor` counts.
    embed_scale
        Whether token embeddings are multiplied by the root of the width.
    refused
        Configuration field -> the values that the engine can compute.
    """

    model_type: str
    title: str
    names: Mapping[str, str]
    fields: Mapping[str, str]
    norm: Literal["layer", "rms"] = "rms"
    gain_offset: float = 0.0
    layout: Literal["linear", "conv1d"] = "linear"
    fused: Literal["no", "side by side", "interleaved"] = "no"
    scale: Callable[[PreTrainedConfig], tuple[float, ...]] = _uniform_scale
    windows: Callable[[PreTrainedConfig], tuple[int | None, ...]] = _no_windows
    rotary: bool = True
    partial_rotary: bool = False
    embed_scale: bool = False
    refused: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


_LLAMA_NAMES = {
    "embedding": "embed_tokens",
    "final_norm": "norm",
    "attn_norm": "layers.{}.input_layernorm",
    "mlp_norm": "layers.{}.post_attention_layernorm",
    "q": "layers.{}.self_attn.q_proj",
    "k": "layers.{}.self_attn.k_proj",
    "v": "layers.{}.self_attn.v_proj",
    "o": "layers.{}.self_attn.o_proj",
    "gate": "layers.{}.mlp.gate_proj",
    "in": "layers.{}.mlp.up_proj",
    "out": "layers.{}.mlp.down_proj",
}
_LLAMA_FIELDS = {"d_mlp": "intermediate_size", "norm_eps": "rms_norm_eps", "activation": "hidden_act"}

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        Family(
            "gpt2",
            "GPT-2",
            names={
                "embedding": "wte",
                "positions": "wpe",
                "final_norm": "ln_f",
                "attn_norm": "h.{}.ln_1",
                "mlp_norm": "h.{}.ln_2",
                "qkv": "h.{}.attn.c_attn",
                "o": "h.{}.attn.c_proj",
                "in": "h.{}.mlp.c_fc",
                "out": "h.{}.mlp.c_proj",
            },
            fields={
                "d_mlp": "n_inner",
                "norm_eps": "layer_norm_epsilon",
                "activation": "activation_function",
            },
            norm="layer",
            layout="conv1d",
            fused="side by side",
            scale=_gpt2_scale,
            rotary=False,
            refused={"add_cross_attention": (False,), "head_dim": (None,)},
        ),
        Family(
            "gpt_neox",
            "GPT-NeoX (Pythia)",
            names={
                "embedding": "embed_in",
                "final_norm": "final_layer_norm",
                "attn_norm": "layers.{}.input_layernorm",
                "mlp_norm": "layers.{}.post_attention_layernorm",
                "qkv": "layers.{}.attention.query_key_value",
                "o": "layers.{}.attention.dense",
                "in": "layers.{}.mlp.dense_h_to_4h",
                "out": "layers.{}.mlp.dense_4h_to_h",
            },
            fields={"d_mlp": "intermediate_size", "norm_eps": "layer_norm_eps", "activation": "hidden_act"},
            norm="layer",
            fused="interleaved",
            partial_rotary=True,
            refused={"head_dim": (None,)},
        ),
        Family("llama", "Llama", _LLAMA_NAMES, _LLAMA_FIELDS),
        Family("mistral", "Mistral", _LLAMA_NAMES, _LLAMA_FIELDS, windows=_same_window),
        Family("qwen2", "Qwen2", _LLAMA_NAMES, _LLAMA_FIELDS, windows=_windows_by_type),
        Family(
            "qwen3",
            "Qwen3",
            _LLAMA_NAMES | {"q_norm": "layers.{}.self_attn.q_norm", "k_norm": "layers.{}.self_attn.k_norm"},
            _LLAMA_FIELDS,
            windows=_windows_by_type,
        ),
        Family(
            "gemma2",
            "Gemma-2",
            _LLAMA_NAMES
            | {
                "attn_post_norm": "layers.{}.post_attention_layernorm",
                "mlp_norm": "layers.{}.pre_feedforward_layernorm",
                "mlp_post_norm": "layers.{}.post_feedforward_layernorm",
            },
            _LLAMA_FIELDS | {"activation": "hidden_activation"},
            gain_offset=1.0,
            scale=_scalar_scale,
            windows=_windows_by_type,
            embed_scale=True,
            refused={"use_bidirectional_attention": (None, False)},
        ),
    )
}
"""`model_type` -> family."""


def find_family(model_type: Any) -> Family:
    """The family of a `model_type`; ModelError names those there are, and the nearest."""
    if isinstance(model_type, str) and model_type in FAMILIES:
        return FAMILIES[model_type]
    near = difflib.get_close_matches(str(model_type).lower(), FAMILIES, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ModelError(
        f"config.json: model_type is {model_type!r}, a family that compgraph does not know{hint}; "
        f"known are {', '.join(FAMILIES)}."
    )


# ---------------------------------------------------------------- configuration -> spec


def spec_of(config: PreTrainedConfig) -> TransformerSpec:
    """What the engine needs to know of a configuration.

    Raises
    ------
    ModelError
        For an unknown family, and for each option that the engine cannot compute, by field and value.
    """
    family = find_family(config.model_type)
    for name, valid in family.refused.items():
        if getattr(config, name, valid[0]) not in valid:
            _refuse(name, getattr(config, name), " or ".join(str(value) for value in valid))
    if getattr(config, "quantization_config", None) is not None:
        _refuse("quantization_config", "set", "a checkpoint without quantisation")
    heads = config.num_attention_heads
    groups = getattr(config, "num_key_value_heads", None) or heads
    if heads % groups:
        _refuse("num_key_value_heads", groups, f"a divisor of num_attention_heads ({heads})")
    windows = family.windows(config)
    for window in windows:
        if window is not None and window < 1:
            _refuse("sliding_window", window, "null or a positive number")
    frequencies, rotary_scale = rotary_frequencies(config)
    d_model = config.hidden_size
    return TransformerSpec(
        family=family.model_type,
        n_layers=config.num_hidden_layers,
        n_heads=heads,
        n_kv_heads=groups,
        d_model=d_model,
        d_head=_d_head(config),
        d_mlp=getattr(config, family.fields["d_mlp"]) or 4 * d_model,
        vocabulary=config.vocab_size,
        max_positions=config.max_position_embeddings,
        norm=family.norm,
        norm_eps=getattr(config, family.fields["norm_eps"]),
        parallel=bool(getattr(config, "use_parallel_residual", False)),
        attn_scale=family.scale(config),
        rotary_dim=0 if frequencies is None else 2 * len(frequencies),
        rotary_scale=rotary_scale,
        windows=windows,
        attn_softcap=getattr(config, "attn_logit_softcapping", None),
        logit_softcap=getattr(config, "final_logit_softcapping", None),
        embed_scale=d_model**0.5 if family.embed_scale else 1.0,
        activation=_activation(config, family),
        gated="gate" in family.names,
        post_norms="attn_post_norm" in family.names,
    )


def _activation(config: PreTrainedConfig, family: Family) -> str:
    name = getattr(config, family.fields["activation"])
    if name not in ACTIVATION_NAMES:
        _refuse(family.fields["activation"], name, "one of " + ", ".join(ACTIVATION_NAMES))
    return ACTIVATION_NAMES[name]


def rotary_frequencies(config: PreTrainedConfig) -> tuple[Tensor | None, float]:
    """Rotary inverse frequencies [rotary_dim / 2] (float32) and the factor on cosine and sine.

    As `transformers` computes them, to the bit; (None, 1) for families without rotary embedding.
    """
    family = find_family(config.model_type)
    if not family.rotary:
        return None, 1.0
    rope = config.rope_parameters
    kind, partial = rope.get("rope_type"), rope.get("partial_rotary_factor", 1.0)
    if kind not in STATIC_ROPE:
        why = " (it changes with the length of the input)" if kind in ("dynamic", "longrope") else ""
        _refuse("rope_parameters.rope_type", f"{kind}{why}", "one of " + ", ".join(STATIC_ROPE))
    if kind != "default":
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        frequencies, scale = ROPE_INIT_FUNCTIONS[kind](config)
    else:
        width = int(_d_head(config) * (partial if family.partial_rotary else 1.0))
        exponents = torch.arange(0, width, 2, dtype=torch.float32) / width
        frequencies, scale = 1.0 / (rope["rope_theta"] ** exponents), 1.0
    if not family.partial_rotary and 2 * len(frequencies) != _d_head(config):
        _refuse("rope_parameters.partial_rotary_factor", partial, f"1 for {family.title}")
    return frequencies, float(scale)


def _refuse(name: str, value: object, valid: str) -> None:
    raise ModelError(f"config.json: {name} is {value}, which compgraph cannot compute; valid is {valid}.")
