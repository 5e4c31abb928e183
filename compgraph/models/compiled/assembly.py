"""From a program to a transformer: the basis of the stream, norms, noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from compgraph.models.compiled.program import Layer, Matrix, Program
from compgraph.models.spec import BlockWeights, NormWeights, TransformerSpec, Weights
from compgraph.models.transformer import Transformer

Norm = Literal["none", "rms", "layer"]

BALLAST = 1000.0
"""Length of the constant that steadies a norm, against writes of length 1."""
NORM_EPS = 1e-8


def assemble(
    program: Program,
    *,
    norm: Norm = "none",
    rotation: int | None = None,
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Transformer:
    """A transformer that runs the program.

    Parameters
    ----------
    norm
        `none`: exact. `rms`: the position embedding, a constant that belongs to no node, holds one axis of length
        `BALLAST`, so that the root mean square is the same at all positions to about 1e-4, and the gains undo it.
        `layer`: every axis becomes a pair of coordinates of opposite sign, so that all streams have mean 0; the
        rest as under `rms`.
    rotation
        Seed of a random orthogonal basis of the stream, in which every coordinate mixes all meanings; None: the axes
        themselves. (Under `layer` it keeps the mean at 0.) What the network computes does not change.
    noise
        Standard deviation of Gaussian noise on every weight but the position embedding, as a share of the root mean
        square of all weights of its kind (queries of all layers, …).
    seed
        Of the noise.
    """
    basis = _basis(program.space.width, norm, rotation)
    d_model = basis.shape[1]
    width = max(1, *(m.shape[1] for layer in program.layers for h in layer.heads for m in (h.q, h.v)))
    n_heads = max(len(layer.heads) for layer in program.layers)
    d_mlp = max([1, *(len(layer.mlp.bias) for layer in program.layers if layer.mlp)])
    has_mlp = any(layer.mlp for layer in program.layers)
    steady = np.zeros((len(program.positions), 1)) if norm == "none" else np.full((len(program.positions), 1), BALLAST)
    gain = None if norm == "none" else torch.full((d_model,), BALLAST / d_model**0.5, dtype=torch.float64)
    weights = Weights(
        embedding=_tensor(_axis(program.tokens) @ basis),
        blocks=[_block(layer, basis, n_heads, width, d_mlp, has_mlp, gain) for layer in program.layers],
        final_norm=NormWeights(gain),
        unembedding=_tensor(_axis(program.unembedding) @ basis),
        positions=_tensor(np.hstack([program.positions, steady]) @ basis),
    )
    _add_noise(weights, noise, seed)
    spec = TransformerSpec(
        family="compiled",
        n_layers=len(program.layers),
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_model=d_model,
        d_head=width,
        d_mlp=d_mlp,
        vocabulary=len(program.tokens),
        max_positions=len(program.positions),
        norm=norm,
        norm_eps=NORM_EPS,
        parallel=False,
        attn_scale=(1.0,) * len(program.layers),
        rotary_dim=0,
        rotary_scale=1.0,
        windows=(None,) * len(program.layers),
        attn_softcap=None,
        logit_softcap=None,
        embed_scale=1.0,
        activation="relu",
        gated=False,
        post_norms=False,
        has_mlp=has_mlp,
    )
    weights = _cast(weights, dtype)
    return Transformer(spec, weights, _digest(weights))


def _axis(rows: Matrix) -> Matrix:
    """Rows of the stream with 0 on the axis of the norm's constant."""
    return np.hstack([rows, np.zeros((len(rows), 1))])


def _tensor(values: Matrix) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _basis(width: int, norm: Norm, rotation: int | None) -> Matrix:
    """Orthonormal rows [stream + 1, d_model]: where the semantic axes lie among the coordinates."""
    axes = np.eye(width + 1)
    if norm == "layer":
        axes = np.kron(axes, np.array([[1.0, -1.0]]) / np.sqrt(2))
    if rotation is None:
        return axes
    d = axes.shape[1]
    rng = np.random.default_rng(rotation)
    turn = _orthogonal(rng.normal(size=(d, d)))
    if norm == "layer":
        # Turn only what is orthogonal to the constant vector, whose coordinate the centring removes.
        around = _orthogonal(np.column_stack([np.ones(d), rng.normal(size=(d, d - 1))]))
        inner = np.eye(d)
        inner[1:, 1:] = _orthogonal(rng.normal(size=(d - 1, d - 1)))
        turn = around @ inner @ around.T
    turned: Matrix = axes @ turn
    return turned


def _orthogonal(matrix: Matrix) -> Matrix:
    q, r = np.linalg.qr(matrix)
    signed: Matrix = q * np.sign(np.diag(r))
    return signed


def _block(
    layer: Layer, basis: Matrix, n_heads: int, width: int, d_mlp: int, has_mlp: bool, gain: Tensor | None
) -> BlockWeights:
    d_model = basis.shape[1]
    q, k, v = (np.zeros((n_heads, d_model, width)) for _ in range(3))
    o = np.zeros((n_heads, width, d_model))
    for h, head in enumerate(layer.heads):
        for into, reader in ((q, head.q), (k, head.k), (v, head.v)):
            into[h, :, : reader.shape[1]] = basis[:-1].T @ reader
        o[h, : len(head.o)] = head.o @ basis[:-1]
    block = BlockWeights(NormWeights(gain), _tensor(q), _tensor(k), _tensor(v), _tensor(o))
    if not has_mlp:
        return block
    w_in, b_in, w_out = np.zeros((d_model, d_mlp)), np.zeros(d_mlp), np.zeros((d_mlp, d_model))
    b_out = np.zeros(d_model)
    if layer.mlp:
        n = len(layer.mlp.bias)
        w_in[:, :n], b_in[:n] = basis[:-1].T @ layer.mlp.reader, layer.mlp.bias
        w_out[:n], b_out = layer.mlp.writer @ basis[:-1], layer.mlp.constant @ basis[:-1]
    block.mlp_norm = NormWeights(gain)
    block.w_in, block.b_in, block.w_out, block.b_out = _tensor(w_in), _tensor(b_in), _tensor(w_out), _tensor(b_out)
    return block


_NOISY = ("w_q", "w_k", "w_v", "w_o", "w_in", "w_out")
_TENSORS = (*_NOISY, "b_in", "b_out")


def _add_noise(weights: Weights, noise: float, seed: int) -> None:
    if not noise:
        return
    generator = torch.Generator().manual_seed(seed)
    groups: list[Sequence[Tensor | None]] = [[weights.embedding], [weights.unembedding]]
    groups += [[getattr(block, name) for block in weights.blocks] for name in _NOISY]
    for group in groups:
        tensors = [tensor for tensor in group if tensor is not None]
        if not tensors:
            continue
        scale = noise * float(torch.cat([t.flatten() for t in tensors]).pow(2).mean().sqrt())
        for tensor in tensors:
            tensor += scale * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)


def _digest(weights: Weights) -> str:
    """SHA-256 over all numbers, for provenance: there is no file to take it from."""
    total = hashlib.sha256()
    blocks = [tensor for block in weights.blocks for name in _TENSORS if (tensor := getattr(block, name)) is not None]
    for tensor in (weights.embedding, weights.unembedding, weights.positions, *blocks):
        if tensor is not None:
            total.update(tensor.numpy().tobytes())
    return f"sha256:{total.hexdigest()}"


def _cast(weights: Weights, dtype: torch.dtype) -> Weights:
    def norm(found: NormWeights) -> NormWeights:
        return NormWeights(None if found.gain is None else found.gain.to(dtype))

    for block in weights.blocks:
        block.attn_norm = norm(block.attn_norm)
        block.mlp_norm = None if block.mlp_norm is None else norm(block.mlp_norm)
        for name in _TENSORS:
            value = getattr(block, name)
            setattr(block, name, None if value is None else value.to(dtype))
    return Weights(
        weights.embedding.to(dtype),
        weights.blocks,
        norm(weights.final_norm),
        weights.unembedding.to(dtype),
        positions=None if weights.positions is None else weights.positions.to(dtype),
    )
