"""The streams of all destinations of a transformer, when every edge has a weight of its own.

    x_d = x_baseline + sum over s of  weight of s -> d · (current write of s - baseline write of s)

The pieces here read such streams, compute units and the change of writes, for any subset of a site's parts, and are
differentiable in the weights; `run` puts them together for one set of weights, `acdc_streams` for many circuits that
differ in one destination. Weights of 0 and 1 give edge ablation (`compgraph.ablation`), weights of 1 the clean run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline, Units, silent_sites
from compgraph.data.batches import Batch
from compgraph.errors import GraphError
from compgraph.models.counting import count_backward, count_forward
from compgraph.models.positions import Context
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_heads, check_writes
from compgraph.partition import Partition
from compgraph.parts import Parts

EdgeWeights = Mapping[str, Tensor]
"""Destination site -> weights [channels, parts, sources read], channels being q, k, v or one."""


@dataclass
class Base:
    """The baseline run of one batch.

    Attributes
    ----------
    units
        Site -> units, times the scale of a post-norm.
    streams
        Destination site -> what it reads [batch, time, d_model] (`logits`: [batch, d_model], scored positions).
    embed
        Change of the token embedding, per part [parts, batch, time, d_model].
    """

    batch: Batch
    context: Context
    units: Units
    streams: dict[str, Tensor]
    embed: Tensor
    silent: frozenset[str]


class EdgeStreams:
    """Runs a transformer with a weight per edge.

    Raises
    ------
    GraphError, ModelError
        Parts that hold only some units of a head, or of the logits; writes that cannot be split among nodes.
    """

    def __init__(self, net: Transformer, partition: Partition) -> None:
        check_writes(net)
        check_heads(net, partition)
        if partition.n_parts("logits") != 1:
            raise GraphError(f"partition: logits has {partition.n_parts('logits')} parts; here it must be whole")
        self.net, self.partition = net, partition
        self.sites = [site.name for site in net.architecture.node_sites]
        self.sources = self.sites[:-1]
        self.parts = {s: Parts.from_labels(partition.labels[s], partition.n_parts(s), net.device) for s in self.sources}
        self.count = {site: len(parts) for site, parts in self.parts.items()}
        self.heads = {
            site: [torch.unique(index // net.spec.d_head) for index in self.parts[site].index]
            for site in self.sources
            if self.is_attention(site)
        }

    @staticmethod
    def is_attention(site: str) -> bool:
        """Whether a site's destinations read through q, k and v."""
        return site.startswith("attn")

    def bytes_per_example(self, time: int) -> int:
        """Streams, writes and what autograd keeps of them, for one example."""
        streams = sum((3 if self.is_attention(s) else 1) * self.count[s] for s in self.sources[1:])
        rows = 8 * streams + 2 * sum(self.count.values())
        return rows * time * self.net.spec.d_model * self.net.weights.embedding.element_size()

    # ------------------------------------------------------------ the baseline run

    def baseline(self, batch: Batch, baseline: Baseline) -> Base:
        """Run the baseline and note what every site reads."""
        net = self.net
        silent = silent_sites(self.partition, baseline)
        units = baseline.units(net, batch, self.sources)
        context = net.context(batch.clean, batch.mask)
        embed = self.parts["embed"].masked(net.embed_units(batch.clean) - units["embed"])
        base = Base(batch, context, {}, {}, embed, silent)
        x = before = net.add_positions(units["embed"], context)
        for site in self.sources[1:]:
            parallel = site.startswith("mlp") and net.spec.parallel
            base.streams[site] = before if parallel else x
            before = x
            base.units[site], write = self._written(site, units[site], silent=site in silent)
            x = x + write
        base.streams["logits"] = x[torch.arange(len(batch), device=x.device), batch.positions]
        return base

    def _written(self, site: str, units: Tensor, *, silent: bool = False) -> tuple[Tensor, Tensor]:
        """Units times the scale of a post-norm, and the write."""
        reading = Reading(units, None, {})
        write = self.net.write(site, units, reading, silent=silent)
        return (units if reading.write_scale is None else units * reading.write_scale), write

    # ------------------------------------------------------------ pieces

    def read(self, site: str, channel: str, parts: Sequence[int], streams: Tensor) -> dict[str, Tensor]:
        """What some parts of a site compute from streams of their own, [parts, batch, time, d_model].

        Returns
        -------
        Channel -> pre-activations: attention [batch, time, heads of the parts, d_head], MLP [batch, time, units of
        the parts], each part's heads or units behind those of the one before.
        """
        block = self.net.weights.blocks[int(site.split(".")[1])]
        if not self.is_attention(site):
            assert block.w_in is not None and block.mlp_norm is not None
            y = self.net.gain(self.net.normalise(streams)[0], block.mlp_norm)
            readers = {"": block.w_in} | ({} if block.w_gate is None else {"gate": block.w_gate})
            chosen = [self.parts[site].index[part] for part in parts]
            return {
                key: torch.cat([y[row] @ reader[:, index] for row, index in enumerate(chosen)], -1)
                for key, reader in readers.items()
            }
        y = self.net.gain(self.net.normalise(streams)[0], block.attn_norm)
        reader = {"q": block.w_q, "k": block.w_k, "v": block.w_v}[channel]
        group = self.net.spec.n_heads // reader.shape[0]
        heads = [self.heads[site][part] for part in parts]
        if all(len(h) == 1 for h in heads):
            out = torch.bmm(y.flatten(1, 2), reader[torch.cat(heads) // group])
            return {channel: out.unflatten(1, y.shape[1:3]).permute(1, 2, 0, 3)}
        return {channel: torch.cat([self.net.project(y[row], reader[h // group]) for row, h in enumerate(heads)], -2)}

    def units(self, site: str, parts: Sequence[int], pre: Mapping[str, Tensor], base: Base, context: Context) -> Tensor:
        """Units [batch, time, n_units] of a site, of which those of the given parts are meant.

        The others hold what the baseline's stream gives, or zero where nothing depends on them.
        """
        layer = int(site.split(".")[1])
        if self.is_attention(site):
            heads = torch.cat([self.heads[site][part] for part in parts])
            found = self.net.attend(layer, pre, context, heads)
            if len(heads) == self.net.spec.n_heads and bool((heads.diff() > 0).all()):
                return found
            width = torch.arange(self.net.spec.d_head, device=heads.device)
            columns = (heads[:, None] * self.net.spec.d_head + width).flatten()
            return self._placed(found, columns, self._elsewhere(site, base, found))
        columns = torch.cat([self.parts[site].index[part] for part in parts])
        if len(parts) == 1 and len(columns) == self.parts[site].n_units:
            return self.net.mlp_units(layer, pre)
        old = self.net.read_mlp(layer, base.streams[site]).pre
        n = len(pre[""]) // len(old[""])
        full = {key: self._placed(value, columns, old[key].repeat(n, 1, 1)) for key, value in pre.items()}
        return self.net.mlp_units(layer, full)

    def _elsewhere(self, site: str, base: Base, like: Tensor) -> Tensor:
        """Units of an attention site for the heads that are not computed, for as many runs as `like` holds."""
        if not self.tied(site):
            return like.new_zeros(*like.shape[:-1], self.parts[site].n_units)
        layer = int(site.split(".")[1])
        units = self.net.attend(layer, self.net.read_attention(layer, base.streams[site]).pre, base.context)
        return units.repeat(len(like) // len(units), 1, 1)

    @staticmethod
    def _placed(values: Tensor, columns: Tensor, into: Tensor) -> Tensor:
        into = into.clone()
        into[..., columns] = values
        return into

    def tied(self, site: str) -> bool:
        """Whether a post-norm makes the writes of a site's parts depend on each other."""
        return site != "embed" and self.net.decoder(site)[2] is not None

    def change(self, site: str, parts: Sequence[int], units: Tensor, base: Base) -> Tensor:
        """Current minus baseline write of some parts: [parts, batch, time, d_model].

        Under a post-norm `units` must be those of the whole site, whose scale ties its parts together.
        """
        rows, bias, post = self.net.decoder(site)
        if post is not None:
            units = self._written(site, units)[0]
            rows = rows if post.gain is None else rows * post.gain
        old = base.units[site]
        moved = (units.unflatten(0, (-1, len(old))) - old).flatten(0, 1)
        keep = None if len(parts) == self.count[site] else torch.tensor(parts, device=rows.device)
        out = self.parts[site].product(moved, rows, keep)
        return out + bias if site in base.silent and bias is not None else out

    def logits(self, stream: Tensor) -> Tensor:
        """Logits of the final stream [batch, d_model]."""
        return self.net.logits(self.net.read_logits(stream).pre[""])

    # ------------------------------------------------------------ one set of weights

    def run(self, base: Base, weights: EdgeWeights) -> Tensor:
        """Logits [batch, vocabulary] at the scored positions, differentiable in the weights.

        Parameters
        ----------
        weights
            Destination site -> [channels, parts, sources read].
        """
        rows = torch.arange(len(base.batch), device=base.embed.device)
        changes = self.changes(base, weights)
        scored = {site: value[:, rows, base.batch.positions] for site, value in changes.items()}
        logits = self.logits(self._streams("logits", base, weights["logits"][0], scored)[0])
        count_forward(len(logits))
        count_backward(logits)
        return logits

    def changes(self, base: Base, weights: EdgeWeights) -> dict[str, Tensor]:
        """Site -> change of its writes against the baseline [parts, batch, time, d_model], with these weights."""
        changes = {"embed": base.embed}
        for site in self.sources[1:]:
            parts = range(self.count[site])
            streams = [self._streams(site, base, one, changes) for one in weights[site]]
            if self.is_attention(site):
                pre: dict[str, Tensor] = {}
                for channel, stream in zip("qkv", streams, strict=True):
                    pre |= self.read(site, channel, parts, stream)
            else:
                pre = self.read(site, "", parts, streams[0])
            changes[site] = self.change(site, parts, self.units(site, parts, pre, base, base.context), base)
        return changes

    def _streams(self, site: str, base: Base, weights: Tensor, changes: Mapping[str, Tensor]) -> Tensor:
        """Streams of a site's destinations [parts, batch, (time,) d_model] by weights [parts, sources read]."""
        reads = self.net.architecture.reads[site]
        out: Tensor = base.streams[site]
        for source, rows in zip(reads, weights.split([self.count[s] for s in reads], 1), strict=True):
            out = out + torch.tensordot(rows, changes[source], 1)
        return out
