"""Many circuits of a transformer that differ in what one destination reads, run as one batch.

ACDC goes from the output to the input, so that while it tests the edges into a node, everything before that node is
still as in the whole graph. Only the node and what comes behind it has to be computed, and of that only the nodes that
still have a kept edge onwards; of those, the ones that the tested node cannot reach are computed once, the others once
per circuit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline
from compgraph.ablation.streams import Base
from compgraph.connectivity.effective.edge_layout import Group
from compgraph.connectivity.effective.edge_streams import EdgeStreams, EdgeWeights
from compgraph.data.batches import Batch
from compgraph.models.positions import Context


@dataclass
class State:
    """A batch ready for trials: the baseline run, and what the whole graph changes in the writes of every site.

    The whole graph is the clean run, but for dead units, which hold their baseline value.
    """

    base: Base
    whole: dict[str, Tensor]


@dataclass
class Writes:
    """Changes of writes so far: columns (number of the source among all) and [sources, batch, time, d_model]."""

    columns: list[Tensor] = field(default_factory=list)
    changes: list[Tensor] = field(default_factory=list)

    def add(self, columns: Tensor, changes: Tensor) -> None:
        """More sources."""
        if len(columns):
            self.columns.append(columns)
            self.changes.append(changes)

    def reach(self, rows: Tensor) -> Tensor:
        """Which destinations, of weights [.., all sources read], read any of these."""
        out = torch.zeros(rows.shape[:-1], dtype=torch.bool, device=rows.device)
        for columns in self.columns:
            out |= rows[..., columns[columns < rows.shape[-1]]].any(-1)
        return out

    def read_into(self, streams: Tensor, rows: Tensor, at: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Add what destinations read of these, rows [parts, sources read], to [parts or 1, batch, (time,) d_model]."""
        for columns, changes in zip(self.columns, self.changes, strict=True):
            known = columns < rows.shape[-1]
            values = (changes if at is None else changes[:, at[0], at[1]])[known]
            streams = streams + torch.tensordot(rows[:, columns[known]].to(values.dtype), values, 1)
        return streams


class StreamTrials(EdgeStreams):
    """Trials of ACDC on a transformer whose attention parts are whole heads."""

    from_target, alone = True, False

    def trial_bytes(self, time: int) -> int:
        """Memory that one example of one circuit takes."""
        widest = max([3 * max(map(len, self.parts.values())), 1])
        rows = sum(self.count.values()) + 8 * widest
        element = self.net.weights.embedding.element_size()
        return (rows * time * self.net.spec.d_model + 3 * self.net.spec.vocabulary) * element

    def state_bytes(self, time: int) -> int:
        """Memory that the state of one example takes."""
        rows = sum(self.count.values()) + 3 * len(self.sites)
        return rows * time * self.net.spec.d_model * self.net.weights.embedding.element_size()

    def state(self, batch: Batch, baseline: Baseline) -> State:
        """Run baseline and whole graph once for all trials."""
        base = self.baseline(batch, baseline)
        return State(base, self.changes(base, self._whole()))

    def _whole(self) -> EdgeWeights:
        """A weight of 1 for every edge."""
        reads = self.net.architecture.reads
        return {
            site: torch.ones(
                3 if self.is_attention(site) else 1,
                self.count[site],
                sum(self.count[source] for source in reads[site]),
                dtype=self.net.dtype,
                device=self.net.device,
            )
            for site in self.sources[1:]
        }

    def trials(self, state: State, kept: EdgeWeights, group: Group, rows: Tensor) -> Tensor:
        """Logits [trials, batch, classes] of circuits that keep `kept`, but read `rows` in the tested group.

        Parameters
        ----------
        kept
            Site -> bool [channels, parts, sources read].
        rows
            bool [trials, sources read].
        """
        still, moving = Writes(), Writes()
        start = self.sites.index(group.site)
        for site in self.sources[:start]:
            still.add(self._columns(site), state.whole[site])
        tested = kept[group.site].clone()
        if group.site != "logits":
            self._tested_site(state, tested, kept, group, rows, still, moving)
            for site in self.sources[start + 1 :]:
                self._later_site(state, site, kept, len(rows), still, moving)
            rows = kept["logits"][0].expand(len(rows), -1)
        return self._output(state, rows, still, moving)

    def _columns(self, site: str, parts: Sequence[int] | None = None) -> Tensor:
        first = self.partition.node_slice(site).start - self.partition.node_slice(self.sites[0]).start
        chosen = range(self.count[site]) if parts is None else parts
        return torch.tensor([first + part for part in chosen], dtype=torch.long, device=self.net.device)

    def _needed(self, site: str, kept: EdgeWeights) -> list[int]:
        """Parts with a kept edge onwards; all of them if a post-norm ties them together and any has one."""
        columns = self._columns(site)
        used = torch.zeros(len(columns), dtype=torch.bool, device=columns.device)
        for rows in kept.values():
            if rows.shape[-1] > int(columns[-1]):
                used |= rows[..., columns].flatten(0, 1).any(0)
        if self.tied(site) and bool(used.any()):
            return list(range(self.count[site]))
        return [int(part) for part in used.nonzero().flatten()]

    def _tested_site(
        self, state: State, tested: Tensor, kept: EdgeWeights, group: Group, rows: Tensor, still: Writes, moving: Writes
    ) -> None:
        """Units of the tested node for every trial, and of its site's other nodes, which read the same in all."""
        base, site, n = state.base, group.site, len(rows)
        needed = self._needed(site, kept)
        others = [part for part in needed if part != group.part]
        tied = self.tied(site)
        context = base.context.repeat(n)
        units = None
        if others:
            streams = [still.read_into(base.streams[site], one[others]) for one in tested]
            units = self._compute(site, others, streams, base, base.context)
            if not tied:
                still.add(self._columns(site, others), self.change(site, others, units, base))
        variants = still.read_into(base.streams[site], rows).flatten(0, 1)[None]
        same = [still.read_into(base.streams[site], one[[group.part]]).repeat(1, n, 1, 1) for one in tested]
        own = [variants if group.channel in (None, c) else one for c, one in enumerate(same)]
        moved = self._compute(site, [group.part], own, base, context)
        if tied and units is not None:
            index = self.parts[site].index[group.part]
            joined = units.repeat(n, 1, 1)
            joined[..., index] = moved[..., index]
            moved = joined
        parts = needed if tied else [group.part]
        moving.add(self._columns(site, parts), self.change(site, parts, moved, base))

    def _later_site(self, state: State, site: str, kept: EdgeWeights, n: int, still: Writes, moving: Writes) -> None:
        """Units of a site behind the tested node: once, or once per trial where the tested node is felt."""
        base = state.base
        needed = self._needed(site, kept)
        if not needed:
            return
        felt = moving.reach(kept[site]).any(0)
        if self.tied(site) and bool(felt[needed].any()):
            felt = torch.ones_like(felt)
        for parts, varies in (([p for p in needed if not felt[p]], False), ([p for p in needed if felt[p]], True)):
            if not parts:
                continue
            streams = [still.read_into(base.streams[site], rows[parts]) for rows in kept[site]]
            if varies:
                repeated = [one.repeat(1, n, 1, 1) for one in streams]
                streams = [moving.read_into(x, rows[parts]) for x, rows in zip(repeated, kept[site], strict=True)]
            context = base.context.repeat(n) if varies else base.context
            units = self._compute(site, parts, streams, base, context)
            change = self.change(site, parts, units, base)
            (moving if varies else still).add(self._columns(site, parts), change)

    def _compute(self, site: str, parts: list[int], streams: list[Tensor], base: Base, context: Context) -> Tensor:
        """Units of some parts from the streams of their channels, each [parts, batch, time, d_model]."""
        if not self.is_attention(site):
            return self.units(site, parts, self.read(site, "", parts, streams[0]), base, context)
        pre: dict[str, Tensor] = {}
        for channel, stream in zip("qkv", streams, strict=True):
            pre |= self.read(site, channel, parts, stream)
        return self.units(site, parts, pre, base, context)

    def _output(self, state: State, rows: Tensor, still: Writes, moving: Writes) -> Tensor:
        """Logits [trials, batch, vocabulary]."""
        positions, n = state.base.batch.positions, len(rows)
        assert positions is not None
        at = torch.arange(len(positions), device=positions.device)
        same = not moving.columns
        x = still.read_into(state.base.streams["logits"], rows if same else rows[:1], (at, positions))
        if not same:
            x = x.repeat(1, n, 1)
            every = torch.arange(n * len(positions), device=positions.device), positions.repeat(n)
            x = moving.read_into(x, rows[:1], every).unflatten(1, (n, -1))[0]
        return self.logits(x)
