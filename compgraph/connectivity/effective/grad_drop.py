"""GradDrop of AtP*: scores that survive the cancellation of paths.

Gradients along two paths can cancel although each path matters. For each layer l in turn the backward pass is cut off
from the writes of block l, so that it goes past the block on the residual stream alone; with I_l the score that
results for one example,

    score = mean over examples of  sum over l of |I_l|  / (number of layers that can matter to the edge)

A destination in layer l has no gradient left when l is dropped, so that L - 1 layers can matter to it; L to `logits`
(Kramár et al. 2024, arXiv 2403.00745, for nodes; the form for edges is derived here [D]). The paper's formula is
second-hand, from a re-implementation that cites its equation 11 [2]; that re-implementation cuts off attention for
the scores of attention and the MLP for those of MLPs, here the whole block is cut off for all [NF].

An edge into a feature of layer l counts as one into that layer, and absolute values are taken feature by feature: the
scores of features and error do not sum to that of the site, as heads do not sum to their layer.

Scores are not signed. Cost: a forward and L backward passes. Where parts are so fine that scores exist as sums over a
batch only, examples are run one at a time (`example_by_example`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.architectural import architectural_edges
from compgraph.connectivity.effective.blocking import blocked
from compgraph.connectivity.effective.features import FeatureScorer
from compgraph.connectivity.effective.passes import Edit, PassResult, Scorer
from compgraph.connectivity.effective.setting import Setting
from compgraph.data.batches import Batch
from compgraph.errors import ModelError
from compgraph.metrics import Metric, Targets
from compgraph.models.network import Network
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.patterns import with_patterns


class GradDropScorer:
    """A scorer (`passes.Scorer`) that gives the scores of every dropped layer side by side, [batch, layers · edges].

    Scores are averaged over a method's passes before `fold` takes absolute values.

    Parameters
    ----------
    scorer
        The scorer whose gradients are cut; the usual one where None.
    recompute
        Of the usual one (`streams.StreamScorer`).

    Raises
    ------
    ModelError
        A chain, which has no stream that could go past a layer, or a single layer.
    """

    def __init__(
        self,
        net: Network,
        partition: Partition,
        split_qkv: bool,
        scorer: Scorer | None = None,
        recompute: bool = False,
    ) -> None:
        if not isinstance(net, Transformer):
            raise ModelError(f"grad_drop is defined for transformers, not for {net.kind} networks")
        self.n_layers = net.spec.n_layers
        if self.n_layers < 2:
            raise ModelError("grad_drop needs a network of at least two layers; dropping the only one leaves nothing")
        self.inner = scorer or FeatureScorer(net, partition, split_qkv, recompute)
        self.sources: Sequence[str] = self.inner.sources
        self.per_example = True  # of batches as `example_by_example` makes them
        self.n_edges, self.divisor = _layers_that_matter(net, partition, split_qkv)
        self.dropped = -1

    def bytes_per_example(self, pairs: Any) -> int:
        """Those of the scorer, and the scores of every layer."""
        return self.inner.bytes_per_example(pairs) + 8 * self.n_layers * self.n_edges

    def run(self, batch: Batch, edit: Mapping[str, Edit], metric: Metric, targets: Targets) -> PassResult:
        """Forward pass whose writes can be cut off from the backward pass, layer by layer."""
        gates = {
            f"{kind}.{layer}/write": self._gate(layer, edit.get(f"{kind}.{layer}/write"))
            for layer in range(self.n_layers)
            for kind in ("attn", "mlp")
        }
        return self.inner.run(batch, {**edit, **gates}, metric, targets)

    def _gate(self, layer: int, inner: Edit | None) -> Callable[[Tensor], Tensor]:
        def closed() -> bool:
            return self.dropped == layer

        return lambda write: blocked(write if inner is None else inner(write), closed)

    def change(self, clean: Units, baseline: Units, silent: Collection[str] = ()) -> Any:
        """That of the scorer."""
        return self.inner.change(clean, baseline, silent)

    def scores(self, change: Any, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """[batch, layers · edges]."""
        found = []
        for layer in range(self.n_layers):
            self.dropped, last = layer, layer == self.n_layers - 1
            found.append(self.inner.scores(change, result, batch, keep=keep or not last))
        self.dropped = -1
        return torch.cat(found, 1)

    def fold(self, scores: Tensor) -> Tensor:
        """[batch, layers · edges] -> [batch, edges]."""
        by_layer = scores.reshape(len(scores), self.n_layers, -1)
        return by_layer.abs().sum(1) / self.divisor.to(scores)


def example_by_example(setting: Setting, scorer: Scorer) -> Setting:
    """The same question in batches of one, where the scores of a batch are sums over its examples."""
    return setting if scorer.per_example else replace(setting, batch_size=1)


def _layers_that_matter(net: Transformer, partition: Partition, split_qkv: bool) -> tuple[int, Tensor]:
    """Number of edges, and for each the number of layers whose absence can leave it a score: [edges]."""
    _, target, _ = architectural_edges(net, partition, split_qkv)
    logits = with_patterns(net, partition)[1].node_slice("logits")
    into_logits = torch.from_numpy((target >= logits.start) & (target < logits.stop))
    return len(target), torch.where(into_logits, net.spec.n_layers, net.spec.n_layers - 1)
