"""Parameters of a loaded Hugging Face transformer as the engine's `Weights`, by the names in `families`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from compgraph.models.families import FAMILIES, Family, rotary_frequencies, spec_of
from compgraph.models.spec import BlockWeights, NormWeights, TransformerSpec, Weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def from_transformers(model: PreTrainedModel) -> tuple[TransformerSpec, Weights]:
    """Specification and weights of a loaded `...ForCausalLM` model.

    The tensors are views of the model's own wherever the engine's layout can be had by strides (no memory is
    copied, and changes of the model's parameters show). Copies are the gains of Gemma, stored less one, and
    the attention readers of GPT-NeoX, which lie interleaved. None asks for a gradient.

    Raises
    ------
    ModelError
        As `spec_of`.
    """
    spec = spec_of(model.config)
    family = FAMILIES[spec.family]
    tensors = {name: value.detach() for name, value in model.base_model.state_dict(keep_vars=True).items()}
    frequencies, _ = rotary_frequencies(model.config)
    embedding = tensors[family.names["embedding"] + ".weight"]
    if frequencies is not None:
        frequencies = frequencies.to(embedding.device)
    head = model.get_output_embeddings()
    weights = Weights(
        embedding=embedding,
        blocks=[_block(tensors, family, spec, layer) for layer in range(spec.n_layers)],
        final_norm=_norm(tensors, family, family.names["final_norm"]),
        unembedding=head.weight.detach(),
        positions=tensors[family.names["positions"] + ".weight"] if "positions" in family.names else None,
        inverse_frequencies=frequencies,
        logit_bias=None if head.bias is None else head.bias.detach(),
    )
    return spec, weights


def _block(tensors: Mapping[str, Tensor], family: Family, spec: TransformerSpec, layer: int) -> BlockWeights:
    names = {role: name.format(layer) for role, name in family.names.items()}

    def norm(role: str) -> NormWeights | None:
        return _norm(tensors, family, names[role]) if role in names else None

    def linear(role: str) -> tuple[Tensor | None, Tensor | None]:
        return _linear(tensors, family, names[role]) if role in names else (None, None)

    q, k, v = _readers(tensors, family, spec, names)
    w_o, b_o = _linear(tensors, family, names["o"])
    (w_in, b_in), (w_gate, b_gate), (w_out, b_out) = linear("in"), linear("gate"), linear("out")
    return BlockWeights(
        attn_norm=_norm(tensors, family, names["attn_norm"]),
        w_q=q[0],
        b_q=q[1],
        w_k=k[0],
        b_k=k[1],
        w_v=v[0],
        b_v=v[1],
        w_o=w_o.unflatten(0, (spec.n_heads, spec.d_head)),
        b_o=b_o,
        q_norm=norm("q_norm"),
        k_norm=norm("k_norm"),
        mlp_norm=norm("mlp_norm"),
        w_in=w_in,
        b_in=b_in,
        w_gate=w_gate,
        b_gate=b_gate,
        w_out=w_out,
        b_out=b_out,
        attn_post_norm=norm("attn_post_norm"),
        mlp_post_norm=norm("mlp_post_norm"),
    )


def _norm(tensors: Mapping[str, Tensor], family: Family, name: str) -> NormWeights:
    gain = tensors[f"{name}.weight"]
    return NormWeights(gain + family.gain_offset if family.gain_offset else gain, tensors.get(f"{name}.bias"))


def _linear(tensors: Mapping[str, Tensor], family: Family, name: str) -> tuple[Tensor, Tensor | None]:
    """A linear map as [in, out], and its bias [out]."""
    weight = tensors[f"{name}.weight"]
    return weight if family.layout == "conv1d" else weight.T, tensors.get(f"{name}.bias")


def _readers(
    tensors: Mapping[str, Tensor], family: Family, spec: TransformerSpec, names: Mapping[str, str]
) -> list[tuple[Tensor, Tensor | None]]:
    """Queries, keys and values: readers [heads, d_model, d_head] and biases [heads, d_head]."""
    if family.fused == "no":
        heads = {"q": spec.n_heads, "k": spec.n_kv_heads, "v": spec.n_kv_heads}
        pairs = [_linear(tensors, family, names[role]) for role in heads]
        return [
            (
                weight.unflatten(1, (count, spec.d_head)).transpose(0, 1),
                None if bias is None else bias.unflatten(0, (count, spec.d_head)),
            )
            for (weight, bias), count in zip(pairs, heads.values(), strict=True)
        ]
    weight, bias = _linear(tensors, family, names["qkv"])
    interleaved = family.fused == "interleaved"
    shape = (spec.n_heads, 3, spec.d_head) if interleaved else (3, spec.n_heads, spec.d_head)
    split_weight = weight.unflatten(1, shape).unbind(2 if interleaved else 1)
    split_bias = (None,) * 3 if bias is None else bias.unflatten(0, shape).unbind(1 if interleaved else 0)
    readers = [part.transpose(0, 1) for part in split_weight]
    if interleaved:
        # Strided heads could not be read by one matrix product: give each of the three a matrix of its own.
        readers = [part.transpose(1, 2).contiguous().transpose(1, 2) for part in readers]
    return list(zip(readers, split_bias, strict=True))


def checkpoint_names(model: PreTrainedModel, names: list[str]) -> dict[str, str]:
    """Tensor name in a checkpoint -> name of the parameter it fills, without those that have no use.

    Three habits of checkpoints are known: names without the base model's prefix (GPT-2), `embed_out` for the
    head (Pythia), and stored constants (causal masks, rotary frequencies).
    """
    ignored = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_unexpected or ()]
    ignored.append(re.compile(r"rotary_emb\.inv_freq$|\.attn\.masked_bias$"))
    parameters = set(model.state_dict())
    prefix = model.base_model_prefix + "."
    found = {}
    for name in names:
        target = re.sub(r"^embed_out\.", "lm_head.", name)
        if target not in parameters and prefix + target in parameters:
            target = prefix + target
        if target in parameters or not any(pattern.search(name) for pattern in ignored):
            found[name] = target
    return found
