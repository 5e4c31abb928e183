"""Edge ablation of transformers with dictionaries: features and errors read streams of their own.

A circuit whose features all keep different edges costs one run of the site for each
(`compgraph.ablation.feature_sites`).
"""

from __future__ import annotations

from torch import Tensor

from compgraph.ablation.feature_sites import UndividedFeatures, feature_sites
from compgraph.ablation.plan import SitePlan
from compgraph.ablation.stream_runner import StreamRunner
from compgraph.ablation.streams import Base
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.partition import Partition


class FeatureRunner(StreamRunner):
    """Runs circuits of a transformer with dictionaries."""

    def __init__(self, net: FeatureTransformer, partition: Partition, norm_scale: str = "exact") -> None:
        self.dictionaries = frozenset(net.dictionaries)
        super().__init__(net, partition, norm_scale)
        self.features = feature_sites(net, self.parts, self.fine)

    def _has_heads(self, site: str) -> bool:
        return super()._has_heads(site) and site not in self.dictionaries

    def _kind(self, site: str) -> str:
        return "whole" if site in self.dictionaries else super()._kind(site)

    def _whole(self, site: SitePlan, state: int, base: Base, changes: Tensor) -> Tensor:
        name = site.shape.name
        if name not in self.features:
            return super()._whole(site, state, base, changes)
        streams, one = self._streams(name, site, state, base, changes), self.features[name]
        if isinstance(one, UndividedFeatures):
            return one.units(self._reading(name, base), base, streams)
        return one.units(base, streams)
