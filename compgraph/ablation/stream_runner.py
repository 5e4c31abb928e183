"""Edge ablation of transformers: the network run as the graph says.

Every destination has a residual stream of its own,

    x_d = x_baseline + Σ over kept s -> d of (current write of s - baseline write of s)

and reads it through its own norm. Writes are kept as changes against the baseline run, one row per *changed*
node, so that the streams of all destinations of a site are one matrix product of the circuit's rows with the
changes. Where the baseline run is a run of the network (`counterfactual`), a node without a kept edge from a
changed node holds its baseline value and costs nothing; under other baselines every node computes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline, silent_sites
from compgraph.ablation.fine_attention import FineAttention
from compgraph.ablation.streams import Base, Streams
from compgraph.data.batches import Batch
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_writes
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import SUFFIX, pattern_of, with_patterns


class StreamRunner:
    """Runs circuits of a transformer.

    Parameters
    ----------
    net, partition
        Where parts cut through heads, circuits have patterns as nodes (`compgraph.patterns`).
    """

    def __init__(self, net: Transformer, partition: Partition) -> None:
        check_writes(net)
        self.net, self.partition = net, partition
        architecture, refined = with_patterns(net, partition)
        self.sites = [site.name for site in net.architecture.node_sites]
        self.sources = self.sites[:-1]
        self.fine = {
            site.name: FineAttention(net, site, refined)
            for site in architecture.node_sites
            if pattern_of(site.name) in refined.labels
        }
        self.parts = {
            name: Parts.from_labels(partition.labels[name], partition.n_parts(name), net.device)
            for name in self.sources
        }
        self.offset = {name: refined.node_slice(name).start for name in self.sites}
        self.n_sources = sum(len(parts) for parts in self.parts.values())
        self.heads_of = {
            site.name: [torch.unique(i // net.spec.d_head) for i in self.parts[site.name].index]
            for site in net.architecture.node_sites
            if site.kind == "attn" and site.name not in self.fine
        }

    def bytes_per_example(self, time: int) -> int:
        """Changes of all writes and the streams of one site."""
        widest = max([1, *(3 * len(heads) for heads in self.heads_of.values()), *map(len, self.parts.values())])
        size = self.net.weights.embedding.element_size()
        return (self.n_sources + 3 * widest) * time * self.net.spec.d_model * size

    # ------------------------------------------------------------ the baseline run

    def baseline(self, batch: Batch, baseline: Baseline) -> Base:
        """Run the baseline once for all circuits."""
        net = self.net
        silent = silent_sites(self.partition, baseline)
        patterns = [pattern_of(name) for name in self.fine]
        units = baseline.units(net, batch, [*self.sources, *patterns])
        context = net.context(batch.clean, batch.mask)
        embed = self.parts["embed"].masked(net.embed_units(batch.clean) - units["embed"])
        base = Base(batch, context, units, {}, {}, embed, baseline.consistent, silent)
        x = net.add_positions(units["embed"], context)
        before = x
        for name in self.sites[1:]:
            if name == "logits":
                base.streams[name] = x[torch.arange(len(batch), device=x.device), batch.positions]
                break
            parallel = name.startswith("mlp.") and net.spec.parallel
            base.streams[name] = before if parallel else x
            before = x
            reading = Reading(x, None, {})
            write = net.write(name, units[name], reading, silent=name in silent)
            scale = reading.write_scale
            base.scaled[name] = units[name] if scale is None else units[name] * scale
            x = x + write
        return base

    # ------------------------------------------------------------ one circuit

    def run(self, base: Base, kept: dict[str, Tensor]) -> Tensor:
        """Logits [batch, vocabulary] at the scored positions.

        Parameters
        ----------
        kept
            Destination site -> bool [channels, parts, sources]: which edges the circuit keeps.
        """
        n_embed = len(base.embed)
        changes = base.embed.new_empty(self.n_sources, *base.embed.shape[1:])
        changes[:n_embed] = base.embed
        changed = list(range(n_embed))
        for name in self.sites[1:-1]:
            streams = self._streams(name, base, kept[name], changed, changes)
            if name in self.fine:
                pattern = self._streams(pattern_of(name), base, kept[pattern_of(name)], changed, changes)
                reading = self._base_reading(name, base)
                units, active = self.fine[name].units(reading, base, pattern, streams, kept[name][0])
            elif streams.active.any():
                active = streams.active
                units = (
                    self._attention(name, base, streams) if name in self.heads_of else self._mlp(name, base, streams)
                )
            else:
                continue
            parts = self._changed_parts(name, active)
            if len(parts) == 0:
                continue
            writes = self._change(name, base, units, parts)
            changes[len(changed) : len(changed) + len(parts)] = writes
            changed += (self.offset[name] + parts).tolist()
        rows = kept["logits"][:, :, changed]
        at = torch.arange(len(base.batch), device=changes.device)
        last = changes[: len(changed), at, base.batch.positions]
        x = Streams(base.streams["logits"], rows, torch.ones_like(rows[..., 0]), last).of(0)[0]
        return self.net.logits(self.net.read_logits(x).pre[""])

    def _streams(self, name: str, base: Base, kept: Tensor, changed: list[int], changes: Tensor) -> Streams:
        """What the destinations of a site (or of its patterns) read."""
        rows = kept[:, :, changed]
        active = rows.any(-1) if base.consistent else torch.ones_like(rows[..., 0])
        return Streams(base.streams[name.removesuffix(SUFFIX)], rows, active, changes[: len(changed)])

    def _changed_parts(self, name: str, active: Tensor) -> Tensor:
        """Parts whose write may differ from the baseline; a post-norm ties all parts of a site together."""
        if self.net.decoder(name)[2] is not None and active.any():
            return torch.arange(active.shape[1], device=active.device)
        return active.any(0).nonzero().flatten()

    def _change(self, name: str, base: Base, units: Tensor, parts: Tensor) -> Tensor:
        """Current minus baseline write of the given parts: [parts, batch, time, d_model]."""
        rows, bias, post = self.net.decoder(name)
        if post is not None:
            reading = Reading(units, None, {})
            self.net.write(name, units, reading)
            assert reading.write_scale is not None
            units = units * reading.write_scale
            rows = rows if post.gain is None else rows * post.gain
        out = self.parts[name].product(units - base.scaled[name], rows, parts)
        return out + bias if name in base.silent and bias is not None else out

    # ------------------------------------------------------------ sites

    def _base_reading(self, name: str, base: Base) -> Reading:
        """What the site reads in the baseline run, with one key and value per query head."""
        if name not in base.readings:
            layer = int(name.split(".")[1])
            attention = name.startswith("attn.")
            read = self.net.read_attention if attention else self.net.read_mlp
            reading = read(layer, base.streams[name])
            if attention:
                reading.pre = {c: self.net.per_query_head(value) for c, value in reading.pre.items()}
            base.readings[name] = reading
        return base.readings[name]

    def _attention(self, name: str, base: Base, streams: Streams) -> Tensor:
        """Units of an attention site whose destinations read streams of their own."""
        layer = int(name.split(".")[1])
        block = self.net.weights.blocks[layer]
        pre: dict[str, Tensor] = {}
        for channel, (key, reader) in enumerate((("q", block.w_q), ("k", block.w_k), ("v", block.w_v))):
            parts = streams.active[channel].nonzero().flatten()
            if len(parts) == 0:
                pre[key] = self._base_reading(name, base).pre[key]
                continue
            y = self.net.gain(self.net.normalise(streams.of(channel))[0], block.attn_norm)
            values = self._project(name, y, parts, reader)
            heads = torch.cat([self.heads_of[name][part] for part in parts.tolist()])
            if len(heads) == values.shape[-2] == self.net.spec.n_heads:
                pre[key] = values[:, :, heads.argsort()]
            else:
                pre[key] = self._base_reading(name, base).pre[key].clone()
                pre[key][:, :, heads] = values
        return self.net.attend(layer, pre, base.context)

    def _project(self, name: str, y: Tensor, parts: Tensor, reader: Tensor) -> Tensor:
        """Each part's heads read its own stream: [parts, b, t, d] -> [b, t, heads of the parts in order, d_head]."""
        group = self.net.spec.n_heads // reader.shape[0]
        heads = [self.heads_of[name][part] for part in parts.tolist()]
        if all(len(h) == 1 for h in heads):
            out = torch.bmm(y.flatten(1, 2), reader[torch.cat(heads) // group])
            return out.unflatten(1, y.shape[1:3]).permute(1, 2, 0, 3)
        return torch.cat([self.net.project(y[row], reader[h // group]) for row, h in enumerate(heads)], -2)

    def _mlp(self, name: str, base: Base, streams: Streams) -> Tensor:
        """Units of an MLP site whose parts read streams of their own."""
        layer = int(name.split(".")[1])
        block = self.net.weights.blocks[layer]
        assert block.w_in is not None and block.mlp_norm is not None
        y = self.net.gain(self.net.normalise(streams.of(0))[0], block.mlp_norm)
        parts = streams.active[0].nonzero().flatten()
        readers = {"": block.w_in} | ({} if block.w_gate is None else {"gate": block.w_gate})
        if len(self.parts[name]) == 1 and len(self.parts[name].index[0]) == self.parts[name].n_units:
            return self.net.mlp_units(layer, {key: y[0] @ reader for key, reader in readers.items()})
        pre = {key: self._base_reading(name, base).pre[key].clone() for key in readers}
        for row, part in enumerate(parts.tolist()):
            index = self.parts[name].index[part]
            for key, reader in readers.items():
                pre[key][..., index] = y[row] @ reader[:, index]
        return self.net.mlp_units(layer, pre)
