"""The seam between scores that come by in blocks and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from compgraph.architecture import Architecture
from compgraph.connectivity.effective.passes import PassResult, Scorer
from compgraph.data.batches import Batch
from compgraph.partition import Partition


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


class ScoreBlocks(Protocol):
    """Data gathered pass by pass, and then the scores of all edges, each once.

    Attributes
    ----------
    partition, architecture, channels
        Of the graph, patterns included.
    sites
        Sites with edges into them, in order (patterns come with their attention site).
    scorer
        Makes the passes.
    """

    partition: Partition
    architecture: Architecture
    channels: tuple[str, ...]
    sites: list[str]

    @property
    def scorer(self) -> Scorer: ...

    def add(self, passes: Iterable[tuple[Any, PassResult, float]], batch: Batch) -> None:
        """Take note of the passes over one batch (`attribution.gradient_passes`)."""
        ...

    def into(self, site: str) -> Iterator[Block]:
        """Blocks of all edges into a site and its patterns. Blocks with the same first target and channel have the same
        targets and come in the order of their sources, but for those with `edges`."""
        ...

    def extents(self) -> Iterator[Extent]:
        """What `into` gives in all."""
        ...
