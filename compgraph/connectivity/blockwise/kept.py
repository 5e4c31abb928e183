"""What is kept of scores that come by in blocks: the strongest edges, sums and a histogram of all, a file of all."""

from __future__ import annotations

from typing import Any

import torch

from compgraph.connectivity.blockwise.block import Block
from compgraph.connectivity.blockwise.score_matrix import MatrixWriter
from compgraph.connectivity.blockwise.score_summary import Histogram, NodeSums
from compgraph.connectivity.blockwise.strongest_edges import EdgeNumbers, Edges, StrongestOverall, StrongestPerTarget
from compgraph.errors import DataError
from compgraph.partition import Partition


class Kept:
    """What is kept, sites in order.

    Parameters
    ----------
    partition, channels
        Of the graph, patterns included.
    keep, keep_overall
        Edges of each target node over all of its channels, and of the whole.
    writer
        Of the file of all scores, or None.
    """

    def __init__(
        self,
        partition: Partition,
        channels: tuple[str, ...],
        keep: int,
        keep_overall: int,
        writer: MatrixWriter | None = None,
    ) -> None:
        self.partition, self.channels, self.writer = partition, channels, writer
        self.numbers = EdgeNumbers(partition.n_nodes, len(channels))
        self.per_target = StrongestPerTarget(keep, self.numbers) if keep else None
        self.overall = StrongestOverall(keep_overall, self.numbers) if keep_overall else None
        self.sums, self.histogram = NodeSums(partition.n_nodes), Histogram()

    def add(self, block: Block) -> None:
        """Take note of a block.

        Raises
        ------
        DataError
            A score that is not finite, or too large for the file.
        """
        if self.writer is not None:
            self.writer.add(block)
        scores, absolute = block.scores, block.scores.abs()
        try:
            self.histogram.add(scores if block.edges is None else scores[block.edges])
        except DataError as error:
            raise DataError(f"scores of edges into {block.site} are not finite") from error
        target = self.partition.node_slice(block.site).start + block.into
        source = self.partition.node_slice(block.source).start + block.out_of
        self.sums.add(scores, absolute, target, source)
        if block.edges is not None:
            absolute = torch.where(block.edges, absolute, -1)
        for reducer in (self.per_target, self.overall):
            if reducer is not None:
                reducer.add(scores, absolute, target, self.channels.index(block.channel), source)
        if self.per_target is not None and block.edges is not None:
            self.per_target.restart()  # sources of other sites, which may come before these, follow

    def close(self) -> None:
        """The targets so far get no more edges."""
        if self.per_target is not None:
            self.per_target.close()

    def edges(self) -> Edges:
        """The edges kept for either reason, in canonical order."""
        pieces = [] if self.per_target is None else self.per_target.pieces
        return Edges.joined([*pieces, *([] if self.overall is None else [self.overall.edges()])])

    def about(self) -> dict[str, Any]:
        """Attributes of the graph."""
        return {"n_edges_scored": self.histogram.n, "histogram": self.histogram.about()}
