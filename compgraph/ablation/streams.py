"""The baseline run of a batch, and the streams that destinations read beside it.

Streams of a network with LayerNorm are kept centred: centring is linear, so that it is done once per write rather than
once per destination.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name every torch user knows)
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.ablation.stream_sums import Ints, StreamPlan
from compgraph.data.batches import Batch
from compgraph.models.positions import Context
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer

NORM_SCALES = ("exact", "frozen")
"""`exact`: every destination divides by the scale of its own stream; `frozen`: by that of the site's clean stream."""


@dataclass
class Base:
    """The baseline run of one batch, shared by all circuits.

    Attributes
    ----------
    units, scaled
        Site -> units, and the same times the scale of a post-norm.
    streams
        Destination site -> the stream that it reads [batch, time, d_model] (`logits`: [batch, d_model]).
    embed
        Change of the token embedding, clean - baseline, per part: [parts, batch, time, d_model].
    consistent
        Whether nodes without a changed input hold their baseline value.
    silent
        MLP sites whose baseline write lacks the output bias.
    frozen
        Site -> inverse scale of its stream, `site/write` -> that of its post-norm, both of the clean run
        [batch, time, 1]; None where scales are exact.
    readings
        Site -> what the site reads from its baseline stream, filled when first needed.
    """

    batch: Batch
    context: Context
    units: Units
    scaled: Units
    streams: dict[str, Tensor]
    embed: Tensor
    consistent: bool
    silent: frozenset[str]
    frozen: Units | None = None
    readings: dict[str, Reading] = field(default_factory=dict)

    def scored_rows(self, x: Tensor, rows: Tensor) -> Tensor:
        """Some rows at the scored positions: [n, batch, time, d] -> [rows, batch, 1, d]."""
        positions = self.batch.positions
        assert positions is not None
        return x[rows[:, None], torch.arange(len(positions), device=x.device), positions].unsqueeze(-2)

    def scored(self, x: Tensor) -> Tensor:
        """At the scored positions: [.., batch, time, n] -> [.., batch, 1, n]."""
        positions = self.batch.positions
        assert positions is not None
        return x[..., torch.arange(len(positions), device=x.device), positions, :].unsqueeze(-2)


@dataclass
class Versions:
    """Changes of the writes of nodes, filled site by site.

    Attributes
    ----------
    full
        At all positions [slots, batch, time, d_model].
    late
        At the scored positions [slots, batch, 1, d_model], of versions that are made there alone too.
    totals
        Running totals of the versions of some circuits [totals, batch, time, d_model].
    """

    full: Tensor
    late: Tensor
    totals: Tensor


@dataclass
class Streams:
    """The streams of the destinations of a site that is computed for all of them at once.

    Attributes
    ----------
    base
        Baseline stream [batch, time, d_model].
    rows
        bool [channels, parts, changed sources]: kept edges; or their weights.
    active
        bool [channels, parts]: destinations that are computed.
    changes
        Changes of the changed sources' writes [changed sources, batch, time, d_model].
    scale
        Frozen inverse scale [batch, time, 1]; None where it is exact.
    """

    base: Tensor
    rows: Tensor
    active: Tensor
    changes: Tensor
    scale: Tensor | None = None

    def of(self, channel: int, parts: Sequence[int] | None = None) -> Tensor:
        """Streams of some parts, by default of the channel's active ones: [parts, batch, time, d_model]."""
        chosen = self.active[channel] if parts is None else list(parts)
        rows = self.rows[channel, chosen].to(self.base.dtype)
        return self.base + (rows @ self.changes.flatten(1)).unflatten(1, self.base.shape)


def blended(kept: Tensor, current: Tensor, old: Tensor) -> Tensor:
    """The current value where an edge is kept, else the old one; where edges have weights, so much of either."""
    return torch.where(kept, current, old) if kept.dtype == torch.bool else kept * current + (1 - kept) * old


def read_streams(base: Tensor, plan: StreamPlan, changes: Tensor, totals: Tensor | None = None) -> Tensor:
    """Streams [n, *base.shape]: the baseline stream plus the kept changes [slots, *base.shape].

    Parameters
    ----------
    totals
        Running totals [totals, *base.shape], where the plan starts from them.
    """
    flat, start = changes.flatten(1), base.reshape(1, -1)
    if not plan.blocks:
        return _one_by_one(start, plan, flat, totals).unflatten(1, base.shape)
    out = start.new_empty(plan.n, start.shape[1])
    if len(plan.first):
        out[: len(plan.first)] = _one_by_one(start, plan, flat, totals)
    for block in plan.blocks:
        into = out[block.rows]
        kept = torch.from_numpy(block.own_kept).to(flat)
        torch.addmm(start, kept, flat[block.own], out=into)
        if len(block.others):
            others = torch.from_numpy(block.others).to(flat.device)
            into.addmm_(torch.from_numpy(block.others_kept).to(flat), flat.index_select(0, others))
    return out.unflatten(1, base.shape)


def _one_by_one(start: Tensor, plan: StreamPlan, flat: Tensor, totals: Tensor | None) -> Tensor:
    """Sums of single slots, taken away from a running total or added to the start."""
    if len(plan.slots) == 0:
        out = start.new_zeros(len(plan.first), start.shape[1])
    else:
        slots, first = (torch.from_numpy(x).to(flat.device) for x in (plan.slots, plan.first))
        signs = None
        if (plan.totals >= 0).any():
            sizes = np.diff(np.append(plan.first, len(plan.slots)))
            signs = torch.from_numpy(np.repeat(np.where(plan.totals < 0, 1.0, -1.0), sizes)).to(flat)
        out = F.embedding_bag(slots, flat, first, mode="sum", per_sample_weights=signs)
    for run in _runs_of(plan.totals):
        total = int(plan.totals[run.start])
        if total >= 0:
            assert totals is not None
            out[run] += start + totals[total].reshape(1, -1)
        else:
            out[run] += start
    return out


def _runs_of(values: Ints) -> Iterator[slice]:
    """Stretches of equal values."""
    bounds = np.flatnonzero(np.diff(values)) + 1
    for first, stop in pairwise([0, *bounds.tolist(), len(values)]):
        if stop > first:
            yield slice(first, stop)


def normed(net: Transformer, x: Tensor, scale: Tensor | None) -> Tensor:
    """Streams behind a norm, before its gain; with a frozen inverse scale in place of their own, if one is given."""
    if scale is None:
        return net.normalise(x)[0]
    centred = x - x.mean(-1, keepdim=True) if net.spec.norm == "layer" else x
    return centred * scale


def clean_scales(net: Transformer, batch: Batch, context: Context) -> Units:
    """Inverse scales of all norms in the clean run (`Base.frozen`); none where the network has no norms."""
    if net.spec.norm == "none":
        return {}
    names = [site.name for site in net.architecture.node_sites[1:-1]]
    units = net.capture(batch.clean, batch.mask, ["embed", *names])
    x = before = net.add_positions(units["embed"], context)
    out: Units = {}
    for name in names:
        parallel = name.startswith("mlp.") and net.spec.parallel
        out[name] = _scale(net, before if parallel else x)
        before = x
        reading = Reading(x, None, {})
        x = x + net.write(name, units[name], reading)
        if reading.write_scale is not None:
            out[f"{name}/write"] = reading.write_scale
    out["logits"] = _scale(net, x)
    return out


def _scale(net: Transformer, x: Tensor) -> Tensor:
    scale = net.normalise(x)[1]
    assert scale is not None
    return scale


def at_scored(context: Context, positions: Tensor) -> Context:
    """The context of queries at the scored positions alone; keys are at all positions."""
    at, time = torch.arange(len(positions), device=positions.device), context.position_ids.shape[1]

    def pick(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.expand(len(positions), *x.shape[1:])[at, positions].unsqueeze(1)

    allowed: dict[int | None, Tensor | None] = {}
    for window, mask in context.allowed.items():
        if mask is None:
            causal = torch.arange(time, device=positions.device)[None] <= positions[:, None]
            allowed[window] = causal[:, None, None]
        else:
            allowed[window] = mask.expand(len(positions), -1, -1, -1)[at, :, positions].unsqueeze(2)
    ids = pick(context.position_ids)
    assert ids is not None
    return Context(ids, pick(context.cos), pick(context.sin), allowed)
