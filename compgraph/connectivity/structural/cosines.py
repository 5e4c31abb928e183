"""Cosines and products of the vectors that parts write and read, signed where a part has one vector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compgraph.connectivity.structural.edges import Columns
from compgraph.connectivity.structural.null import Array, Spectrum, significance
from compgraph.connectivity.structural.vectors import Vectors

BLOCK = 2**21
"""Scores that are handled at a time."""


@dataclass
class Side:
    """Vectors over their part's norm, the norms [n_parts], which parts have one vector, and the spectrum."""

    vectors: Vectors
    norms: Tensor
    single: Tensor
    spectrum: Spectrum

    def slice(self, start: int, stop: int) -> Side:
        at = slice(start, stop)
        spectrum = Spectrum(self.spectrum.second[at], self.spectrum.third[at])
        return Side(self.vectors.slice(start, stop), self.norms[at], self.single[at], spectrum)


class Cosines:
    """The scores between two sites.

    Parameters
    ----------
    dimension
        Of the null.
    product
        Whether lengths count.
    """

    def __init__(self, dimension: int, *, product: bool) -> None:
        self.dimension, self.product = dimension, product

    def reader(self, vectors: Vectors) -> Side:
        return Side(vectors.normed(), vectors.squares.sqrt(), vectors.sizes == 1, Spectrum.of(vectors))

    writer = reader

    def cosines(self, reader: Side, writer: Side) -> Tensor:
        """[targets, sources], signed where both have one vector."""
        products = reader.vectors.values @ writer.vectors.values.T
        if reader.vectors.single and writer.vectors.single:
            return products
        summed = _pairs(reader, writer, products.square()).sqrt_()
        if not (bool(reader.single.any()) and bool(writer.single.any())):
            return summed
        return torch.where(reader.single[:, None] & writer.single, _pairs(reader, writer, products), summed)

    def scores(self, cosines: Tensor, reader: Side, writer: Side) -> Tensor:
        """What is asked for, from the cosines."""
        return cosines * reader.norms[:, None] * writer.norms if self.product else cosines

    def significance(self, cosines: Array, single: Array, one: Spectrum, other: Spectrum) -> tuple[Array, Array]:
        """z and p; arrays are broadcast."""
        squared = np.minimum(cosines**2, 1.0)
        z, p = significance(squared, one, other, self.dimension)
        return np.where(np.logical_and(single, ~np.isnan(z)), cosines * np.sqrt(self.dimension), z), p

    def score(self, reader: Side, writer: Side) -> Columns:
        found = []
        for start, stop in slices(reader, len(writer.vectors.values)):
            some = reader.slice(start, stop)
            cosines = self.cosines(some, writer)
            single = (some.single[:, None] & writer.single).numpy()
            z, p = self.significance(cosines.double().numpy(), single, some.spectrum.column, writer.spectrum)
            found.append((self.scores(cosines, some, writer).double().numpy(), z, p))
        if not found:
            found.append((np.zeros((0, writer.vectors.n_parts)),) * 3)
        return dict(zip(("weight", "z", "p"), (np.concatenate(x) for x in zip(*found, strict=True)), strict=True))


def _pairs(reader: Side, writer: Side, values: Tensor) -> Tensor:
    """Sums over the vectors of each pair of parts."""
    return writer.vectors.sums(reader.vectors.sums(values).T).T


def slices(reader: Side, other: int) -> Iterator[tuple[int, int]]:
    """Ranges of targets whose products with `other` vectors are handled at a time."""
    longest = max(1, int(reader.vectors.sizes.max())) if reader.vectors.n_parts else 1
    step = max(1, BLOCK // max(1, longest * other))
    n = reader.vectors.n_parts
    for start in range(0, n, step):
        yield start, min(n, start + step)
