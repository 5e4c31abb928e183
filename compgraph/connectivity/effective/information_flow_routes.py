"""Information flow routes: how much of the stream that a node reads comes from each source.

With x the stream at destination d in the clean run and w_s the write of source s,

    p_s = max(0, |x|_1 - |x - w_s|_1),   normalised to sum 1 over the sources,

averaged over real positions and examples (Ferrando & Voita 2024, arXiv 2403.00824, in the variant of the EAP-IG
package: all sources at once, no key positions, floor 0; design.md, section 9). No metric, no gradient: one forward
pass. All destinations of a site read the same stream, so that their scores are equal. Where no source has a
positive p_s all scores of that position are 0. Scores are shares, so select greedily from the logits.

Parts finer than heads and dictionaries [D]: a unit or feature writes its value times its decoder row, an error the
vector that it is; patterns, parts that read values, features and errors read the stream of their site. What comes
through the patterns is shared out in a part's own units a: a is linear in what the heads compute (features and error
at the set of features that are active), a = constant + sum over heads of a_h, and

    p_h = max(0, |a|_1 - |a - a_h|_1),   normalised over the heads,

|.|_1 over the part's units, at every position. So an identity dictionary gives what plain units give. A part reads the
stream and the patterns by readings of their own, each with shares that sum to 1. Shares of features and error do not
sum to the share of their site: |.|_1 is not linear.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.baselines import Zero, silent_sites
from compgraph.connectivity.effective.feature_jacobians import Output
from compgraph.connectivity.effective.features import FeatureScorer
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.tally import EdgeTally
from compgraph.connectivity.effective.walk import Step, walk
from compgraph.data.batches import Batch, batches
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.graph import ComputationalGraph
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.patterns import pattern_of
from compgraph.progress import track

MEMORY_PER_BATCH = 2**28
"""Bytes that one batch may take; decides the batch size where none is given."""


def compute(setting: Setting) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`; `metric` and `baseline` play no part."""
    net, pairs = setting.net, setting.pairs
    scorer = scorer_of_shares(setting)
    tally = EdgeTally(setting, scorer.per_example)
    size = setting.batch_size or examples_per_batch(scorer, pairs)
    steps = -(-pairs.n // size)
    with torch.no_grad():
        for batch in track(batches(net, pairs, size), "information-flow-routes", total=steps, unit="batch"):
            tally.add(_shares(scorer, setting.partition, batch).double().cpu().numpy(), batch.rows)
    return tally.graph({"method": "information-flow-routes"})


def scorer_of_shares(setting: Setting) -> FeatureScorer:
    """What knows the nodes and their writes."""
    assert isinstance(setting.net, Transformer)
    return FeatureScorer(setting.net, setting.partition, setting.split_qkv)


def bytes_per_example(scorer: FeatureScorer, pairs: Any) -> int:
    """Writes of the few, units of the many, and shares of all sources of one site."""
    nodes, heads = sum(scorer.count.values()), scorer.net.spec.n_heads
    finest = max((heads * scorer.count[site] for site in scorer.served), default=0)
    shares = 3 * (nodes + finest) * pairs.clean.shape[1] * scorer.net.dtype.itemsize
    return scorer.bytes_per_example(pairs) + int(shares)


def examples_per_batch(scorer: FeatureScorer, pairs: Any) -> int:
    """As many as fit, at most 64."""
    return int(np.clip(MEMORY_PER_BATCH // bytes_per_example(scorer, pairs), 1, min(pairs.n, 64)))


def _shares(scorer: FeatureScorer, partition: Partition, batch: Batch) -> Tensor:
    """[batch, edges] in canonical order, or sums [1, edges] where many nodes meet many."""
    net, zero = scorer.net, Zero()
    clean = net.capture(batch.clean, batch.mask, scorer.sources)
    change = scorer.change(clean, zero.units(net, batch, scorer.sources), silent_sites(partition, zero))
    real = torch.ones_like(batch.clean, dtype=torch.bool) if batch.mask is None else batch.mask
    columns = []

    def mean(shares: Tensor) -> Tensor:
        """[n, batch, time] -> [batch or 1, n]"""
        found = ((shares * real).sum(-1) / real.sum(-1)).T
        return found if scorer.per_example else found.sum(0, keepdim=True)

    for step in walk(net, batch, net.context(batch.clean, batch.mask)):
        sources = net.architecture.reads[step.site]
        if step.site == "logits":
            assert batch.positions is not None
            blocks = scorer.stream_blocks(change.at(batch.positions), sources)
            share = _of_stream(step.stream[:, None], blocks)[..., 0].T
            columns.append(share if scorer.per_example else share.sum(0, keepdim=True))
            continue
        share = mean(_of_stream(step.stream, scorer.stream_blocks(change, sources)))
        attention = step.site.startswith("attn")
        if step.site not in scorer.served:
            columns.append(share.repeat(1, scorer.count[step.site] * (3 if attention and scorer.split_qkv else 1)))
            continue
        columns.append(share.repeat(1, net.spec.n_heads * (2 if scorer.split_qkv else 1)))
        through = _of_patterns(scorer, step, clean[pattern_of(step.site)])
        patterns = torch.stack([mean(one) for one in through], -1)
        values = share[:, None].expand(-1, patterns.shape[1], -1)
        columns.append(scorer.beside_patterns(step.site, patterns, values))
    return torch.cat(columns, 1)


def _of_stream(x: Tensor, changes: Iterable[Tensor]) -> Tensor:
    """Stream [batch, time, d] and what leaving out sources would add to it, in blocks: [sources, batch, time]."""
    whole = x.abs().sum(-1)
    lost = [whole - torch.stack([(x + change).abs().sum(-1) for change in block]) for block in changes]
    return _normalised(torch.cat(lost))


def _of_patterns(scorer: FeatureScorer, step: Step, pattern: Tensor) -> Tensor:
    """What comes through each head's pattern in the units of every part: [heads, parts, batch, time]."""
    net, parts = scorer.net, scorer.parts[step.site]
    layer = int(step.site.split(".")[1])
    hidden = net.mix(pattern, net.values(layer, step.reading.pre["v"]))
    assert step.units is not None
    whole = parts.sums(step.units.abs())
    lost = []
    for head in range(net.spec.n_heads):
        own = torch.zeros_like(hidden)
        columns = slice(head * net.spec.d_head, (head + 1) * net.spec.d_head)
        own[..., columns] = hidden[..., columns]
        summand = _summand(net, step.site, hidden, own)
        lost.append((whole - parts.sums((step.units - summand).abs())).movedim(-1, 0))
    return _normalised(torch.stack(lost))


def _summand(net: Transformer, site: str, hidden: Tensor, own: Tensor) -> Tensor:
    """What a summand `own` of what the heads compute (`hidden`) adds to the units [batch, time, n_units] of a site."""
    if not isinstance(net, FeatureTransformer) or site not in net.dictionaries:
        return own
    one = net.dictionaries[site]
    x = replace(Output.of(net, site, hidden), xhat=None).forward(own)
    features = (x @ one.encoder) * one.active(one.pre_activations(net.described(site, hidden)))
    return features if one.complete else torch.cat([features, x - features @ one.rows], -1)


def _normalised(lost: Tensor) -> Tensor:
    """Positive shares of the first axis that sum to 1, or are all 0."""
    positive = lost.clamp_min(0)
    return (positive / positive.sum(0)).nan_to_num(0.0)
