"""Products of what parts write and read: norms of A B from the rows of both, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from compgraph.connectivity.structural.vectors import Vectors

BLOCK = 2**24
"""Inner products that are held at a time."""


def blocks(reader: Vectors, other: int) -> Iterator[tuple[int, int]]:
    """Ranges of parts of a reader whose products with `other` vectors are held at a time."""
    longest = max(1, int(reader.sizes.max())) if reader.n_parts else 1
    step = max(1, BLOCK // max(1, longest * other))
    for start in range(0, reader.n_parts, step):
        yield start, min(reader.n_parts, start + step)


def squares(reader: Vectors, writer: Vectors) -> Tensor:
    """|A B|_F² of every pair of parts, [readers, writers]."""
    out = []
    for start, stop in blocks(reader, len(writer.values)):
        some = reader.slice(start, stop)
        products = (some.values @ writer.values.T).square()
        out.append(writer.sums(some.sums(products).T).T)
    return torch.cat(out) if out else reader.values.new_zeros(0, writer.n_parts)


def shares(squared: Tensor, reader: Tensor, writer: Tensor) -> Tensor:
    """Squares [readers, writers] over the squared norms of both, in float64; 0 where one of them is 0."""
    norms = reader.double()[:, None] * writer.double()[None]
    return torch.where(norms > 0, squared.double() / norms, 0.0).clamp(0, 1)


def largest(reader: Vectors, writer: Vectors) -> Tensor:
    """The largest squared singular value of A B of every pair of parts, float64 [readers, writers]."""
    out = torch.zeros(reader.n_parts, writer.n_parts, dtype=torch.float64)
    if reader.single and writer.single:
        return squares(reader, writer).double()
    columns = writer.ranges()
    width = _common_size(writer)
    for k, (a, b) in enumerate(reader.ranges()):
        if a == b:
            continue
        products = (reader.values[a:b] @ writer.values.T).double()
        if width:
            out[k] = _top(products.unflatten(1, (writer.n_parts, width)).transpose(0, 1))
        else:
            out[k] = torch.stack([_top(products[:, c:d]) if d > c else out.new_zeros(()) for c, d in columns])
    return out


def largest_of(vectors: Vectors) -> Tensor:
    """The largest squared singular value of every part's own map, float64 [n_parts]."""
    rows = vectors.values.double()
    if width := _common_size(vectors):
        return _top(rows.unflatten(0, (vectors.n_parts, width)))
    return torch.stack([_top(rows[a:b]) if b > a else rows.new_zeros(()) for a, b in vectors.ranges()])


def components(vectors: Vectors, most: int | None = None) -> tuple[Vectors, Tensor]:
    """Singular directions of every part in the stream, by falling singular value, and those values.

    Parameters
    ----------
    most
        How many of each part, None for all; those of singular value 0 are left out.

    Returns
    -------
    directions [n, d_model] of unit length, singular values [n]
    """
    found, values, counts = [vectors.values[:0]], [vectors.values.new_zeros(0)], []
    for a, b in vectors.ranges():
        _, s, rows = torch.linalg.svd(vectors.values[a:b], full_matrices=False)
        live = int((s > s.max() * len(rows.T) * torch.finfo(s.dtype).eps).sum()) if len(s) else 0
        keep = live if most is None else min(live, most)
        found.append(rows[:keep])
        values.append(s[:keep])
        counts.append(keep)
    part = torch.arange(vectors.n_parts).repeat_interleave(torch.tensor(counts, dtype=torch.int64))
    return Vectors(torch.cat(found), part, vectors.n_parts), torch.cat(values)


def _common_size(vectors: Vectors) -> int:
    """Vectors of every part where all have as many, else 0."""
    sizes = vectors.sizes.unique().tolist()
    return int(sizes[0]) if len(sizes) == 1 else 0


def _top(x: Tensor) -> Tensor:
    """Largest squared singular value of matrices [.., n, k]: largest eigenvalue of the smaller Gram matrix."""
    gram = x @ x.transpose(-1, -2) if x.shape[-2] <= x.shape[-1] else x.transpose(-1, -2) @ x
    return torch.linalg.eigvalsh(gram)[..., -1].clamp(min=0)
