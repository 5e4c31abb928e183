"""Information flow routes: how much of the stream that a node reads comes from each source.

With x the stream at destination d in the clean run and w_s the write of source s,

    p_s = max(0, |x|_1 - |x - w_s|_1),   normalised to sum 1 over the sources,

averaged over real positions and examples (Ferrando & Voita 2024, arXiv 2403.00824, in the variant of the EAP-IG
package: all sources at once, no key positions, floor 0; design.md, section 9). No metric, no gradient: one forward
pass. All destinations of a site read the same stream, so that their scores are equal. Where no source has a
positive p_s all scores of that position are 0. Scores are shares, so select greedily from the logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compgraph.ablation.baselines import Zero, silent_sites
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.streams import StreamScorer
from compgraph.connectivity.effective.tally import EdgeTally
from compgraph.connectivity.effective.walk import walk
from compgraph.data.batches import Batch, batches
from compgraph.graph import ComputationalGraph
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_heads
from compgraph.partition import Partition
from compgraph.progress import track


def compute(setting: Setting) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`; `metric` and `baseline` play no part."""
    net, pairs = setting.net, setting.pairs
    assert isinstance(net, Transformer)
    check_heads(net, setting.partition)
    tally = EdgeTally(setting)
    scorer = StreamScorer(net, setting.partition, setting.split_qkv)
    size = setting.batch_size or min(pairs.n, 64)
    steps = -(-pairs.n // size)
    with torch.no_grad():
        for batch in track(batches(net, pairs, size), "information-flow-routes", total=steps, unit="batch"):
            tally.add(_shares(scorer, setting.partition, batch).double().cpu().numpy(), batch.rows)
    return tally.graph({"method": "information-flow-routes"})


def _shares(scorer: StreamScorer, partition: Partition, batch: Batch) -> Tensor:
    """[batch, edges] in canonical order."""
    net = scorer.net
    clean = net.run(batch.clean, batch.mask, capture=scorer.sources, positions=batch.positions).units
    zero = Zero()
    change = scorer.change(clean, zero.units(net, batch, scorer.sources), silent_sites(partition, zero))
    writes = -scorer.all_streams(change)
    real = torch.ones_like(batch.clean, dtype=torch.bool) if batch.mask is None else batch.mask
    at = torch.arange(len(batch), device=writes.device)
    columns = []
    for step in walk(net, batch, net.context(batch.clean, batch.mask)):
        n = sum(scorer.count[s] for s in net.architecture.reads[step.site])
        if step.site == "logits":
            share = _proximity(step.stream[:, None], writes[:n, at, batch.positions][:, :, None]).squeeze(-1)
            columns.append(share.T)
            continue
        shares = _proximity(step.stream, writes[:n])
        mean = (shares * real).sum(-1) / real.sum(-1)
        channels = 3 if step.site.startswith("attn") and scorer.split_qkv else 1
        columns.append(mean.T.repeat(1, channels * len(scorer.parts[step.site])))
    return torch.cat(columns, 1)


def _proximity(x: Tensor, writes: Tensor) -> Tensor:
    """[batch, time, d], [sources, batch, time, d] -> shares [sources, batch, time]."""
    whole = x.abs().sum(-1)
    p = torch.stack([(whole - (x - write).abs().sum(-1)).clamp_min(0) for write in writes])
    return (p / p.sum(0)).nan_to_num(0.0)
