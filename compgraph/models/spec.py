"""What distinguishes one transformer from another, as data.

`TransformerSpec` holds the configuration, `Weights` the tensors; `families.py` and `parameters.py` fill them
from a Hugging Face model, `transformer.py` computes with them. The engine has no branch on a family's name.

Weight layout (chosen so that hot paths are plain matrix products without transposes of activations):
readers are [heads, d_model, d_head] or [d_model, d_mlp]; writers are [heads, d_head, d_model] or
[d_mlp, d_model].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class TransformerSpec:
    """Configuration of a decoder-only transformer.

    Attributes
    ----------
    norm
        `layer` (LayerNorm: centred), `rms` (RMSNorm) or `none`. Gains are stored as they multiply, so that
        Gemma's 1 + gamma is a plain gain here.
    parallel
        Attention and MLP of a block read the same stream (GPT-NeoX).
    attn_scale
        Factor on query-key products.
    rotary_dim
        Leading coordinates of a head that are rotated (half-split convention); 0 for none.
    rotary_scale
        Factor on the rotary cosine and sine (YaRN's attention factor), else 1.
    windows
        Per layer: number of most recent positions a query sees, itself included; None for all.
    attn_softcap, logit_softcap
        c in c * tanh(x / c) on attention scores and logits; None for none.
    embed_scale
        Factor on token embeddings (Gemma).
    activation
        `gelu`, `gelu_tanh`, `quick_gelu`, `silu` or `relu`.
    post_norms
        Whether norms follow attention and MLP outputs before they are added (Gemma-2).
    """

    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    vocabulary: int
    max_positions: int
    norm: Literal["layer", "rms", "none"]
    norm_eps: float
    parallel: bool
    attn_scale: tuple[float, ...]
    """Per layer (GPT-2 can divide by the layer's index)."""
    rotary_dim: int
    rotary_scale: float
    windows: tuple[int | None, ...]
    attn_softcap: float | None
    logit_softcap: float | None
    embed_scale: float
    activation: str
    gated: bool
    post_norms: bool
    has_mlp: bool = True


@dataclass
class NormWeights:
    """Gain [d] and bias [d] (None where the family has none)."""

    gain: Tensor | None
    bias: Tensor | None = None


@dataclass
class BlockWeights:
    """Tensors of one block.

    Attributes
    ----------
    attn_norm, mlp_norm
        Norms in front of attention and MLP.
    w_q, w_k, w_v
        Readers [n_heads or n_kv_heads, d_model, d_head].
    b_q, b_k, b_v
        [n_heads or n_kv_heads, d_head] or None.
    q_norm, k_norm
        Norms over d_head of queries and keys before rotation (Qwen3), or None.
    w_o, b_o
        Writer [n_heads, d_head, d_model]; bias [d_model] or None.
    w_in, b_in
        MLP reader [d_model, d_mlp] (gated: the "up" projection); bias [d_mlp] or None.
    w_gate, b_gate
        Gate reader [d_model, d_mlp], or None.
    w_out, b_out
        MLP writer [d_mlp, d_model]; bias [d_model] or None.
    attn_post_norm, mlp_post_norm
        Gemma-2's norms after attention and MLP, or None.
    """

    attn_norm: NormWeights
    w_q: Tensor
    w_k: Tensor
    w_v: Tensor
    w_o: Tensor
    b_q: Tensor | None = None
    b_k: Tensor | None = None
    b_v: Tensor | None = None
    b_o: Tensor | None = None
    q_norm: NormWeights | None = None
    k_norm: NormWeights | None = None
    mlp_norm: NormWeights | None = None
    w_in: Tensor | None = None
    b_in: Tensor | None = None
    w_gate: Tensor | None = None
    b_gate: Tensor | None = None
    w_out: Tensor | None = None
    b_out: Tensor | None = None
    attn_post_norm: NormWeights | None = None
    mlp_post_norm: NormWeights | None = None


@dataclass
class Weights:
    """All tensors of a transformer.

    Attributes
    ----------
    embedding
        Token embedding [vocabulary, d_model].
    positions
        Learned position embedding [max_positions, d_model], or None.
    inverse_frequencies
        Rotary inverse frequencies [rotary_dim / 2] (float32), or None.
    unembedding
        [vocabulary, d_model] (the layout of Hugging Face's `lm_head.weight`; may be the embedding itself).
    logit_bias
        [vocabulary] or None.
    """

    embedding: Tensor
    blocks: list[BlockWeights]
    final_norm: NormWeights
    unembedding: Tensor
    positions: Tensor | None = None
    inverse_frequencies: Tensor | None = None
    logit_bias: Tensor | None = None
