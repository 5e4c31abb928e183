"""Scores of all edges of a transformer in blocks, whatever its sites are divided into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from compgraph.ablation.baselines import silent_sites
from compgraph.connectivity.blockwise.block import Block, Extent
from compgraph.connectivity.effective.passes import PassResult
from compgraph.connectivity.effective.scratch import RowStore
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.stream_sources import Change
from compgraph.connectivity.effective.unit_blocks import UnitBlocks, target_slices
from compgraph.connectivity.effective.unit_features import FeatureBlocks, FeatureUnitScorer
from compgraph.connectivity.effective.unit_layout import UnitLayout
from compgraph.connectivity.effective.unit_rows import UnitRows
from compgraph.connectivity.effective.unit_scorer import UnitScorer
from compgraph.data.batches import Batch
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.models.transformer import Transformer
from compgraph.patterns import pattern_of


def stream_scorer_of(setting: Setting) -> UnitScorer:
    """The scorer that carries everything as units."""
    net = setting.net
    assert isinstance(net, Transformer)
    if isinstance(net, FeatureTransformer):
        return FeatureUnitScorer(net, setting.partition, setting.split_qkv)
    return UnitScorer(net, setting.partition, setting.split_qkv)


class StreamBlocks:
    """`ScoreBlocks` of a transformer.

    Parameters
    ----------
    setting
        Network, nodes, and number of examples.
    store
        For the rows.
    memory
        Bytes that the products of a block may take, and as many the rows read for it.
    """

    def __init__(self, setting: Setting, store: RowStore, memory: int) -> None:
        self.n_examples, self.memory = int(setting.pairs.n), memory
        self.scorer = stream_scorer_of(setting)
        silent = silent_sites(setting.partition, setting.baseline)
        self.layout = UnitLayout(self.scorer, setting.partition, silent, memory)
        self.partition, self.architecture = self.layout.partition, self.layout.architecture
        self.channels, self.sites = self.layout.channels, list(self.layout.targets)
        self.rows = UnitRows(self.layout, self.scorer, store)
        self.units = UnitBlocks(self.layout, self.rows, self.n_examples, memory)
        self.features: FeatureBlocks | None = None
        if isinstance(self.scorer, FeatureUnitScorer):
            self.features = FeatureBlocks(self.layout, self.rows, self.scorer, self.n_examples, memory)
            self.rows.features = self.features

    def add(self, passes: Iterable[tuple[Change, PassResult, float]], batch: Batch) -> None:
        """See `ScoreBlocks`."""
        self.rows.add(passes, batch)

    def into(self, site: str) -> Iterator[Block]:
        """See `ScoreBlocks`."""
        if site in self.rows.patterns:
            served = self.scorer.served[site]
            scores = torch.where(served, self.rows.patterns[site] / self.n_examples, 0).to(self.rows.dtype)
            yield Block(site, "", 0, pattern_of(site), 0, scores, served)
        yield from self.units.into(site)
        if self.features is not None and site in self.scorer.divided:
            yield from self.features.into(site)

    def extents(self) -> Iterator[Extent]:
        """See `ScoreBlocks`."""
        for site, sides in self.layout.targets.items():
            for side in sides:
                for source in self.layout.read_by(site):
                    shape = side.units.n_nodes, source.units.n_nodes
                    if all(shape):
                        (a, b), (c, d) = target_slices(self.layout, side)[0], source.tiles[0]
                        yield Extent(side.site, side.channel, source.site, shape, (b - a, d - c))
            if self.features is not None and site in self.scorer.divided:
                yield from self.features.extents(site)
            if site in self.scorer.served:
                parts, heads = self.scorer.served[site].shape
                yield Extent(site, "", pattern_of(site), (parts, heads), (parts, heads))
