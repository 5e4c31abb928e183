"""Graphs of so many edges that only the strongest can be kept: all scores are computed, few stay.

One pass over the data gathers what every unit has to say, in memory or on disk, so that memory does not depend on the
number of examples; then the scores come by in blocks of two sites (`score_blocks`; of transformers `stream_blocks`, of
chains `chain_blocks`), each once. Kept are
the strongest edges of every target and of the whole (`strongest_edges`), and of all scores their sums by node, their
number and their histogram (`score_summary`). A user who wants every score gets them in a file (`score_matrix`).

Cost beyond the gradient passes: about 2 · (2 rows + width) floating-point operations per pair of units, a row being a
position of an example at which something changes and the target has a gradient; in a chain 2 rows per pair. Into
features of dictionaries it is 2 · width per active feature, token and source that changes there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compgraph.connectivity.effective.attribution import MEMORY_PER_BATCH, attribute, gradient_passes
from compgraph.connectivity.effective.chain_blocks import ChainBlocks, ChainUnitScorer
from compgraph.connectivity.effective.passes import Passes, Scorer
from compgraph.connectivity.effective.score_blocks import Block, ScoreBlocks
from compgraph.connectivity.effective.score_matrix import MatrixWriter, ScoreMatrix
from compgraph.connectivity.effective.score_summary import Histogram, NodeSums
from compgraph.connectivity.effective.scratch import RowStore
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.stream_blocks import StreamBlocks, stream_scorer_of
from compgraph.connectivity.effective.strongest_edges import EdgeNumbers, Edges, StrongestOverall, StrongestPerTarget
from compgraph.connectivity.effective.unit_scorer import UnitScorer
from compgraph.data.batches import batches
from compgraph.errors import DataError, GraphError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import get_metric
from compgraph.models.sequential import Sequential
from compgraph.progress import progress, track

MEMORY = 2**28
"""Bytes that the products of a block may take, and as many the rows read for it."""


def all_or_strongest(
    setting: Setting,
    passes: Passes,
    *,
    method: str,
    keep: int,
    keep_overall: int,
    matrix: ScoreMatrix | str | Path | None = None,
    scorer: Scorer | None = None,
    fold: Callable[[torch.Tensor], torch.Tensor] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> ComputationalGraph:
    """`attribution.attribute`, or `strongest_edges` where not all edges are to be kept.

    Raises
    ------
    GraphError
        A correction of the scores (`scorer`, `fold`) though not all edges are kept.
    """
    if not (keep or keep_overall or matrix):
        return attribute(setting, passes, method=method, scorer=scorer, fold=fold, attributes=attributes)
    if scorer is not None or fold is not None:
        name = " and ".join(name for name, value in (attributes or {}).items() if value is True) or "a scorer"
        raise GraphError(f"{method}: {name} needs all scores of an example at once; leave keep and keep_overall at 0")
    return strongest_edges(
        setting,
        passes,
        method=method,
        keep=keep,
        keep_overall=keep_overall,
        attributes=attributes,
        matrix=matrix,
    )


def strongest_edges(
    setting: Setting,
    passes: Passes,
    *,
    method: str,
    keep: int,
    keep_overall: int,
    attributes: Mapping[str, Any] | None = None,
    matrix: ScoreMatrix | str | Path | None = None,
) -> ComputationalGraph:
    """Score all edges as `attribution.attribute` does, and keep the strongest.

    Parameters
    ----------
    passes
        The method's.
    keep
        Edges of each target node, over all of its channels.
    keep_overall
        Edges of the whole.
    attributes
        Further attributes of the graph.
    matrix
        File for all scores (`score_matrix`); None for none.

    Returns
    -------
    ComputationalGraph
        The edges kept for either reason, in canonical order, without standard errors. Node columns `in_sum`,
        `in_absolute`, `out_sum` and `out_absolute` are sums over all edges, kept or not; attributes `n_edges_scored`
        and `histogram` (`score_summary.Histogram.about`) tell of all scores.

    Raises
    ------
    DataError
        A score or a gradient that is not finite; a bootstrap.
    GraphError
        `keep` or `keep_overall` below 0.
    StoreError
        A matrix that cannot be written, or rows that do not fit on the disk.
    """
    net, pairs, n = setting.net, setting.pairs, int(setting.pairs.n)
    _check(setting, keep, keep_overall)
    measure = get_metric(setting.metric, differentiable=True)
    about = setting.about(method, **(attributes or {}), split_qkv=setting.split_qkv, n_examples=n)
    with ExitStack() as stack:
        blocks = blocks_of(setting, stack.enter_context(RowStore()))
        size = setting.batch_size or int(np.clip(MEMORY_PER_BATCH // blocks.scorer.bytes_per_example(pairs), 1, n))
        writer = None
        if matrix is not None:
            request = matrix if isinstance(matrix, ScoreMatrix) else ScoreMatrix(matrix)
            writer = stack.enter_context(request.writer(setting, blocks, about))
        for batch in track(batches(net, pairs, size), description=method, total=-(-n // size), unit="batch"):
            blocks.add(gradient_passes(setting, blocks.scorer, batch, passes, measure), batch)
        with torch.no_grad():
            found = _Found(blocks, keep, keep_overall, writer)
            with progress(f"{method}: scores", len(blocks.sites), "sites") as shown:
                for site in blocks.sites:
                    found.add_site(site)
                    shown.advance(1)
    return found.graph({**about, "keep": keep, "keep_overall": keep_overall})


def _check(setting: Setting, keep: int, keep_overall: int) -> None:
    for name, value in (("keep", keep), ("keep_overall", keep_overall)):
        if value < 0:
            raise GraphError(f"{name} is {value}; it must be at least 0")
    if setting.bootstrap:
        raise DataError(
            f"bootstrap is {setting.bootstrap}: it needs scores of single examples, which are not there where only the "
            "strongest edges are kept; leave it at 0, or keep and keep_overall at 0"
        )


def unit_scorer_of(setting: Setting) -> UnitScorer | ChainUnitScorer:
    """The scorer that makes the passes."""
    if isinstance(setting.net, Sequential):
        return ChainUnitScorer(setting.net, setting.partition)
    return stream_scorer_of(setting)


def blocks_of(setting: Setting, store: RowStore) -> ScoreBlocks:
    """Blocks of scores of a kind of network."""
    if isinstance(setting.net, Sequential):
        return ChainBlocks(setting.net, setting.partition, store, int(setting.pairs.n), MEMORY)
    return StreamBlocks(setting, store, MEMORY)


class _Found:
    """What is kept of all scores."""

    def __init__(self, blocks: ScoreBlocks, keep: int, keep_overall: int, writer: MatrixWriter | None) -> None:
        self.blocks, self.writer = blocks, writer
        n = blocks.partition.n_nodes
        self.numbers = EdgeNumbers(n, len(blocks.channels))
        self.per_target = StrongestPerTarget(keep, self.numbers) if keep else None
        self.overall = StrongestOverall(keep_overall, self.numbers) if keep_overall else None
        self.sums, self.histogram = NodeSums(n), Histogram()

    def add_site(self, site: str) -> None:
        """All edges into a site."""
        for block in self.blocks.into(site):
            if self.writer is not None:
                self.writer.add(block)
            self._add(block)
            if self.per_target is not None and block.edges is not None:
                self.per_target.restart()
        if self.per_target is not None:
            self.per_target.close()

    def _add(self, block: Block) -> None:
        scores, absolute = block.scores, block.scores.abs()
        try:
            self.histogram.add(scores if block.edges is None else scores[block.edges])
        except DataError as error:
            raise DataError(f"scores of edges into {block.site} are not finite") from error
        target = self.blocks.partition.node_slice(block.site).start + block.into
        source = self.blocks.partition.node_slice(block.source).start + block.out_of
        self.sums.add(scores, absolute, target, source)
        if block.edges is not None:
            absolute = torch.where(block.edges, absolute, -1)
        for reducer in (self.per_target, self.overall):
            if reducer is not None:
                reducer.add(scores, absolute, target, self.blocks.channels.index(block.channel), source)

    def graph(self, about: dict[str, Any]) -> ComputationalGraph:
        """The edges kept, with what is known of the others."""
        pieces = [] if self.per_target is None else self.per_target.pieces
        kept = Edges.joined([*pieces, *([] if self.overall is None else [self.overall.edges()])])
        source, target, channel = self.numbers.columns(kept.number)
        return ComputationalGraph(
            self.blocks.partition,
            source,
            target,
            channel,
            kept.score,
            channels=self.blocks.channels,
            kind="effective",
            architecture=self.blocks.architecture,
            attributes=about | {"n_edges_scored": self.histogram.n, "histogram": self.histogram.about()},
            node_columns=self.sums.columns(),
        )
