"""Products that follow the few features which are active at a token.

Most features of a sparse dictionary are zero at most tokens, in the clean and in the baseline run alike: as sources
they do not change there, as destinations they read nothing. `Active` lists per token those that count; their rows
are gathered and multiplied, token by token, with streams (`Active.with_streams`) or with the rows that are active at
the other end (`from_features`). What is dense, the error, is one stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.parts import Parts

DENSE = 8
"""Features are followed one by one where at most one in so many counts at the busiest token."""
BLOCK_BYTES = 2**26
"""Memory of one block of gathered rows, or of (token, feature) pairs."""


@dataclass
class Active:
    """Units of a site by token.

    Attributes
    ----------
    unit, value
        [tokens, most] features that count, padded with value 0.
    rows
        [n_features, width] rows of all features.
    rest
        [tokens, width] what the error adds, or None.
    parts
        Nodes over features and error's coordinates.
    shape
        (batch, time); tokens are these two laid flat.
    """

    unit: Tensor
    value: Tensor
    rows: Tensor
    rest: Tensor | None
    parts: Parts
    shape: tuple[int, int]

    @classmethod
    def of(cls, values: Tensor, rows: Tensor, n_features: int, parts: Parts) -> Active | None:
        """From values [batch, time, n_units] and the rows of all units; None where too many are not zero."""
        flat = values.flatten(0, 1)
        features = flat[:, :n_features]
        counts = (features != 0).sum(1)
        most = int(counts.max()) if len(counts) else 0
        if most * DENSE > n_features:
            return None
        token, unit = (features != 0).nonzero(as_tuple=True)
        place = torch.arange(len(token), device=token.device) - (counts.cumsum(0) - counts)[token]
        units = unit.new_zeros(len(flat), most)
        listed = flat.new_zeros(len(flat), most)
        units[token, place], listed[token, place] = unit, features[token, unit]
        rest = flat[:, n_features:] @ rows[n_features:] if n_features < len(rows) else None
        return cls(units, listed, rows[:n_features], rest, parts, (values.shape[0], values.shape[1]))

    @property
    def has_error(self) -> bool:
        """Whether there is an error that belongs to a node."""
        return self.rest is not None and int(self.parts.label[-1]) < len(self.parts)

    def with_streams(self, streams: Tensor) -> Tensor:
        """Products with streams [n, batch, time, width], summed over time: [batch, nodes, n]."""
        flat = streams.flatten(1, 2).permute(1, 2, 0)
        n_batch, time = self.shape
        nodes = len(self.parts) + 1  # the last takes what dead features would get
        out = flat.new_zeros(n_batch * nodes, flat.shape[-1])
        example = torch.arange(n_batch, device=flat.device).repeat_interleave(time) * nodes
        for at in blocks(len(flat), self.unit.shape[1] * self.rows.shape[1] * flat.element_size(), flat.device):
            found = torch.bmm(self.rows[self.unit[at]], flat[at]) * self.value[at][..., None]
            out.index_add_(0, (example[at, None] + self.parts.label[self.unit[at]]).flatten(), found.flatten(0, 1))
        if self.has_error and self.rest is not None:
            found = torch.bmm(self.rest[:, None], flat)[:, 0]
            out.index_add_(0, example + self.parts.label[-1], found)
        return out.unflatten(0, (n_batch, nodes))[:, :-1]

    def writes(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What every unit writes at some tokens [m]: nodes [m, most (+ 1)] and streams [m, most (+ 1), width]."""
        nodes = self.parts.label[self.unit[tokens]]
        streams = self.rows[self.unit[tokens]] * self.value[tokens][..., None]
        if not self.has_error or self.rest is None:
            return nodes, streams
        error = self.parts.label[-1].expand(len(tokens), 1)
        return torch.cat([nodes, error], 1), torch.cat([streams, self.rest[tokens][:, None]], 1)


def blocks(n: int, size: int, device: torch.device) -> Iterator[Tensor]:
    """Indices 0 … n - 1 in runs that take at most `BLOCK_BYTES` at `size` bytes each."""
    yield from torch.arange(n, device=device).split(max(1, BLOCK_BYTES // max(size, 1)))


def from_features(out: Tensor, part: Tensor, streams: Tensor, tokens: Tensor, source: Active) -> None:
    """Add the scores from features to blocks of (token, feature) pairs of one example.

    Parameters
    ----------
    out
        [nodes + 1, sources + 1], added to; the last ones take what dead units would get.
    part
        [m] node of each pair.
    streams, tokens
        What each pair reads: [m, reach, width] at tokens [m, reach], sorted; with a reach above one they are the
        same tokens for all pairs.
    """
    flat = out.view(-1)
    if tokens.shape[1] > 1:
        nodes, writes = source.writes(tokens[0])
        scores = torch.bmm(streams.transpose(0, 1), writes.transpose(1, 2))
        flat.index_add_(0, (part[None, :, None] * out.shape[1] + nodes[:, None]).flatten(), scores.flatten())
        return
    own, counts = tokens[:, 0].unique_consecutive(return_counts=True)
    nodes, writes = source.writes(own)
    for k, (read, to) in enumerate(zip(streams[:, 0].split(counts.tolist()), part.split(counts.tolist()), strict=True)):
        flat.index_add_(0, (to[:, None] * out.shape[1] + nodes[k]).flatten(), (read @ writes[k].T).flatten())
