"""The null of chains: a layer's rescaled rows turned at random in the space of what they read.

The matrix of a layer's rescaled weights w_ji s_i (of a convolution its kernels, s_i² averaged over a channel) keeps its
shape and singular values; its rows are turned at random. The squared weight of an edge is then a quadratic form of
these rows: with M the Gram matrix of the target part's rows, by their weights, and N the projection on what the source
part has of the space, both over their traces, it is d tr(M Q N Qᵀ) times its mean, whose moments are exact (`null`). Of
one row and one coordinate of the input it is Beta(1/2, (d - 1)/2) times d.

That a hidden unit counts for more than others, by its scale s_i, is chance too: the layer below, its rows divided by
their norms, is turned from the left, which gives the squares of its units' scales moments of the same kind; the edge
has those of the product.

The mean is that of rows that are level: every entry the same share of its row. Where scales differ inside a channel,
the projection stands for weights that are not all equal. Parts that divide channels of a convolution, and convolutions
of several groups, have moments from drawn rotations instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from compgraph.connectivity.structural.null import Array, Moments, Spectrum, significance
from compgraph.connectivity.structural.squared_stage import SquaredStage
from compgraph.models.sequential import Reader
from compgraph.partition import DEAD, Partition


@dataclass(frozen=True)
class Rows:
    """Rescaled rows of a layer.

    Attributes
    ----------
    values
        float64 [groups, rows, fan-in].
    scale
        s of each coordinate, broadcast to the weight's shape.
    shape
        Of the layer's weight.
    """

    values: Tensor
    scale: Tensor
    shape: torch.Size

    @property
    def live(self) -> Tensor:
        """Coordinates that anything is read from, bool [groups, fan-in]."""
        whole = self.scale.expand(self.shape).unflatten(0, (len(self.values), -1)).flatten(2)
        return whole[:, 0] > 0

    @property
    def dimension(self) -> int:
        """Coordinates of a row that anything is read from."""
        return int(self.live[0].sum())

    def level(self) -> Tensor:
        """Every row's square spread evenly over its live coordinates: the mean of squares over all rotations."""
        squares = (self.values**2).sum(2, keepdim=True) / self.live.sum(1)[:, None, None].clamp(min=1)
        return (squares * self.live[:, None]).reshape(self.shape)

    def turned(self, rng: np.random.Generator) -> Tensor:
        """Squares of the rows turned at random, group by group."""
        return torch.stack([_turn_rows(group, rng) for group in self.values]).reshape(self.shape) ** 2


def rescaled_rows(reader: Reader, one: SquaredStage) -> Rows:
    """The rows of a stage's layer."""
    weight = reader.weight.detach().cpu().double()
    scale = one.scale if reader.kind == "linear" else one.scale.reshape(reader.in_shape[0], -1).mean(1)
    columns = scale.sqrt().reshape(reader.groups, -1).repeat_interleave(len(weight) // reader.groups, 0)
    columns = columns.reshape(*columns.shape, *[1] * (weight.dim() - 2))
    return Rows((weight * columns).unflatten(0, (reader.groups, -1)).flatten(2), columns, weight.shape)


def with_rows(one: SquaredStage, rows: Rows, squares: Tensor) -> SquaredStage:
    """The stage with other squares of rescaled weights."""
    back = torch.where(rows.scale > 0, squares / rows.scale**2, 0.0)
    return replace(one, reader=replace(one.reader, weight=back))


def spectra_of(
    rows: Rows, one: SquaredStage, weights: Tensor, partition: Partition
) -> tuple[Spectrum, Spectrum] | None:
    """Of the target parts' rows and of the source parts' coordinates; None where moments have to be drawn.

    Parameters
    ----------
    weights
        Of the target's units.
    """
    target = _by_channel(partition.labels[one.stage.site], rows.values.shape[1])
    source = _by_channel(partition.labels[one.stage.source], rows.shape[1])
    if len(rows.values) > 1 or target is None or source is None:
        return None
    each = weights.reshape(len(target), -1).sum(1).sqrt()[:, None] * rows.values[0]
    second, third = np.full((2, partition.n_parts(one.stage.site)), np.nan)
    for part in range(len(second)):
        some = each[torch.from_numpy(target == part)]
        gram = some @ some.T if len(some) <= some.shape[1] else some.T @ some
        if (trace := float(gram.trace())) > 0:
            gram = gram / trace
            square = gram @ gram
            second[part], third[part] = float((gram**2).sum()), float((square * gram).sum())
    live = rows.live[0].reshape(rows.shape[1], -1).sum(1).numpy()
    n = np.bincount(source[source != DEAD], live[source != DEAD], minlength=partition.n_parts(one.stage.source))
    size = np.where(n > 0, n, np.nan)
    return Spectrum(second, third), Spectrum(1 / size, 1 / size**2)


def scales_of(below: Rows | None, one: SquaredStage, partition: Partition) -> Moments | None:
    """Relative moments of the source parts' squared scales [n_sources], if the layer below is turned from the left.

    None where chance says nothing of them: at the input, and behind a layer of several groups.
    """
    if below is None or len(below.values) > 1:
        return None
    norms = below.values[0].norm(dim=1, keepdim=True)
    rows = (below.values[0] / norms.clamp(min=1e-300))[norms[:, 0] > 0]
    if len(rows) < 3:
        return None
    gram = rows @ rows.T / len(rows)
    square = gram @ gram
    labels = partition.labels[one.stage.source].reshape(len(norms), -1)
    units = np.zeros((partition.n_parts(one.stage.source), len(norms)))
    channel = np.broadcast_to(np.arange(len(norms))[:, None], labels.shape)
    np.add.at(units, (labels[labels != DEAD], channel[labels != DEAD]), 1)
    with np.errstate(invalid="ignore"):
        share = units / units.sum(axis=1, keepdims=True)
    layer = Spectrum(np.array(float((gram**2).sum())), np.array(float((square * gram).sum())))
    return Moments.haar(layer, Spectrum((share**2).sum(axis=1), (share**3).sum(axis=1)), len(rows)).relative()


def judged(
    shares: Array, target: Spectrum, source: Spectrum, dimension: int, scales: Moments | None
) -> tuple[Array, Array]:
    """z and p of squared weights over their means [targets, sources]."""
    if scales is None:
        return significance(shares / dimension, target.column, source, dimension)
    moments = Moments.haar(target.column, source, dimension).relative().times(scales)
    return moments.z(shares), moments.upper(shares)


def _by_channel(labels: np.ndarray, channels: int) -> np.ndarray | None:
    """The label of each channel, if its units have one."""
    several = labels.reshape(channels, -1)
    return several[:, 0] if (several == several[:, :1]).all() else None


def _turn_rows(matrix: Tensor, rng: np.random.Generator) -> Tensor:
    """A matrix with the same singular values and left directions, its right ones uniform."""
    factor = torch.linalg.qr(matrix.T, mode="r").R.T  # [rows, rank]
    drawn = rng.standard_normal((matrix.shape[1], factor.shape[1]))
    frame, upper = np.linalg.qr(drawn)
    return factor @ torch.from_numpy(frame * np.sign(np.diag(upper))).T
