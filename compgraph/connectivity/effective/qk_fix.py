"""The query-key correction of AtP*: edges into queries and keys by the exact change of the attention pattern.

A gradient through a saturated softmax is almost zero, however much the pattern would change. The correction keeps
the gradient at the pattern A and recomputes the pattern itself: for s -> a head's q (k likewise), the norm, the
queries at all positions from the stream plus the change D_s of s's write, and the pattern A' that they give with the
clean keys;

    score = < A' - A, gradient of the metric at A >

The edge into v stays linear, and where channels are joined (`split_qkv=False`) the three scores are added
(Kramár et al. 2024, arXiv 2403.00745, for nodes; second-hand from re-implementations [2]; the form for edges is
derived here [D]). The paper changes the key at one position at a time, here an edge is ablated at all positions at
once, and A' is what all changed keys give together.

Where patterns are nodes of their own the corrected edges are those into them. Features and errors of dictionaries are
sources like any other; A' is not linear in a source, so that corrected scores of features and error do not sum to that
of their site [D].

Cost: the passes of `eap`, and for every source that changes the queries, keys and patterns of every later layer, in
blocks of sources: with many nodes a site this is dear.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.architectural import architectural_edges
from compgraph.connectivity.effective.features import FeatureScorer
from compgraph.connectivity.effective.gradients import Gradients
from compgraph.connectivity.effective.passes import PassResult
from compgraph.connectivity.effective.stream_sources import Change
from compgraph.data.batches import Batch
from compgraph.errors import ModelError
from compgraph.models.network import Network
from compgraph.models.positions import Context
from compgraph.models.tape import Reading, Tape
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.patterns import pattern_of, with_patterns

MEMORY_PER_STEP = 2**28
"""Bytes that the streams and patterns of the sources taken at once may take."""


class PatternScorer(FeatureScorer):
    """Scores of all edges, those into queries and keys by the change of patterns.

    Raises
    ------
    ModelError
        A chain, which has no attention.
    """

    def __init__(self, net: Network, partition: Partition, split_qkv: bool) -> None:
        if not isinstance(net, Transformer):
            raise ModelError(f"qk_fix is defined for transformers, not for {net.kind} networks")
        super().__init__(net, partition, split_qkv=True)
        self.attention = [site for site in self.sites if site.startswith("attn")]
        self.first_edge = _first_edges(net, partition)
        self.joined = None if split_qkv else _joined_edges(net, partition)
        self.at_patterns: Units = {}

    @property
    def differentiated(self) -> list[str]:
        """Patterns of all sites too."""
        return [*super().differentiated, *(pattern_of(site) for site in self.attention)]

    def steps_back(self, result: PassResult, *, keep: bool = False) -> Iterator[Gradients]:
        """See `StreamScorer.steps_back`; gradients at patterns are kept for the correction."""
        for step in super().steps_back(result, keep=keep):
            self.at_patterns = {site: step.at_units.pop(pattern_of(site)) for site in self.attention}
            yield step

    def scores(self, change: Change, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """[batch, edges] in canonical order, or [1, edges] where many nodes meet many."""
        scores = super().scores(change, result, batch, keep=keep)
        with torch.no_grad():
            context = self.net.context(batch.clean, batch.mask)
            for site in self.attention:
                fixed = self._fixed(site, change, result.tape, context)
                start, nodes, channels = self.first_edge[site]
                n = fixed.shape[-1]
                at = scores[:, start : start + nodes * channels * n].unflatten(1, (nodes, channels, n))
                at[:, :, :2] = fixed if self.per_example else fixed.sum(0, keepdim=True)
        if self.joined is None:
            return scores
        index, n_joined = self.joined
        return scores.new_zeros(len(scores), n_joined).index_add_(1, index.to(scores.device), scores)

    def _fixed(self, site: str, change: Change, tape: Tape, context: Context) -> Tensor:
        """Scores of the edges into the queries and keys of a site: [batch, nodes, 2, sources]."""
        reading, gradient = tape.readings[site], self.at_patterns[site]
        x = reading.xhat if reading.inverse_scale is None else reading.xhat / reading.inverse_scale
        pattern = tape.units[pattern_of(site)]
        per_source = 4 * (x.numel() + pattern.numel()) * x.element_size()
        most = max(1, MEMORY_PER_STEP // per_source)
        found = []
        for block in self.stream_blocks(change, self.net.architecture.reads[site]):
            scores = x.new_zeros(len(block), *pattern.shape[:2], 2)
            for some in block.flatten(1).any(1).nonzero()[:, 0].split(most):
                if len(some):
                    scores[some] = self._moved(site, x + block[some], reading, pattern, gradient, context)
            found.append(scores)
        by_head = torch.cat(found)
        if site in self.served:
            return by_head.permute(1, 2, 3, 0)  # a pattern is a node of its own
        return torch.einsum("sbhc,nh->bncs", by_head, self.heads_of[site].to(by_head))

    def _moved(
        self, site: str, streams: Tensor, reading: Reading, pattern: Tensor, gradient: Tensor, context: Context
    ) -> Tensor:
        """Products of gradients with changes of patterns when q or k reads another stream: [n, batch, heads, 2]."""
        net, layer, n = self.net, int(site.split(".")[1]), len(streams)
        block = net.weights.blocks[layer]
        y = net.gain(net.normalise(streams.flatten(0, 1))[0], block.attn_norm)
        new = {"q": net.project(y, block.w_q), "k": net.project(y, block.w_k)}
        old = {c: reading.pre[c].repeat(n, 1, 1, 1) for c in ("q", "k")}
        context = context.repeat(n)
        found = []
        for channel in ("q", "k"):
            pre = old | {channel: new[channel]}
            q, k, _ = net.rotated(layer, pre | {"v": old["k"]}, context)
            moved = net.pattern(layer, q, k, context).unflatten(0, (n, -1)) - pattern
            found.append((moved * gradient).sum((-2, -1)))
        return torch.stack(found, -1)


def _first_edges(net: Transformer, partition: Partition) -> dict[str, tuple[int, int, int]]:
    """Attention site -> first edge into its queries, nodes that read, channels they read by."""
    _, target, _ = architectural_edges(net, partition, True)
    architecture, full = with_patterns(net, partition)
    found = {}
    for site in net.architecture.node_sites:
        if site.kind == "attn":
            readers = pattern_of(site.name) if pattern_of(site.name) in full.labels else site.name
            nodes = full.node_slice(readers)
            first = int(np.searchsorted(target, nodes.start))
            found[site.name] = first, nodes.stop - nodes.start, len(architecture.channels[readers])
    return found


def _joined_edges(net: Transformer, partition: Partition) -> tuple[Tensor, int]:
    """For every edge the one that it is part of where channels are joined, and the number of those."""
    n = with_patterns(net, partition)[1].n_nodes

    def keys(split_qkv: bool) -> npt.NDArray[Any]:
        source, target, _ = architectural_edges(net, partition, split_qkv)
        return target.astype(np.int64) * n + source

    joined = keys(False)
    order = np.argsort(joined)
    return torch.from_numpy(order[np.searchsorted(joined[order], keys(True))]), len(joined)
