"""Hand-written transformers: named subspaces of the residual stream, and heads and MLPs that read and write them.

A program is written in *semantic* coordinates, one axis a meaning (`tok` 3: the token is 3); `assembly.assemble` turns
it into an ordinary `Transformer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


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
        Subspaces of the stream.
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
