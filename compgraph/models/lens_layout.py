"""Small attention-only transformers saved in the layout of TransformerLens.

A folder holds `config.json` (n_layers, n_heads, d_model, d_head, d_vocab, n_ctx, attn_only) and one safetensors file a
checkpoint, with the tensors `embed.W_E`, `pos_embed.W_pos`, `blocks.0.attn.W_Q` and so on. Such models have no norms
and no MLPs, and mostly no tokenizer: their tokens are the words `0`, `1`, …
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compgraph.errors import ModelError
from compgraph.models.spec import BlockWeights, NormWeights, TransformerSpec, Weights
from compgraph.models.transformer import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FAMILY = "transformer_lens"
SIZES = ("n_layers", "n_heads", "d_model", "d_head", "d_vocab", "n_ctx")
VALID: Mapping[str, tuple[Any, ...]] = {
    "attn_only": (True,),
    "normalization_type": (None,),
    "attention_dir": ("causal",),
    "positional_embedding_type": ("standard",),
}
"""Fields of the configuration and the values that can be computed; the first where it is silent."""


def is_lens_layout(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is one of TransformerLens, not of `transformers`."""
    return "model_type" not in config and {"n_layers", "d_vocab"} <= set(config)


def load_lens(
    folder: Path, config: Mapping[str, Any], revision: str | None, device: torch.device, dtype: torch.dtype
) -> Transformer:
    """Open a model.

    Parameters
    ----------
    folder, config
        The folder and the content of its config.json.
    revision
        Name of the weights file without its ending; None or `main` for the only one.
    device, dtype
        Where and in what to compute.

    Raises
    ------
    ModelError
        A configuration that cannot be computed, no such file, or tensors that do not fit the configuration.
    """
    from safetensors.torch import load_file

    spec = _spec(folder, config)
    file = _file(folder, revision)
    tensors = load_file(file)
    _check(file, tensors, spec)
    digest = _digest(tensors, spec)
    weights = _weights({name: one.to(device, dtype) for name, one in tensors.items()}, spec)
    return Transformer(spec, weights, digest, open_tokenizer=lambda: number_tokenizer(spec.vocabulary))


def _spec(folder: Path, config: Mapping[str, Any]) -> TransformerSpec:
    for name, valid in VALID.items():
        if config.get(name, valid[0]) not in valid:
            listed = " or ".join(json.dumps(value) for value in valid)
            raise ModelError(f"{folder}/config.json: {name} is {json.dumps(config[name])}; it must be {listed}.")
    for name in SIZES:
        if not isinstance(config.get(name), int) or config[name] < 1:
            said = repr(config.get(name))
            raise ModelError(f"{folder}/config.json: {name} is {said}; it must be a whole number of at least 1.")
    layers = int(config["n_layers"])
    return TransformerSpec(
        family=FAMILY,
        n_layers=layers,
        n_heads=config["n_heads"],
        n_kv_heads=config["n_heads"],
        d_model=config["d_model"],
        d_head=config["d_head"],
        d_mlp=1,
        vocabulary=config["d_vocab"],
        max_positions=config["n_ctx"],
        norm="none",
        norm_eps=1e-5,
        parallel=False,
        attn_scale=(config["d_head"] ** -0.5,) * layers,
        rotary_dim=0,
        rotary_scale=1.0,
        windows=(None,) * layers,
        attn_softcap=None,
        logit_softcap=None,
        embed_scale=1.0,
        activation="relu",
        gated=False,
        post_norms=False,
        has_mlp=False,
    )


def _file(folder: Path, revision: str | None) -> Path:
    if revision not in (None, "main"):
        return folder / f"{revision}.safetensors"
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        names = ", ".join(file.stem for file in files) or "none"
        raise ModelError(f"{folder} holds {len(files)} checkpoints ({names}); name one of them as the revision.")
    return files[0]


def _shapes(spec: TransformerSpec) -> dict[str, tuple[int, ...]]:
    heads, width, head, words = spec.n_heads, spec.d_model, spec.d_head, spec.vocabulary
    shapes: dict[str, tuple[int, ...]] = {
        "embed.W_E": (words, width),
        "pos_embed.W_pos": (spec.max_positions, width),
        "unembed.W_U": (width, words),
        "unembed.b_U": (words,),
    }
    for layer in range(spec.n_layers):
        block = f"blocks.{layer}.attn."
        for name in "QKV":
            shapes |= {f"{block}W_{name}": (heads, width, head), f"{block}b_{name}": (heads, head)}
        shapes |= {f"{block}W_O": (heads, head, width), f"{block}b_O": (width,)}
    return shapes


def _check(file: Path, tensors: Mapping[str, Tensor], spec: TransformerSpec) -> None:
    expected = _shapes(spec)
    wrong = [f"{name} missing" for name in expected if name not in tensors]
    wrong += [f"{name} unexpected" for name in tensors if name not in expected]
    for name, tensor in tensors.items():
        if name in expected and tuple(tensor.shape) != expected[name]:
            wrong.append(f"{name} of shape {tuple(tensor.shape)} instead of {expected[name]}")
        elif not bool(torch.isfinite(tensor).all()):
            wrong.append(f"{name} holds values that are not finite")
    if wrong:
        raise ModelError(f"{file} does not fit config.json: {'; '.join(wrong[:5])}.")


def _digest(tensors: Mapping[str, Tensor], spec: TransformerSpec) -> str:
    state = hashlib.sha256(json.dumps(asdict(spec), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        state.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"sha256:{state.hexdigest()}"


def _weights(tensors: Mapping[str, Tensor], spec: TransformerSpec) -> Weights:
    def block(layer: int) -> BlockWeights:
        own = {name: tensors[f"blocks.{layer}.attn.{name}"] for name in
               ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O")}  # fmt: skip
        return BlockWeights(
            NormWeights(None), own["W_Q"], own["W_K"], own["W_V"], own["W_O"],
            b_q=own["b_Q"], b_k=own["b_K"], b_v=own["b_V"], b_o=own["b_O"],
        )  # fmt: skip

    return Weights(
        embedding=tensors["embed.W_E"],
        blocks=[block(layer) for layer in range(spec.n_layers)],
        final_norm=NormWeights(None),
        unembedding=tensors["unembed.W_U"].T.contiguous(),
        positions=tensors["pos_embed.W_pos"],
        logit_bias=tensors["unembed.b_U"],
    )


def number_tokenizer(n: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose word `7` is token 7, without a token that starts a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    unknown = "<unk>"
    tokenizer = Tokenizer(models.WordLevel({**{str(k): k for k in range(n)}, unknown: n}, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=unknown, padding_side="right", clean_up_tokenization_spaces=False
    )
