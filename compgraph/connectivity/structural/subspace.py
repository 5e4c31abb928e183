"""Communication channels: which singular directions of what a part writes another reads.

The writer A is taken apart into singular components σ_i u_i v_iᵀ; of each the reader B reads

    c_i = |v_i P B| / |P B|_F

the composition score of the component alone (Merullo, Eickhoff & Pavlick 2024, "Talking Heads: Understanding
Inter-Layer Communication in Transformer Language Models"), whatever the size of σ_i. The squares sum to at most 1
over the components. The weight of the edge is the largest c_i; `component` says which one it is (0 is that of the
largest singular value), `component.2`, `read.2`, … tell of the next.

Singular directions are what they are only up to a rotation among equal singular values.

Null (`null`): every c_i² alone has the moments of a squared score of rank one. That the largest of r components is
this large has the probability 1 - (1 - p)^r, of independent ones; z is the normal deviate of that probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

from compgraph.connectivity.structural import products
from compgraph.connectivity.structural.edges import Columns, check_partition, check_size, stream_graph
from compgraph.connectivity.structural.null import Array, Spectrum, significance
from compgraph.connectivity.structural.vectors import Ends, Vectors
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition


def compute(net: Transformer, partition: Partition, *, components: int = 3, seed: int = 0) -> ComputationalGraph:
    """How much of the best read singular direction of every writer each reader reads.

    Parameters
    ----------
    net
        A transformer, with or without dictionaries.
    partition
        The nodes, as for `composition`.
    components
        How many of the directions read most to name for each edge.
    seed
        Nothing is drawn; taken for the common signature of structural methods.

    Returns
    -------
    ComputationalGraph
        Structural; weights in [0, 1]. Columns `component` (int, of the direction read most; -1: none),
        `component.k` and `read.k` for k from 2 to `components` (c of the k-th; 0 where there is none), `z`, `p`,
        `p_adjusted`.

    Raises
    ------
    DataError
        More edges than fit into memory.
    GraphError
        The partition does not fit the network, or `components` is below 1.
    """
    if components < 1:
        raise GraphError(f"subspace: components is {components}; it must be at least 1")
    check_partition(net, partition)
    check_size(net, partition, "use a coarser partition")
    ends = Ends(net, partition)
    return stream_graph(ends, _Subspace(ends.dimension, components), {"method": "subspace", "components": components})


@dataclass
class _Reader:
    vectors: Vectors
    spectrum: Spectrum


class _Subspace:
    def __init__(self, dimension: int, named: int) -> None:
        self.dimension, self.named = dimension, named

    def reader(self, vectors: Vectors) -> _Reader:
        return _Reader(vectors, Spectrum.of(vectors))

    def writer(self, vectors: Vectors) -> Vectors:
        return products.components(vectors)[0]

    def score(self, reader: _Reader, writer: Vectors) -> Columns:
        each = Vectors(writer.values, torch.arange(len(writer.values)), len(writer.values))
        read = products.shares(
            products.squares(reader.vectors, each), reader.vectors.squares, torch.ones(len(writer.values))
        )
        best, which = _best(read, writer, self.named)
        z, p = self._significance(best[0], reader.spectrum, writer.sizes.numpy())
        columns: Columns = {"weight": np.sqrt(best[0]), "component": which[0], "z": z, "p": p}
        for k in range(1, self.named):
            columns |= {f"component.{k + 1}": which[k], f"read.{k + 1}": np.sqrt(best[k])}
        return columns

    def _significance(self, best: Array, spectrum: Spectrum, counts: np.ndarray) -> tuple[Array, Array]:
        _, p = significance(best, spectrum.column, Spectrum.rank_one(len(counts)), self.dimension)
        with np.errstate(divide="ignore", invalid="ignore"):
            p = np.where(counts > 0, -np.expm1(counts * np.log1p(-p)), np.nan)
        return -special.ndtri(np.maximum(p, np.finfo(float).tiny)), p


def _best(read: Tensor, writer: Vectors, named: int) -> tuple[Array, np.ndarray]:
    """The largest squares [named, readers, writers] and the components they are of."""
    best = np.zeros((named, len(read), writer.n_parts))
    which = np.full(best.shape, -1, np.int32)
    for k, (a, b) in enumerate(writer.ranges()):
        if b > a:
            top, at = read[:, a:b].topk(min(named, b - a), dim=1)
            best[: top.shape[1], :, k], which[: top.shape[1], :, k] = top.T.numpy(), at.T.numpy()
    return best, which
