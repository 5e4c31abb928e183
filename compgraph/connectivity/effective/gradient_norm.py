"""Products of norms: how much a source changes times how sensitive a destination is, whatever their directions.

    score(u -> v) = sum over positions of  |change of u's write| · |gradient of the metric at v's input|

in the clean run, averaged over examples; Euclidean norms, and in a chain, where v reads single units, the norms over
the units of u of their change and of the gradient at them through v. A saliency baseline after Simonyan et al. 2014
(arXiv 1312.6034). No standard form for edges was found; this one is ours [D], chosen because it bounds `eap`: by
Cauchy and Schwarz |score of eap| is at most this for every example, so that what `eap` adds is the alignment of the
two vectors. Never negative; it cannot see that a large change is in a direction that nothing reads.

Cost: as `eap`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.chains import ChainScorer
from compgraph.connectivity.effective.eap import check_metric, clean_gradient
from compgraph.connectivity.effective.passes import PassResult, Scorer
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.streams import Change, StreamScorer
from compgraph.data.batches import Batch
from compgraph.errors import ModelError
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_heads
from compgraph.partition import Partition


def compute(setting: Setting) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Raises
    ------
    DataError
        A metric that compares with the clean run, where its gradient is zero.
    GraphError
        Parts that hold only some units of a head.
    """
    check_metric(setting.metric, "gradient-norm")
    scorer = scorer_of_norms(setting.net, setting.partition, setting.split_qkv)
    return attribute(setting, clean_gradient, method="gradient-norm", scorer=scorer)


def scorer_of_norms(net: Network, partition: Partition, split_qkv: bool) -> Scorer:
    """The scorer that multiplies norms."""
    if isinstance(net, Transformer):
        check_heads(net, partition)
        return StreamNorms(net, partition, split_qkv)
    if isinstance(net, Sequential):
        return ChainNorms(net, partition)
    raise ModelError(f"gradient-norm has no scorer for {type(net).__name__}")


class StreamNorms(StreamScorer):
    """Products of norms in the residual stream of a transformer."""

    from_streams = False

    def bytes_per_example(self, pairs: Any) -> int:
        """Streams of all nodes of the largest site."""
        widest = self.net.spec.d_model * pairs.clean.shape[1] * max(self.count.values())
        return int(super().bytes_per_example(pairs) + 4 * widest * self.net.weights.embedding.element_size())

    def scores(self, change: Change, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """[batch, edges] in canonical order, or [1, edges] where many nodes meet many."""
        gradients, _ = self._gradients(result.tape, result.metric.sum(), keep)
        with torch.no_grad():
            sources = self.write_norms(change)
            return torch.cat([self._site(site, sources, gradients[site], result, batch) for site in self.sites[1:]], 1)

    def write_norms(self, change: Change) -> Tensor:
        """Norm of the change of every source's write at every position: [sources, batch, time]."""
        few = dict(zip(self.few, change.streams.split([self.count[s] for s in self.few]), strict=True))
        norms = [(few[s] if s in few else change.sources[s].writes()).norm(dim=-1) for s in self.sites[:-1]]
        return torch.cat(norms)

    def _site(
        self, site: str, sources: Tensor, gradient: dict[str, Tensor], result: PassResult, batch: Batch
    ) -> Tensor:
        """[batch or 1, edges] of the edges into one site."""
        reading = result.tape.readings[site]
        project = self._projection(reading)
        norms = []
        for group in self._reads(site, reading, gradient):
            pulled = group[0].pulled()
            for other in group[1:]:
                pulled = pulled + other.pulled()
            norms.append(project(pulled).norm(dim=-1))
        sources = sources[: sum(self.count[s] for s in self.net.architecture.reads[site])]
        if site == "logits":
            rows = torch.arange(len(batch), device=sources.device)
            sources, norms = sources[:, rows, batch.positions][..., None], [one[..., None] for one in norms]
        equation = "nbt,sbt->bns" if self.per_example else "nbt,sbt->ns"
        blocks = torch.stack([torch.einsum(equation, one, sources) for one in norms], -2)  # [.., nodes, channels, s]
        return blocks.flatten(1) if self.per_example else blocks.flatten()[None]


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
