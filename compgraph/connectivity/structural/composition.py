"""Composition scores: how much of what one part writes another reads, from the weights alone.

For a writer A (maps its input to the stream) and a reader B (maps the stream to what it feeds; both in `vectors`),

    frobenius    |A P B|_F / (|A P|_F |P B|_F)
    spectral     |A P B|_2 / (|A P|_2 |P B|_2), of largest singular values
    top          |cos| of the direction of the stream that A writes most and the one that B reads most

each between 0 and 1 (frobenius: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits": Q-, K- and
V-composition of heads). P is the centring of LayerNorm (identity under RMSNorm), so that what the norm removes counts
nowhere. A part of several heads or neurons has the stacked matrices of its members, so that squared norms add up over
them.

Matrices of width × width are never formed for heads: with A = A1 A2, B = B1 B2, A1 = Q R and B2ᵀ = Q' S,
|A1 A2 B1 B2| = |R A2 B1 Sᵀ| in both norms, a matrix of d_head × d_head.

The null (`null`) turns the reader at random against the writer; z and p are those of the squared score. For
frobenius and top they are in closed form, for spectral from drawn rotations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from compgraph.connectivity.structural import products
from compgraph.connectivity.structural.edges import Columns, check_partition, check_size, stream_graph
from compgraph.connectivity.structural.null import Array, Draws, Spectrum, rotations, significance
from compgraph.connectivity.structural.vectors import Ends, Vectors
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition

NORMS = ("frobenius", "spectral", "top")


def compute(
    net: Transformer, partition: Partition, *, norm: str = "frobenius", rotated: int = 20, seed: int = 0
) -> ComputationalGraph:
    """Composition score of every edge, with q, k and v apart.

    Parameters
    ----------
    net
        A transformer, with or without dictionaries.
    partition
        The nodes. Where parts are finer than heads, patterns are nodes too (`compgraph.patterns`): they have the
        edges by q and k, and the parts those by v.
    norm
        One of `NORMS`.
    rotated
        Rotations drawn for the null of `spectral`; 0 for no null.
    seed
        Of these rotations.

    Returns
    -------
    ComputationalGraph
        Structural; weights in [0, 1]; 0 where a writer or reader is all zeros. Columns `z`, `p` (a score at least as
        large under the null) and `p_adjusted`; NaN where the null says nothing.

    Raises
    ------
    DataError
        More edges than fit into memory.
    GraphError
        The partition does not fit the network; an unknown norm, fewer than 0 rotations or a single one.
    """
    if norm not in NORMS:
        raise GraphError(f"composition: norm {norm!r} is not known; valid are {', '.join(NORMS)}")
    if rotated < 0 or rotated == 1:
        raise GraphError(f"composition: rotated is {rotated}; it must be 0, or at least 2 for a variance")
    check_partition(net, partition)
    check_size(net, partition, "use a coarser partition, or input-output with `keep`")
    ends = Ends(net, partition)
    about = {"method": "composition", "norm": norm}
    if norm == "spectral":
        return stream_graph(ends, _Spectral(ends, rotated, seed), about)
    return stream_graph(ends, _Frobenius(ends.dimension, top=norm == "top"), about)


@dataclass
class _Side:
    """The vectors of a site that are compared, and their spectrum."""

    vectors: Vectors
    spectrum: Spectrum


class _Frobenius:
    """Scores in closed form; `top`: of the first singular direction of every part alone."""

    def __init__(self, dimension: int, *, top: bool) -> None:
        self.dimension, self.top = dimension, top

    def reader(self, vectors: Vectors) -> _Side:
        used = products.components(vectors, 1)[0] if self.top else vectors
        return _Side(used, Spectrum.of(used))

    writer = reader

    def score(self, reader: _Side, writer: _Side) -> Columns:
        rows, columns = reader.vectors, writer.vectors
        squared = products.shares(products.squares(rows, columns), rows.squares, columns.squares).numpy()
        z, p = significance(squared, reader.spectrum.column, writer.spectrum, self.dimension)
        return {"weight": np.sqrt(squared), "z": z, "p": p}


@dataclass
class _Turned:
    """The vectors of a site, those after each rotation, and the largest squared singular value of every part."""

    vectors: Vectors
    turned: list[Vectors]
    norms: Tensor


class _Spectral:
    """Largest singular values, and those after rotations of the reader."""

    def __init__(self, ends: Ends, draws: int, seed: int) -> None:
        self.dimension = ends.dimension
        self.rotations = rotations(ends.dimension, draws, seed, centred=ends.spec.norm == "layer")

    def writer(self, vectors: Vectors) -> _Turned:
        return _Turned(vectors, [], products.largest_of(vectors))

    def reader(self, vectors: Vectors) -> _Turned:
        rows = vectors.values
        turned = [Vectors(rows @ q.to(rows.dtype), vectors.part, vectors.n_parts) for q in self.rotations]
        return _Turned(vectors, turned, products.largest_of(vectors))

    def score(self, reader: _Turned, writer: _Turned) -> Columns:
        def squared(rows: Vectors) -> Array:
            found = products.largest(rows, writer.vectors)
            return products.shares(found, reader.norms, writer.norms).numpy()

        found = squared(reader.vectors)
        columns: Columns = {"weight": np.sqrt(found)}
        if reader.vectors.single and writer.vectors.single:  # the same as a Frobenius norm, whose null is exact
            sides = Spectrum.of(reader.vectors).column, Spectrum.of(writer.vectors)
            columns["z"], columns["p"] = significance(found, *sides, self.dimension)
        elif reader.turned:
            draws = Draws(found)
            for rows in reader.turned:
                draws.add(squared(rows))
            moments = draws.moments()
            columns |= {"z": moments.z(found), "p": moments.upper(found)}
        return columns
