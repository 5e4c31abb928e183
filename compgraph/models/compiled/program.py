"""Hand-written transformers: named subspaces of the residual stream, and heads and MLPs that read and write them.

A program is written in *semantic* coordinates, one axis a meaning (`tok` 3: the token is 3). `assemble` turns it into
an ordinary `Transformer`, in one of several bases and with or without norms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.models.spec import BlockWeights, NormWeights, TransformerSpec, Weights
from compgraph.models.transformer import Transformer

Matrix = npt.NDArray[np.float64]
Norm = Literal["none", "rms", "layer"]

BALLAST = 1000.0
"""Length of the constant that steadies a norm, against writes of length 1."""
NORM_EPS = 1e-8


class Space:
    """The residual stream as named subspaces.

    Parameters
    ----------
    widths
        Name -> number of axes; in this order.
    """

    def __init__(self, **widths: int) -> None:
        self.slices: dict[str, slice] = {}
        start = 0
        for name, width in widths.items():
            self.slices[name] = slice(start, start + width)
            start += width
        self.width = start

    def read(self, **blocks: Matrix) -> Matrix:
        """Reader [stream, n] made of blocks [width of the subspace, n]."""
        out = np.zeros((self.width, next(iter(blocks.values())).shape[1]))
        for name, block in blocks.items():
            out[self.slices[name]] = block
        return out

    def write(self, **blocks: Matrix) -> Matrix:
        """Writer [n, stream] made of blocks [n, width of the subspace]."""
        return self.read(**{name: block.T for name, block in blocks.items()}).T


@dataclass
class Head:
    """Readers `q`, `k` [stream, a], `v` [stream, b] and writer `o` [b, stream]; `role` names it in its program."""

    q: Matrix
    k: Matrix
    v: Matrix
    o: Matrix
    role: str = ""


@dataclass
class Mlp:
    """ReLU neurons: `reader` [stream, n], `bias` [n], `writer` [n, stream], `constant` [stream]."""

    reader: Matrix
    bias: Matrix
    writer: Matrix
    constant: Matrix

    def beside(self, other: Mlp) -> Mlp:
        """The neurons of both."""
        return Mlp(
            np.hstack([self.reader, other.reader]),
            np.concatenate([self.bias, other.bias]),
            np.vstack([self.writer, other.writer]),
            self.constant + other.constant,
        )


@dataclass
class Layer:
    """Heads (fewer than other layers': the rest do nothing) and, if any, an MLP."""

    heads: list[Head]
    mlp: Mlp | None = None


@dataclass
class Program:
    """What a network computes, in semantic coordinates.

    Attributes
    ----------
    space
        Subspaces; the last axis of the stream, beyond them, is added for a norm's constant where there is a norm.
    tokens, positions
        Embeddings [vocabulary, stream], [time, stream].
    unembedding
        [vocabulary, stream].
    """

    space: Space
    tokens: Matrix
    positions: Matrix
    unembedding: Matrix
    layers: list[Layer] = field(default_factory=list)

    def nodes(self) -> dict[str, str]:
        """Role -> name of the node, for every head that has a role; all other nodes under their own names."""
        names = {"embed": "embed", "logits": "logits"}
        for number, layer in enumerate(self.layers):
            names[f"mlp.{number}"] = f"mlp.{number}"
            names |= {head.role: f"attn.{number}/head.{h}" for h, head in enumerate(layer.heads) if head.role}
        return names


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
        `layer`: every axis becomes a pair of coordinates of opposite sign, so that all streams have mean 0; then as `rms`.
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
    return Transformer(spec, _cast(weights, dtype))


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
