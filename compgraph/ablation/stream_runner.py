"""Edge ablation of transformers: the network run as the graph says.

Every destination has a residual stream of its own,

    x_d = x_baseline + Σ over kept s -> d of (current write of s - baseline write of s)

and reads it through its own norm. Writes are kept as changes against the baseline run, one row per version of a node
(`compgraph.ablation.plan`), so that the streams of a site's destinations are one matrix product of kept edges with
changes. All circuits run as one batch: versions that circuits share are computed once. The last sites, which only the
scored positions of the output read, are computed there alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name every torch user knows)
from torch import Tensor

from compgraph.ablation.baselines import Baseline, one_row, silent_sites
from compgraph.ablation.feature_sites import fine_sites
from compgraph.ablation.plan import Ints, Plan, Planner, Shape, SitePlan
from compgraph.ablation.sites import Attention, Mlp, Units, pick, runs
from compgraph.ablation.streams import Base, Streams, Versions, clean_scales, normed, read_streams
from compgraph.data.batches import Batch
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_writes
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import pattern_of, with_patterns

LOW = (torch.float16, torch.bfloat16)


class StreamRunner:
    """Runs circuits of a transformer.

    Parameters
    ----------
    net, partition
        Where parts cut through heads, circuits have patterns as nodes (`compgraph.patterns`).
    norm_scale
        One of `compgraph.ablation.streams.NORM_SCALES`.
    """

    def __init__(self, net: Transformer, partition: Partition, norm_scale: str = "exact") -> None:
        check_writes(net)
        self.net, self.partition, self.frozen = net, partition, norm_scale == "frozen"
        self.architecture, self.refined = with_patterns(net, partition)
        self.sites = [site.name for site in net.architecture.node_sites]
        self.sources = self.sites[:-1]
        self.fine = fine_sites(net, self.architecture, self.refined)
        self.parts = {
            name: Parts.from_labels(partition.labels[name], partition.n_parts(name), net.device)
            for name in self.sources
        }
        self.attention = {s: Attention(net, s, self.parts[s]) for s in self.sources if self._has_heads(s)}
        self.mlps = {s: Mlp(net, s, self.parts[s]) for s in self.sources if s.startswith("mlp.")}

    def _has_heads(self, site: str) -> bool:
        return site.startswith("attn.") and site not in self.fine

    def _kind(self, site: str) -> str:
        """See `compgraph.ablation.plan.Shape`."""
        if site.startswith("attn."):
            return "heads" if self._has_heads(site) else "whole"
        return "mlp"

    # ------------------------------------------------------------ before any data

    def prepare(self, kept: Sequence[dict[str, Tensor]], consistent: bool) -> Plan:
        """What circuits with these kept edges (`CircuitMasks.kept`) compute.

        Parameters
        ----------
        consistent
            Of the baseline.
        """
        shapes = [Shape(s, self._kind(s), self.refined.node_slice(s), self._tied(s)) for s in self.sites[1:]]
        patterns = {site: self.refined.node_slice(pattern_of(site)) for site in self.fine}
        planner = Planner(
            shapes, self.refined.n_nodes, len(self.parts["embed"]), patterns, consistent and not self.frozen
        )
        return planner.plan([{site: rows.cpu().numpy() for site, rows in one.items()} for one in kept])

    def _tied(self, site: str) -> bool:
        return site != "logits" and not self.frozen and self.net.decoder(site)[2] is not None

    def bytes_per_example(self, time: int) -> int:
        """Memory that one circuit with all edges takes for an example of so many tokens."""
        n_parts = [len(parts) for parts in self.parts.values()]
        units = max(parts.n_units for parts in self.parts.values())
        rows = (sum(n_parts) + len(self.sites) + 8 * max(n_parts)) * self.net.spec.d_model + 2 * units
        return (rows * time + self.net.spec.vocabulary) * self.net.weights.embedding.element_size()

    def bytes_of(self, plan: Plan, time: int) -> int:
        """Memory that a plan takes for an example: changes of all writes, streams and units of the widest site."""
        widest = 0
        for site in plan.sites:
            full, narrow = site.full.n, site.narrow.n
            units = self.parts[site.shape.name].n_units * max(len(site.active), 1 if site.shape.kind == "mlp" else 0)
            rows = 2 * full + site.full.gathered + len(site.of)
            widest = max(widest, rows * self.net.spec.d_model + 2 * units, narrow)
        size = self.net.weights.embedding.element_size()
        rows = plan.n_full + plan.n_totals + len(self.sites)
        per_token = rows * self.net.spec.d_model + widest
        once = plan.n_slots * self.net.spec.d_model + len(plan.result) * self.net.spec.vocabulary
        return (per_token * time + once) * size

    # ------------------------------------------------------------ the baseline run

    def baseline(self, batch: Batch, baseline: Baseline) -> Base:
        """Run the baseline once for all circuits."""
        net = self.net
        silent = silent_sites(self.partition, baseline)
        wanted = [*self.sources, *(pattern_of(name) for name in self.fine)]
        if baseline.consistent:  # a run of the network: its writes are there for the asking
            wanted += [f"{name}/write" for name in self.sources[1:] if net.decoder(name)[2] is None]
            attention = [] if self.frozen else [name for name in net.steps if name.startswith("attn.")]
            wanted += [f"{name}/{channel}" for name in attention for channel in "qkv"]
        units = baseline.units(net, batch, wanted)
        context = net.context(batch.clean, batch.mask)
        embed = self._centred(self.parts["embed"].masked(net.embed_units(batch.clean) - units["embed"]))
        frozen = clean_scales(net, batch, context) if self.frozen else None
        consistent = baseline.consistent and not self.frozen
        base = Base(batch, context, units, {}, {}, embed, consistent, silent, frozen)
        x = before = self._centred(net.add_positions(units["embed"], context))
        for name in self.sources[1:]:
            parallel = name.startswith("mlp.") and net.spec.parallel
            base.streams[name] = before if parallel else x
            before = x
            write, base.scaled[name] = self._written(name, base, silent=name in silent)
            x = x + self._centred(write)
        base.streams["logits"] = base.scored(x)[:, 0]
        return base

    def _written(self, name: str, base: Base, *, silent: bool) -> tuple[Tensor, Tensor]:
        """A site's baseline write, and its units times the scale of a post-norm."""
        units = base.units[name]
        if f"{name}/write" in base.units:
            return base.units.pop(f"{name}/write"), units
        row = one_row(units)
        reading = Reading(row, None, {})
        write = self.net.write(name, row, reading, silent=silent)
        return write, units if reading.write_scale is None else (row * reading.write_scale).expand_as(units)

    def _centred(self, x: Tensor) -> Tensor:
        """Low precision is left to the norms, which centre in float32."""
        return x - x.mean(-1, keepdim=True) if self.net.spec.norm == "layer" and x.dtype not in LOW else x

    # ------------------------------------------------------------ the circuits

    def run(self, base: Base, kept: dict[str, Tensor]) -> Tensor:
        """Logits [batch, vocabulary] of one circuit (`CircuitMasks.kept`) at the scored positions."""
        return self.run_plan(base, self.prepare([kept], base.consistent))[0]

    def run_plan(self, base: Base, plan: Plan) -> Tensor:
        """Logits [circuits, batch, vocabulary] at the scored positions."""
        versions = self._begin(base, plan)
        for site in plan.sites:
            self._site(site, base, versions)
            slots = torch.from_numpy(site.slots).to(versions.late.device)
            if not site.shape.narrow:
                versions.late[slots] = base.scored_rows(versions.full, slots)
            for total, added in site.added:
                versions.totals[total] += pick(versions.full, added).sum(0)
        start = base.streams["logits"]
        streams = read_streams(start, plan.logits, versions.late[:, :, 0])
        if (plan.result < 0).any():  # index -1
            streams = torch.cat([streams, start[None]])
        return self._logits(streams, base)[torch.from_numpy(plan.result).to(streams.device)]

    @staticmethod
    def _begin(base: Base, plan: Plan) -> Versions:
        """The buffers, with the change of the token embedding."""
        n, shape = len(base.embed), base.embed.shape[1:]
        full = base.embed.new_empty(plan.n_full, *shape)
        late = base.embed.new_empty(plan.n_slots, shape[0], 1, shape[-1])
        full[:n], late[:n] = base.embed, base.scored(base.embed)
        return Versions(full, late, base.embed.sum(0).repeat(plan.n_totals, 1, 1, 1))

    def _logits(self, streams: Tensor, base: Base) -> Tensor:
        if base.frozen:
            scale = base.scored(base.frozen["logits"])[:, 0]
            y = self.net.gain(normed(self.net, streams, scale), self.net.weights.final_norm)
            return self.net.logits(F.linear(y, self.net.weights.unembedding))
        return self.net.logits(self.net.read_logits(streams).pre[""])

    def _site(self, site: SitePlan, base: Base, versions: Versions) -> None:
        """Compute the versions of a site and put the changes of their writes into the buffer."""
        name, kind = site.shape.name, site.shape.kind
        into = versions.late if site.shape.narrow else versions.full
        if kind == "whole":
            for state in range(len(site.active)):
                self._write_state(site, state, self._whole(site, state, base, versions.full), base, into)
            return
        maker: Attention | Mlp = self.attention[name] if kind == "heads" else self.mlps[name]
        found = maker.compute(site, base, versions, lambda: self._reading(name, base))
        if site.states is None:
            self._write_groups(site, found, base, into)
            return
        for state, groups in enumerate(site.states):
            self._write_state(site, state, self._assembled(site, groups, found, base), base, into)

    def _assembled(self, site: SitePlan, groups: Ints, found: Units, base: Base) -> Tensor:
        """Units of a whole site [batch, time, n_units] from those of its groups; dead ones hold their baseline."""
        units = base.units[site.shape.name]
        out = (base.scored(units) if site.shape.narrow else units).clone()
        for part, group in enumerate(groups.tolist()):
            out[..., self.parts[site.shape.name].index[part]] = found[group]
        return out

    def _whole(self, site: SitePlan, state: int, base: Base, changes: Tensor) -> Tensor:
        """Units of a site that is computed for all parts at once."""
        name = site.shape.name
        pattern = self._streams(pattern_of(name), site, state, base, changes)
        values = self._streams(name, site, state, base, changes)
        through = torch.from_numpy(site.through[state]).to(changes.device)
        return self.fine[name].units(self._reading(name, base), base, pattern, values, through)

    def _streams(self, name: str, site: SitePlan, state: int, base: Base, changes: Tensor) -> Streams:
        """What the parts or patterns of a site read."""
        kept, slots = site.whole[state][name]
        rows = torch.from_numpy(kept).to(changes.device)
        active = rows.any(-1) | (not base.consistent)
        scale = None if base.frozen is None else base.frozen.get(site.shape.name)
        read = changes[torch.from_numpy(slots).to(changes.device)]
        return Streams(base.streams[site.shape.name], rows, active, read, scale)

    # ------------------------------------------------------------ writes

    def _write_groups(self, site: SitePlan, found: Units, base: Base, into: Tensor) -> None:
        """Changes of the writes of groups, which are the versions, in order."""
        name = site.shape.name
        rows, bias, post = self.net.decoder(name)
        old = base.scored(base.scaled[name]) if site.shape.narrow else base.scaled[name]
        scale = None
        if post is not None and base.frozen is not None:
            scale = base.frozen[f"{name}/write"]
            scale = base.scored(scale) if site.shape.narrow else scale
            rows = rows if post.gain is None else rows * post.gain
        for stretch in self._stretches(site, found):
            part = site.part[stretch]
            units = found[stretch] if isinstance(found, Tensor) else torch.stack(list(found[stretch]))
            units = units if scale is None else units * scale
            target = into[int(site.slots[stretch.start]) : int(site.slots[stretch.start]) + len(part)]
            if len(self.parts[name]) == 1 and self.parts[name].size:
                torch.matmul((units - old).flatten(0, 2), rows, out=target.flatten(0, 2))
            else:
                own_old, own_rows = self._own(name, part, old, rows)
                torch.bmm((units - own_old).flatten(1, 2), own_rows, out=target.flatten(1, 2))
            if name in base.silent and bias is not None:
                target += bias
            self._centre(target)

    def _own(self, name: str, part: Ints, units: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Units [.., batch, time, m] and decoder rows [.., m, d_model] of some equally large parts."""
        parts = self.parts[name]
        if parts.size:
            shape = (len(parts), parts.size)
            return pick(units.unflatten(-1, shape).permute(2, 0, 1, 3), part), pick(rows.unflatten(0, shape), part)
        index = torch.stack([parts.index[p] for p in part])
        return units[..., index].permute(2, 0, 1, 3), rows[index]

    def _stretches(self, site: SitePlan, found: Units) -> Iterator[slice]:
        """Versions whose slots follow each other and whose parts are of one size."""
        sizes = np.array([len(self.parts[site.shape.name].index[p]) for p in site.part])
        for run in runs(site.slots):
            cuts = np.flatnonzero(np.diff(sizes[run])) + 1 + run.start
            for start, stop in pairwise([run.start, *cuts.tolist(), run.stop]):
                yield slice(start, stop)

    def _write_state(self, site: SitePlan, state: int, units: Tensor, base: Base, into: Tensor) -> None:
        """Changes of the writes of a whole site's parts."""
        name = site.shape.name
        own = np.flatnonzero(site.of == state)
        rows, bias, post = self.net.decoder(name)
        old = base.scored(base.scaled[name]) if site.shape.narrow else base.scaled[name]
        if post is not None:
            units = units * self._post_scale(name, units, base, narrow=site.shape.narrow)
            rows = rows if post.gain is None else rows * post.gain
        out = self.parts[name].product(units - old, rows, torch.from_numpy(site.part[own]).to(rows.device))
        if name in base.silent and bias is not None:
            out = out + bias
        self._centre(out)
        into[torch.from_numpy(site.slots[own]).to(rows.device)] = out

    def _post_scale(self, name: str, units: Tensor, base: Base, *, narrow: bool) -> Tensor:
        """Inverse scale of a post-norm."""
        if base.frozen is not None:
            scale = base.frozen[f"{name}/write"]
            return base.scored(scale) if narrow else scale
        reading = Reading(units, None, {})
        self.net.write(name, units, reading)
        assert reading.write_scale is not None
        return reading.write_scale

    def _centre(self, x: Tensor) -> None:
        if self.net.spec.norm == "layer" and x.dtype not in LOW:
            x -= x.mean(-1, keepdim=True)

    def _reading(self, name: str, base: Base) -> Reading:
        """What a site reads from its baseline stream, with one key and value per query head."""
        if name not in base.readings:
            block = self.net.weights.blocks[int(name.split(".")[1])]
            x = normed(self.net, base.streams[name], None if base.frozen is None else base.frozen.get(name))
            if name.startswith("attn."):
                y = self.net.gain(x, block.attn_norm)
                readers = {"q": block.w_q, "k": block.w_k, "v": block.w_v}
                kept = {c: base.units[f"{name}/{c}"] for c in readers if f"{name}/{c}" in base.units}
                raw = kept or {c: self.net.project(y, w) for c, w in readers.items()}
                pre = {c: self.net.per_query_head(one) for c, one in raw.items()}
            else:
                assert block.mlp_norm is not None and block.w_in is not None
                y = self.net.gain(x, block.mlp_norm)
                pre = {"": y @ block.w_in} | ({} if block.w_gate is None else {"gate": y @ block.w_gate})
            base.readings[name] = Reading(x, None, pre)
        return base.readings[name]
