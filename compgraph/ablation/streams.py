"""The baseline run of a batch, and the streams that destinations read beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.data.batches import Batch
from compgraph.models.positions import Context
from compgraph.models.tape import Reading


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
    readings: dict[str, Reading] = field(default_factory=dict)


@dataclass
class Streams:
    """The streams of a site's destinations.

    Attributes
    ----------
    base
        Baseline stream [batch, (time,) d_model].
    rows
        bool [channels, parts, changed sources]: kept edges.
    active
        bool [channels, parts]: destinations that are computed.
    changes
        Changes of the changed sources' writes [changed sources, batch, (time,) d_model].
    """

    base: Tensor
    rows: Tensor
    active: Tensor
    changes: Tensor

    def of(self, channel: int) -> Tensor:
        """Streams of the channel's active parts: [parts, batch, (time,) d_model]."""
        rows = self.rows[channel, self.active[channel]].to(self.base.dtype)
        return self.base + (rows @ self.changes.flatten(1)).unflatten(1, self.base.shape)
