"""What destinations read of the changes of single units, and the scales of their norms (`unit_runner`)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.plan import Ints
from compgraph.ablation.unit_plan import Reads, Row, Sparse
from compgraph.models.spec import NormWeights
from compgraph.models.transformer import Transformer

CHUNK = 2**18
"""Numbers in one block of changes gathered for the norms: few enough to stay in a processor's cache."""
CANCELLED = 1e-3
"""Squared lengths below this share of what they are summed from have lost too many digits, and are taken of streams."""
PRODUCTS = 2**22
"""Numbers in one block of writers gathered for masked readers."""


class Reader:
    """Readers of a site behind its norm, in the precision of the streams.

    Attributes
    ----------
    columns
        Name -> [d_model, n], times the norm's gain.
    bias
        Name -> what the norm's bias gives [n], or None.
    """

    def __init__(self, readers: Mapping[str, Tensor], norm: NormWeights, dtype: torch.dtype) -> None:
        wide = {name: one.to(dtype) for name, one in readers.items()}
        gain, bias = (None if one is None else one.to(dtype) for one in (norm.gain, norm.bias))
        self.bias = {name: None if bias is None else bias @ one for name, one in wide.items()}
        self.columns = {name: one if gain is None else gain[:, None] * one for name, one in wide.items()}


class Anchors:
    """The streams that rows start from: 1, the baseline's, and -1, that of all changes.

    Parameters
    ----------
    stream
        Baseline stream [tokens, d_model], centred for LayerNorm.
    writers, changes
        [units, d_model] and [units, tokens] of all units that the site can read.
    frozen
        Inverse scale [tokens] for all rows; None: each has its own.
    """

    def __init__(
        self, net: Transformer, stream: Tensor, writers: Tensor, changes: Tensor, frozen: Tensor | None
    ) -> None:
        self.net, self.base, self.writers, self.changes, self.frozen = net, stream, writers, changes, frozen
        self.stream = cache(self._stream)
        self.cross = cache(self._cross)
        self.squares = cache(self._squares)

    def _stream(self, sign: int) -> Tensor:
        return self.base if sign == 1 else torch.addmm(self.base, self.changes.T, self.writers)

    def _cross(self, sign: int) -> Tensor:
        """c_u <w_u, stream>: [units, tokens]."""
        return (self.writers @ self.stream(sign).T).mul_(self.changes)

    def _squares(self) -> Tensor:
        """|c_u w_u|²: [units, tokens]."""
        return self.changes.square().mul_(self.writers.square().sum(-1, keepdim=True))

    def inverse(self, square: Tensor) -> Tensor:
        """Inverse scale from the squared length of streams [.., tokens]; rounding may have taken it below zero."""
        return torch.rsqrt(square.clamp_min(0) / self.base.shape[-1] + self.net.spec.norm_eps)

    def scale(self, stream: Tensor) -> Tensor | float:
        """Inverse scale [tokens] of one stream [tokens, d_model]."""
        if self.net.spec.norm == "none":
            return 1.0
        return self.inverse(stream.square().sum(-1)) if self.frozen is None else self.frozen


def read(found: Reads, reader: Reader, anchors: Anchors) -> dict[str, Tensor]:
    """Pre-activations of the columns that the rows read, 0 in all others: name -> [n, tokens]."""
    tokens = len(anchors.base)
    out = {name: anchors.base.new_zeros(one.shape[1], tokens) for name, one in reader.columns.items()}
    for row in found.formed:
        _read_formed(row, reader, anchors, out)
    for rows in found.sparse:
        _read_sparse(rows, reader, anchors, out)
    return out


def formed(row: Row, anchors: Anchors) -> Tensor:
    """The stream of a row [tokens, d_model]."""
    start = anchors.stream(row.sign)
    if len(row.units) == 0:
        return start
    units = torch.from_numpy(row.units).to(start.device)
    return torch.addmm(start, anchors.changes[units].T, anchors.writers[units], alpha=row.sign)


def _read_formed(row: Row, reader: Reader, anchors: Anchors, out: dict[str, Tensor]) -> None:
    stream = formed(row, anchors)
    scale = anchors.scale(stream)
    columns = torch.from_numpy(row.readers).to(stream.device)
    for name, weights in reader.columns.items():
        values = (weights[:, columns].T @ stream.T) * scale
        bias = reader.bias[name]
        out[name][columns] = values if bias is None else values + bias[columns, None]


def _read_sparse(rows: Sparse, reader: Reader, anchors: Anchors, out: dict[str, Tensor]) -> None:
    columns = torch.from_numpy(np.concatenate(rows.readers)).to(anchors.base.device)
    repeats = torch.tensor([len(one) for one in rows.readers], device=columns.device)
    scale = scales(rows, anchors)
    if scale.dim() == 2 and len(rows) < len(columns):
        scale = scale.repeat_interleave(repeats, 0)
    for name, weights in reader.columns.items():
        if name not in rows.masked:
            rows.masked[name] = _masked(rows, weights, anchors.writers)
        values = (anchors.stream(rows.sign) @ weights[:, columns]).T
        values = values + rows.sign * (rows.masked[name] @ anchors.changes)
        values = values * scale
        bias = reader.bias[name]
        out[name][columns] = values if bias is None else values + bias[columns, None]


def _masked(rows: Sparse, weights: Tensor, writers: Tensor) -> Tensor:
    """<w_u, γ r> for every kept unit u and column r: sparse [columns, units]."""
    counts = np.concatenate([np.repeat(n, len(own)) for n, own in zip(rows.counts, rows.readers, strict=True)])
    start = np.concatenate([np.repeat(n, len(own)) for n, own in zip(rows.bounds, rows.readers, strict=False)])
    pointer = np.concatenate([[0], np.cumsum(counts)])
    place = np.repeat(start - pointer[:-1], counts) + np.arange(pointer[-1])
    units, columns = rows.units[place], np.repeat(np.concatenate(rows.readers), counts)
    values = weights.new_empty(len(units))
    own = weights.T.contiguous()
    step = max(1, PRODUCTS // weights.shape[0])
    for first in range(0, len(units), step):
        part = slice(first, first + step)
        left, right = (torch.from_numpy(x[part]).to(weights.device) for x in (units, columns))
        values[part] = (writers[left] * own[right]).sum(-1)
    return csr(pointer, units, values, (len(counts), len(writers)))


def csr(pointer: Ints, units: Ints, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A sparse matrix from its rows' bounds, the columns of its values, and these."""
    rows, columns = (torch.from_numpy(x.astype(np.int64)).to(values.device) for x in (pointer, units))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)


def scales(rows: Sparse, anchors: Anchors) -> Tensor:
    """Inverse scales of the rows [rows, tokens], or one for all where they are frozen."""
    if anchors.net.spec.norm == "none":
        return anchors.base.new_ones(1)
    if anchors.frozen is not None:
        return anchors.frozen
    pattern = csr(rows.bounds, rows.units, anchors.base.new_ones(len(rows.units)), (len(rows), len(anchors.writers)))
    start = anchors.stream(rows.sign).square().sum(-1)
    square = (2 * rows.sign) * (pattern @ anchors.cross(rows.sign))
    square += start
    _add_squares(rows, anchors, square)
    summed = start + pattern @ anchors.squares()
    floor = anchors.base.shape[-1] * anchors.net.spec.norm_eps
    _replace(square, square + floor < CANCELLED * summed, rows, anchors)
    return anchors.inverse(square)


def _replace(square: Tensor, lost: Tensor, rows: Sparse, anchors: Anchors) -> None:
    """Squared lengths [rows, tokens] of the streams themselves, where so marked."""
    for k in lost.any(1).nonzero().flatten().tolist():
        tokens = lost[k].nonzero().flatten()
        units = torch.from_numpy(rows.units[rows.bounds[k] : rows.bounds[k + 1]]).to(tokens.device)
        moved = anchors.changes[units][:, tokens].T @ anchors.writers[units]
        square[k, tokens] = anchors.stream(rows.sign)[tokens].add(moved, alpha=rows.sign).square().sum(-1)


def _add_squares(rows: Sparse, anchors: Anchors, square: Tensor) -> None:
    """Σ c_u c_u' <w_u, w_u'> over the units of each row, added to [rows, tokens]; short rows are padded to long."""
    tokens, counts = square.shape[1], rows.counts
    first = int(np.searchsorted(counts, 1))
    while first < len(rows):
        longest = int(counts[min(first + _fit(counts[first], tokens), len(rows)) - 1])
        stop = min(first + _fit(longest, tokens), len(rows))
        longest = int(counts[stop - 1])
        place = rows.bounds[first:stop, None] + np.arange(longest)
        there = np.arange(longest) < counts[first:stop, None]
        units = torch.from_numpy(rows.units[np.where(there, place, 0)]).to(square.device)
        writers = anchors.writers[units] * torch.from_numpy(there[..., None]).to(square)
        changes = anchors.changes[units.flatten()].view(*units.shape, tokens)
        gram = torch.bmm(writers, writers.transpose(1, 2))
        square[first:stop] += torch.bmm(gram, changes).mul_(changes).sum(1)
        first = stop


def _fit(longest: int, tokens: int) -> int:
    """Rows of so many units that fit into a block."""
    return max(1, CHUNK // (int(longest) * tokens))
