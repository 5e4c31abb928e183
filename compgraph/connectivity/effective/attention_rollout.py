"""Attention rollout, carried over to edges.

Rollout follows attention alone, back from the scored position: with A_l the mean pattern of the heads of layer l,

    ρ_L = the scored position,        ρ_l-1 = ½ (ρ_l + ρ_l A_l)

is the weight that every position of the stream in front of layer l has for the output; the halves stand for the
residual connection and the attention (Abnar & Zuidema 2020, arXiv 2005.00928, who give weights of positions, no
edges). A destination then reads the positions

    query of head h in layer l:         ρ_l
    key and value of head h:            ρ_l A_l,h
    MLP of layer l:                     ρ_l
    logits:                             the scored position

each a distribution that sums to 1 (a part of several heads: their mean; so is a part that reads values of some heads'
units; a feature or error of attention is read off all heads), and

    score(u -> v) = sum over positions of  (weight that v gives to the position) · |change of u's write there|

averaged over examples. The second half is ours [D]: rollout's own weights, summed over positions, are the same for
every edge. Features and errors of dictionaries are sources by what they write, and those of an MLP read as it does.
Where patterns are nodes, their queries and keys read as those of the head; a part reads the pattern of a head at the
queries that the output looks at, score(pattern -> part) = sum over queries of ρ_l · |change of the pattern there|
[D]. Where channels are joined the three scores of a head are added. No metric and no gradient: a clean and a baseline
forward pass. Blind to what values carry, to what MLPs do, and to signs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compgraph.ablation.baselines import silent_sites
from compgraph.connectivity.effective.gradient_norm import StreamNorms
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.tally import EdgeTally
from compgraph.data.batches import Batch, batches
from compgraph.graph import ComputationalGraph
from compgraph.models.transformer import Transformer
from compgraph.patterns import pattern_of
from compgraph.progress import track

MEMORY_PER_BATCH = 2**28
"""Bytes that one batch may take; decides the batch size where none is given."""


def compute(setting: Setting) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`; `metric` plays no part."""
    net, pairs = setting.net, setting.pairs
    assert isinstance(net, Transformer)
    scorer = StreamNorms(net, setting.partition, setting.split_qkv)
    tally = EdgeTally(setting, scorer.per_example)
    time = pairs.clean.shape[1]
    patterns = net.spec.n_layers * net.spec.n_heads * time**2 * net.weights.embedding.element_size()
    size = setting.batch_size or max(1, min(pairs.n, MEMORY_PER_BATCH // (scorer.bytes_per_example(pairs) + patterns)))
    with torch.no_grad():
        for batch in track(batches(net, pairs, size), "attention-rollout", total=-(-pairs.n // size), unit="batch"):
            tally.add(_scores(scorer, setting, batch).double().cpu().numpy(), batch.rows)
    return tally.graph({"method": "attention-rollout", **setting.baseline.about()})


def _scores(scorer: StreamNorms, setting: Setting, batch: Batch) -> Tensor:
    """[batch, edges] in canonical order, or [1, edges] where many nodes meet many."""
    net, sites = scorer.net, scorer.sites
    patterns = [pattern_of(site) for site in sites if site.startswith("attn")]
    clean = net.run(batch.clean, batch.mask, capture=[*scorer.sources, *patterns], positions=batch.positions).units
    base = setting.baseline.units(net, batch, scorer.sources)
    change = scorer.change(clean, base, silent_sites(setting.partition, setting.baseline))
    weights = reading_weights(scorer, batch, {name: clean[name] for name in patterns})

    def block(site: str, sources: Tensor) -> Tensor:
        """[batch or 1, nodes, channels, sources]"""
        summed = weights[site] if scorer.split_qkv else weights[site].sum(2, keepdim=True)
        if scorer.per_example:
            return torch.einsum("nbct,sbt->bncs", summed, sources)
        return torch.einsum("nbct,sbt->ncs", summed, sources)[None]

    columns = []
    for site in sites[1:]:
        sources = change.norms[: sum(scorer.count[s] for s in net.architecture.reads[site])]
        if site not in scorer.served:
            columns.append(block(site, sources).flatten(1))
            continue
        rho = weights[pattern_of(site)][0, :, 0]
        moved = torch.einsum("bq,bhq->bh", rho, change.patterns[site].norm(dim=-1))[:, None]
        moved = moved if scorer.per_example else moved.sum(0, keepdim=True)
        columns.append(block(pattern_of(site), sources).flatten(1))
        values = block(site, sources)[:, :, 0]
        columns.append(scorer.beside_patterns(site, moved.expand(-1, values.shape[1], -1), values))
    return torch.cat(columns, 1)


def reading_weights(scorer: StreamNorms, batch: Batch, patterns: dict[str, Tensor]) -> dict[str, Tensor]:
    """Which positions each destination reads on behalf of the output.

    Parameters
    ----------
    patterns
        `attn.<layer>.pattern` -> [batch, heads, query, key].

    Returns
    -------
    Site -> [nodes, batch, channels, time], summing to 1 over time; channels q, k, v of attention, q and k of patterns
    that are nodes, v of the parts that they serve.
    """
    assert batch.positions is not None
    rho = torch.nn.functional.one_hot(batch.positions, batch.clean.shape[1]).to(scorer.net.dtype)
    found = {"logits": rho[None, :, None]}
    for site in reversed(scorer.sites[1:-1]):
        if site.startswith("mlp"):
            found[site] = rho[None, :, None].expand(scorer.count[site], -1, -1, -1)
            continue
        keys = torch.einsum("bq,bhqk->hbk", rho, patterns[pattern_of(site)])
        heads = scorer.heads_of[site].to(keys)
        by_part = torch.einsum("nh,hbk->nbk", heads / heads.sum(1, keepdim=True).clamp_min(1), keys)
        if site in scorer.served:
            found[pattern_of(site)] = torch.stack([rho.expand_as(keys), keys], 2)
            found[site] = by_part[:, :, None]
        else:
            found[site] = torch.stack([rho.expand_as(by_part), by_part, by_part], 2)
        rho = (rho + keys.mean(0)) / 2
    return found
