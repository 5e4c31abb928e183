"""Products of norms: how much a source changes times how sensitive a destination is, whatever their directions.

    score(u -> v) = sum over positions of  |change of u's write| · |gradient of the metric at v's input|

in the clean run, averaged over examples; Euclidean norms, and in a chain, where v reads single units, the norms over
the units of u of their change and of the gradient at them through v. A saliency baseline after Simonyan et al. 2014
(arXiv 1312.6034). No standard form for edges was found; this one is ours [D], chosen because it bounds `eap`: by
Cauchy and Schwarz |score of eap| is at most this for every example, so that what `eap` adds is the alignment of the
two vectors. Never negative; it cannot see that a large change is in a direction that nothing reads.

The same holds at every granularity [D]. A feature writes its change times its decoder row, an error the vector that it
is; v's input is the stream by v's channel, whether v is a head, a pattern, a part that reads values, a feature or an
error. A pattern u is a vector over keys for every query: score(pattern -> v) is the sum over queries of |change of the
pattern there| · |gradient there through v|, over the keys that the query can look at. Norms do not add up: the score of
a site is not the sum of those of its parts.

Cost: as `eap`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.chains import ChainScorer
from compgraph.connectivity.effective.eap import clean_gradient
from compgraph.connectivity.effective.endpoints import Destination, Projection
from compgraph.connectivity.effective.features import FeatureDestination, FeatureScorer
from compgraph.connectivity.effective.passes import PassResult, Scorer
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.stream_sources import BLOCK_BYTES, Change
from compgraph.data.batches import Batch
from compgraph.errors import ModelError
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition


def compute(setting: Setting) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`."""
    scorer = scorer_of_norms(setting.net, setting.partition, setting.split_qkv)
    return attribute(setting, clean_gradient, method="gradient-norm", scorer=scorer)


def scorer_of_norms(net: Network, partition: Partition, split_qkv: bool) -> Scorer:
    """The scorer that multiplies norms."""
    if isinstance(net, Transformer):
        return StreamNorms(net, partition, split_qkv)
    if isinstance(net, Sequential):
        return ChainNorms(net, partition)
    raise ModelError(f"gradient-norm has no scorer for {type(net).__name__}")


@dataclass
class NormChange(Change):
    """What ablation changes, with `norms` [sources, batch, time], those of every source's change of write; the
    streams themselves are not kept."""

    norms: Tensor


class StreamNorms(FeatureScorer):
    """Products of norms in the residual stream of a transformer."""

    from_streams = False

    def bytes_per_example(self, pairs: Any) -> int:
        """Those of the scorer, and the norms of all sources and of one site's nodes."""
        norms = (sum(self.count.values()) + 3 * max(self.count.values())) * pairs.clean.shape[1]
        return int(super().bytes_per_example(pairs) + norms * self.net.dtype.itemsize)

    def change(self, clean: Units, baseline: Units, silent: Collection[str] = ()) -> NormChange:
        """Norms of the changes of all writes, and the changes of patterns."""
        change = super().change(clean, baseline, silent)
        norms = torch.cat([block.norm(dim=-1) for block in self.stream_blocks(change, self.sites[:-1])])
        return NormChange(norms.new_zeros(0), {}, change.patterns, norms)

    def _into(
        self, site: str, change: Change, reads: list[list[Destination]], reading: Reading, batch: Batch
    ) -> Tensor:
        """See `StreamScorer`."""
        assert isinstance(change, NormChange)
        project = self._projection(reading)
        norms = torch.stack([self._read_norms(group, project) for group in reads])
        sources = change.norms[: sum(self.count[s] for s in self.net.architecture.reads[site])]
        if site == "logits":
            rows = torch.arange(len(batch), device=sources.device)
            sources, norms = sources[:, rows, batch.positions][..., None], norms[..., None]
        if self.per_example:
            return torch.einsum("cnbt,sbt->bcns", norms, sources)
        return torch.einsum("cnbt,sbt->cns", norms, sources)[None]

    @staticmethod
    def _read_norms(group: list[Destination], project: Projection) -> Tensor:
        """Norm of the gradient at the stream of every node [nodes, batch, (time)], in blocks of nodes."""
        first = group[0]
        gradients = torch.stack([one.gradient.abs() for one in group]).sum(0)
        reads = first.parts.sums(gradients).flatten(0, -2).any(0)
        out = gradients.new_zeros(len(first.parts), *gradients.shape[:-1])
        size = out[0].numel() * first.readers.shape[-1] * out.element_size()
        for keep in reads.nonzero()[:, 0].split(max(1, BLOCK_BYTES // size)):
            if len(keep):
                pulled = sum((one.pulled(keep) for one in group[1:]), first.pulled(keep))
                out[keep] = project(pulled).norm(dim=-1)
        return out

    def _from_patterns(self, site: str, change: Change, reading: Reading, at_units: Tensor, batch: Batch) -> Tensor:
        """See `StreamScorer`."""
        label = self.parts[site].label
        return self._pattern_norms(site, change, reading, batch, lambda keep: at_units * (label == _over_units(keep)))

    def _from_heads(self, site: str, change: Change, reading: Reading, one: FeatureDestination, batch: Batch) -> Tensor:
        """See `FeatureScorer`."""
        output = one.through.output
        return self._pattern_norms(site, change, reading, batch, lambda keep: output.back(one.at_described(keep)))

    def _pattern_norms(
        self, site: str, change: Change, reading: Reading, batch: Batch, at_hidden: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Products of norms of patterns [batch or 1, nodes, heads], from the gradient of some nodes at what the heads
        compute [nodes, batch, time, heads * d_head]."""
        net, layer = self.net, int(site.split(".")[1])
        moved, values = change.patterns[site].norm(dim=-1), net.values(layer, reading.pre["v"])
        time = values.shape[1]
        never = ~net.allowed(layer, net.context(batch.clean, batch.mask), time)
        found = []
        size = moved.numel() * time * moved.element_size()
        for keep in torch.arange(self.count[site], device=moved.device).split(max(1, BLOCK_BYTES // size)):
            by_head = at_hidden(keep).unflatten(-1, values.shape[-2:])
            at_pattern = torch.einsum("nbqhe,bkhe->nbhqk", by_head, values).masked_fill_(never, 0)
            found.append(torch.einsum("nbhq,bhq->bnh", at_pattern.norm(dim=-1), moved))
        out = torch.cat(found, 1)
        return out if self.per_example else out.sum(0, keepdim=True)


def _over_units(nodes: Tensor) -> Tensor:
    return nodes[:, None, None, None]


class ChainNorms(ChainScorer):
    """Products of norms over the units of a chain's sources."""

    def scores(self, change: Units, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """[batch, edges] in canonical order."""
        names = self.sites[1:]
        gradients = torch.autograd.grad(result.metric.sum(), [result.tape[n] for n in names], retain_graph=keep)
        columns = []
        with torch.no_grad():
            for source, name, g in zip(self.sources, names, gradients, strict=True):
                parts = self.parts[source]
                at_reads = parts.sums(self._pull_back(name, g.flatten(1)).pow(2)).sqrt()
                block = at_reads * parts.sums(change[source].pow(2)).sqrt()
                columns.append(block.transpose(0, 1).flatten(1))
        return torch.cat(columns, 1)
