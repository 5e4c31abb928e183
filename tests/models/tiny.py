"""Small random Hugging Face models of every family, lively enough that a mistake shows.

`transformers` initialises weights so small that attention is almost uniform and norms do nothing: an engine
that forgot a gain or a bias would still agree. Here gains differ from 1, biases from 0, attention is peaked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from compgraph.models.parameters import from_transformers
from compgraph.models.transformer import Transformer

VOCABULARY = 41

_GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32}
_NEOX = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
_LLAMA = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 36,
    "max_position_embeddings": 64,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
_YARN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 16}
_QWEN_WINDOW = {
    "num_hidden_layers": 3,
    "use_sliding_window": True,
    "sliding_window": 4,
    "max_window_layers": 1,
}
_GEMMA = _LLAMA | {
    "num_hidden_layers": 3,
    "head_dim": 8,
    "query_pre_attn_scalar": 20,
    "sliding_window": 5,
    "attn_logit_softcapping": 3.0,
    "final_logit_softcapping": 6.0,
}

VARIANTS: dict[str, tuple[str, dict]] = {
    "gpt2": ("gpt2", _GPT2),
    "gpt2-untied": (
        "gpt2",
        _GPT2 | {"tie_word_embeddings": False, "n_inner": 20, "activation_function": "relu"},
    ),
    "gpt2-inverse-layer": (
        "gpt2",
        _GPT2 | {"n_layer": 3, "scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
    ),
    "gpt2-unscaled": (
        "gpt2",
        _GPT2 | {"scale_attn_weights": False, "activation_function": "gelu", "layer_norm_epsilon": 0.01},
    ),
    "neox": ("gpt_neox", _NEOX | {"rotary_pct": 0.25}),
    "neox-sequential": (
        "gpt_neox",
        _NEOX | {"use_parallel_residual": False, "rotary_pct": 1.0, "tie_word_embeddings": True},
    ),
    "neox-bare": (
        "gpt_neox",
        _NEOX | {"attention_bias": False, "rotary_pct": 0.5, "rotary_emb_base": 50, "hidden_act": "gelu_new"},
    ),
    "neox-linear": (
        "gpt_neox",
        _NEOX | {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}},
    ),
    "llama": ("llama", _LLAMA),
    "llama-biases": (
        "llama",
        _LLAMA | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    ),
    "llama-wide-heads": (
        "llama",
        _LLAMA | {"head_dim": 10, "num_key_value_heads": 1, "hidden_act": "quick_gelu"},
    ),
    "llama-ungrouped": ("llama", _LLAMA | {"num_key_value_heads": 4, "rms_norm_eps": 0.01}),
    "llama-llama3": ("llama", _LLAMA | {"rope_parameters": _LLAMA3}),
    "llama-yarn": ("llama", _LLAMA | {"rope_parameters": _YARN}),
    "llama-proportional": (
        "llama",
        _LLAMA
        | {
            "rope_parameters": {"rope_type": "proportional", "rope_theta": 50.0, "partial_rotary_factor": 0.5}
        },
    ),
    "mistral": ("mistral", _LLAMA | {"sliding_window": 5, "head_dim": 8}),
    "mistral-full": ("mistral", _LLAMA | {"sliding_window": None, "hidden_act": "gelu_pytorch_tanh"}),
    "qwen2": ("qwen2", _LLAMA | {"tie_word_embeddings": True}),
    "qwen2-window": ("qwen2", _LLAMA | _QWEN_WINDOW),
    "qwen2-layer-types": (
        "qwen2",
        _LLAMA
        | {
            "use_sliding_window": True,
            "sliding_window": 3,
            "layer_types": ["sliding_attention", "full_attention"],
            "head_dim": 8,
        },
    ),
    "qwen3": ("qwen3", _LLAMA | {"head_dim": 10, "tie_word_embeddings": True}),
    "qwen3-window": ("qwen3", _LLAMA | _QWEN_WINDOW | {"head_dim": 8, "attention_bias": True}),
    "gemma2": ("gemma2", _GEMMA),
    "gemma2-plain": (
        "gemma2",
        _GEMMA
        | {
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "attention_bias": True,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "tie_word_embeddings": False,
        },
    ),
}
"""Name -> (model_type, configuration fields)."""

ONE_PER_FAMILY = ("gpt2", "neox", "llama", "mistral", "qwen2", "qwen3", "gemma2")


def tiny_config(variant: str, **overrides):
    """The configuration of a variant, with fields replaced."""
    from transformers import AutoConfig

    model_type, fields = VARIANTS[variant]
    settings = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    return AutoConfig.for_model(model_type, **(settings | fields | overrides))


def tiny_model(variant: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **overrides):
    """A `transformers` model of the variant with lively weights and eager attention, ready for evaluation."""
    from transformers import AutoModelForCausalLM

    config = tiny_config(variant, **overrides)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=dtype).eval()
    enliven(model, seed)
    return model


def tiny_network(
    variant: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **overrides
) -> Transformer:
    """The engine's network of the same weights as `tiny_model` with these arguments."""
    return Transformer(*from_transformers(tiny_model(variant, seed=seed, dtype=dtype, **overrides)))


def save_tiny(folder: Path, variant: str = "llama", *, seed: int = 0, **overrides) -> Path:
    """Save `tiny_model` as a Hugging Face folder (safetensors, no tokenizer)."""
    tiny_model(variant, seed=seed, **overrides).save_pretrained(folder)
    return folder


def enliven(model, seed: int) -> None:
    """Replace all weights: gains around 1, biases around 0, scores and logits of order one or more."""
    generator = torch.Generator().manual_seed(seed)
    gain = 0.0 if model.config.model_type == "gemma2" else 1.0
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if parameter.ndim == 1:
            value = 0.3 * noise + (gain if name.endswith("weight") else 0.0)
        elif any(part in name for part in ("wte", "wpe", "embed_")):
            value = noise
        else:
            fan_in = parameter.shape[0 if model.config.model_type == "gpt2" and "lm_head" not in name else 1]
            value = 1.5 * noise / fan_in**0.5
        with torch.no_grad():
            parameter.copy_(value)


def tiny_tokens(n: int, time: int, seed: int = 0, vocabulary: int = VOCABULARY) -> Tensor:
    """Random token ids [n, time]."""
    return torch.randint(0, vocabulary, (n, time), generator=torch.Generator().manual_seed(seed))


def tiny_mask(lengths: list[int], time: int, side: str) -> Tensor:
    """Mask [len(lengths), time], True for real tokens, padded on the `left` or `right`."""
    index = torch.arange(time)[None]
    length = torch.tensor(lengths)[:, None]
    return index >= time - length if side == "left" else index < length


def reference_inputs(tokens: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """Arguments of a `transformers` forward pass as its `generate` would make them."""
    if mask is None:
        return {"input_ids": tokens}
    position_ids = (mask.long().cumsum(-1) - 1).masked_fill(~mask, 0)
    return {"input_ids": tokens, "attention_mask": mask.long(), "position_ids": position_ids}


class _WideTorch:
    """The `torch` module, but its float32 is float64."""

    float = float32 = torch.float64

    def __getattr__(self, name: str):
        return getattr(torch, name)


@contextlib.contextmanager
def without_float32_islands(model) -> Iterator[None]:
    """Let a float64 `transformers` model compute in float64 throughout.

    Its norms, its softmax and its rotary tables are float32 whatever the model's dtype (`.to(torch.float32)`,
    `softmax(dtype=torch.float32)`, `.float()`), which limits agreement to 1e-7; inside, these names mean
    float64. The rotary frequencies themselves stay the float32 numbers they are in both implementations.
    """
    import sys

    module = sys.modules[type(model).__module__]
    with mock.patch.object(module, "torch", _WideTorch()), mock.patch.object(Tensor, "float", Tensor.double):
        yield
