"""The seam between scores that come by in blocks and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from compgraph.architecture import Architecture
from compgraph.connectivity.blockwise.block import Block, Extent
from compgraph.connectivity.effective.passes import PassResult, Scorer
from compgraph.data.batches import Batch
from compgraph.partition import Partition


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
