"""Scores between one source site and one destination channel, in the cheapest of four orders.

`score(u -> v) = sum over positions of <D_u, P(R_v)>` with D_u the change of u's write, R_v the pulled-back gradient
of v and P the norm's projection. Few nodes are carried as streams, many as units:

| source | destination | order |
| --- | --- | --- |
| few | few | streams with streams |
| many | few | every R_v with the decoder rows, times the change of units |
| few | many | every P(D_u) with the reader rows, times the gradients |
| many | many | (Aᵀ G) * (W_dec P W_read) - (A'ᵀ G') / d (design, section 4): no stream at all |

The first three give every example's own score; the last only the sum over examples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compgraph.connectivity.effective.endpoints import Destination, Projection, Source
from compgraph.parts import Parts

FEW = 64
"""Up to so many nodes a site are carried as streams."""


def is_few(parts: Parts) -> bool:
    """Whether the nodes of a site are carried as streams."""
    return len(parts) <= FEW


def streams_with_streams(writes: Tensor, pulled: Tensor) -> Tensor:
    """[sources, batch, time, d], projected [nodes, batch, time, d] -> [batch, nodes, sources]."""
    return torch.bmm(pulled.flatten(2).transpose(0, 1), writes.flatten(2).permute(1, 2, 0))


def source_with_streams(source: Source, pulled: Tensor) -> Tensor:
    """A source site by the number of its nodes, few destinations: [batch, nodes, sources]."""
    if is_few(source.parts):
        return streams_with_streams(source.writes(), pulled)
    return units_with_streams(source, pulled)


def source_with_units(source: Source, group: list[Destination], project: Projection) -> Tensor:
    """A source site by the number of its nodes, many destinations, whose channels add up.

    Returns
    -------
    [batch or 1, nodes, sources].
    """
    if is_few(source.parts):
        projected = project(source.writes())
        return torch.stack([streams_with_units(projected, one) for one in group]).sum(0)
    return torch.stack([units_with_units(source, one, project) for one in group]).sum(0)[None]


def units_with_streams(source: Source, pulled: Tensor) -> Tensor:
    """Many source nodes, few destinations: projected R_v [nodes, batch, time, d] -> [batch, nodes, sources]."""
    decoder, out = source.decoder, []
    for stream in pulled:
        units = (stream @ decoder.T) * source.change
        out.append(source.parts.sums(units.sum(1)))
    return torch.stack(out, 1)


def streams_with_units(projected: Tensor, destination: Destination) -> Tensor:
    """Few source nodes, many destinations: P(D_u) [sources, batch, time, d] -> [batch, nodes, sources]."""
    readers, out = destination.rows, []
    for stream in projected:
        units = (stream @ readers.T) * destination.gradient
        out.append(destination.parts.sums(units.sum(1)))
    return torch.stack(out, -1)


def units_with_units(source: Source, destination: Destination, project: Projection) -> Tensor:
    """Many nodes on both sides: [nodes, sources], summed over the batch."""
    decoder, readers = source.decoder, destination.rows
    centred = readers - readers.mean(-1, keepdim=True) if project.centred else readers
    a, g = source.change.flatten(0, 1), destination.gradient.flatten(0, 1)
    score = (g.T @ a) * (centred @ decoder.T)
    if project.xhat is not None:
        xhat = project.xhat.flatten(0, 1)
        along_write, along_read = xhat @ decoder.T, xhat @ readers.T
        score -= ((g * along_read).T @ (a * along_write)) / xhat.shape[-1]
    columns = source.parts.sums(score)
    return destination.parts.sums(columns.T).T
