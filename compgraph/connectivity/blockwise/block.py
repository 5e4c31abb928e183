"""Scores that come by in blocks of two sites."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Block:
    """Mean scores of the edges from some nodes of a site into some nodes of another, by one channel.

    Attributes
    ----------
    site, channel
        Where the edges lead (an attention site's patterns are a site of their own), and by which channel.
    into
        First target, counted within its site.
    source, out_of
        Where they come from, and the first source within its site.
    scores
        [targets, sources]; the receiver may change it.
    edges
        Which entries are edges, None for all. The others are 0.
    """

    site: str
    channel: str
    into: int
    source: str
    out_of: int
    scores: Tensor
    edges: Tensor | None = None


@dataclass(frozen=True)
class Extent:
    """All edges between two sites by one channel: names as in `Block`, nodes [targets, sources], and a block's size."""

    site: str
    channel: str
    source: str
    shape: tuple[int, int]
    block: tuple[int, int]
