"""Graphs of so many edges that only the strongest can be kept: all scores are computed, few stay.

One pass over the data gathers what every unit has to say (`unit_rows`), in memory or on disk, so that memory does not
depend on the number of examples; then the scores come by in blocks of two sites (`unit_blocks`), each once. Kept are
the strongest edges of every target and of the whole (`strongest_edges`), and of all scores their sums by node, their
number and their histogram (`score_summary`). A user who wants every score gets them in a file (`score_matrix`).

Cost beyond the gradient passes: about 2 · (2 rows + width) floating-point operations per pair of units, a row being a
position of an example at which something changes and the target has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compgraph.ablation.baselines import silent_sites
from compgraph.connectivity.effective.attribution import MEMORY_PER_BATCH, attribute, gradient_passes
from compgraph.connectivity.effective.passes import Passes, Scorer
from compgraph.connectivity.effective.score_matrix import MatrixWriter, ScoreMatrix
from compgraph.connectivity.effective.score_summary import Histogram, NodeSums
from compgraph.connectivity.effective.scratch import RowStore
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.strongest_edges import EdgeNumbers, Edges, StrongestOverall, StrongestPerTarget
from compgraph.connectivity.effective.unit_blocks import UnitBlocks
from compgraph.connectivity.effective.unit_layout import UnitLayout
from compgraph.connectivity.effective.unit_rows import UnitRows, UnitScorer
from compgraph.data.batches import batches
from compgraph.errors import DataError, GraphError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import get_metric
from compgraph.models.transformer import Transformer
from compgraph.patterns import pattern_of
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
    """Score all edges of a transformer as `attribution.attribute` does, and keep the strongest.

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
    ModelError
        A chain, or dictionaries.
    StoreError
        A matrix that cannot be written, or rows that do not fit on the disk.
    """
    net, pairs, n = setting.net, setting.pairs, int(setting.pairs.n)
    _check(setting, keep, keep_overall)
    assert isinstance(net, Transformer)
    measure = get_metric(setting.metric, differentiable=True)
    scorer = UnitScorer(net, setting.partition, setting.split_qkv)
    layout = UnitLayout(scorer, setting.partition, silent_sites(setting.partition, setting.baseline), MEMORY)
    size = setting.batch_size or int(np.clip(MEMORY_PER_BATCH // scorer.bytes_per_example(pairs), 1, n))
    about = setting.about(method, **(attributes or {}), split_qkv=setting.split_qkv, n_examples=n)
    with ExitStack() as stack:
        writer = None
        if matrix is not None:
            request = matrix if isinstance(matrix, ScoreMatrix) else ScoreMatrix(matrix)
            writer = stack.enter_context(request.writer(setting, layout, about))
        store = stack.enter_context(RowStore())
        rows = UnitRows(layout, scorer, store)
        for batch in track(batches(net, pairs, size), description=method, total=-(-n // size), unit="batch"):
            rows.add(gradient_passes(setting, scorer, batch, passes, measure), batch)
        with torch.no_grad():
            found = _Found(layout, keep, keep_overall, writer)
            blocks = UnitBlocks(layout, rows, n, MEMORY)
            with progress(f"{method}: scores", len(layout.targets), "sites") as shown:
                for site in layout.targets:
                    found.add_site(site, blocks, rows, n)
                    shown.advance(1)
    return found.graph({**about, "keep": keep, "keep_overall": keep_overall})


def _check(setting: Setting, keep: int, keep_overall: int) -> None:
    for name, value in (("keep", keep), ("keep_overall", keep_overall)):
        if value < 0:
            raise GraphError(f"{name} is {value}; it must be at least 0")
    if not isinstance(setting.net, Transformer):
        raise ModelError(
            f"keep and keep_overall serve transformers; the graph of a {setting.net.kind} network is complete: leave "
            "both at 0"
        )
    if any(site.n_features for site in setting.net.architecture.sites):
        raise ModelError("keep and keep_overall do not serve networks with dictionaries; leave both at 0")
    if setting.bootstrap:
        raise DataError(
            f"bootstrap is {setting.bootstrap}: it needs scores of single examples, which are not there where only the "
            "strongest edges are kept; leave it at 0, or keep and keep_overall at 0"
        )


class _Found:
    """What is kept of all scores."""

    def __init__(self, layout: UnitLayout, keep: int, keep_overall: int, writer: MatrixWriter | None) -> None:
        self.layout, self.writer = layout, writer
        n = layout.partition.n_nodes
        self.numbers = EdgeNumbers(n, len(layout.channels))
        self.per_target = StrongestPerTarget(keep, self.numbers) if keep else None
        self.overall = StrongestOverall(keep_overall, self.numbers) if keep_overall else None
        self.sums, self.histogram = NodeSums(n), Histogram()

    def add_site(self, site: str, blocks: UnitBlocks, rows: UnitRows, n_examples: int) -> None:
        """All edges into a site."""
        if site in rows.patterns:
            self._add_patterns(site, rows.patterns[site] / n_examples, rows.dtype)
        for block in blocks.into(site):
            into, out_of = block.target, block.source
            if self.writer is not None:
                place = (into.site, into.channel, block.into), (out_of.site, block.out_of)
                self.writer.add(block.scores, *place)
            self._add(
                site, block.scores, into.nodes.start + block.into, into.code, out_of.nodes.start + block.out_of, None
            )
        if self.per_target is not None:
            self.per_target.close()

    def _add_patterns(self, site: str, scores: torch.Tensor, dtype: torch.dtype) -> None:
        """Edges from the patterns of a site into its parts, [parts, heads]."""
        served = self.layout.scorer.served[site]
        scores = torch.where(served, scores, 0).to(dtype)
        if self.writer is not None:
            self.writer.add(scores, (site, "", 0), (pattern_of(site), 0))
        target, source = (self.layout.partition.node_slice(s).start for s in (site, pattern_of(site)))
        self._add(site, scores, target, 0, source, served)
        if self.per_target is not None:
            self.per_target.restart()

    def _add(
        self, site: str, scores: torch.Tensor, target: int, channel: int, source: int, edges: torch.Tensor | None
    ) -> None:
        """A block [targets, sources]; `edges` says which entries are edges, None for all. Others must be 0."""
        absolute = scores.abs()
        try:
            self.histogram.add(scores if edges is None else scores[edges])
        except DataError as error:
            raise DataError(f"scores of edges into {site} are not finite") from error
        self.sums.add(scores, absolute, target, source)
        if edges is not None:
            absolute = torch.where(edges, absolute, -1)
        for reducer in (self.per_target, self.overall):
            if reducer is not None:
                reducer.add(scores, absolute, target, channel, source)

    def graph(self, about: dict[str, Any]) -> ComputationalGraph:
        """The edges kept, with what is known of the others."""
        pieces = [] if self.per_target is None else self.per_target.pieces
        kept = Edges.joined([*pieces, *([] if self.overall is None else [self.overall.edges()])])
        source, target, channel = self.numbers.columns(kept.number)
        return ComputationalGraph(
            self.layout.partition,
            source,
            target,
            channel,
            kept.score,
            channels=self.layout.channels,
            kind="effective",
            architecture=self.layout.architecture,
            attributes=about | {"n_edges_scored": self.histogram.n, "histogram": self.histogram.about()},
            node_columns=self.sums.columns(),
        )
