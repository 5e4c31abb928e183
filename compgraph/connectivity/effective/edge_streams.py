"""The streams of all destinations of a transformer, when every edge has a weight of its own.

    x_d = x_baseline + sum over s of  weight of s -> d · (current write of s - baseline write of s)

The pieces here read such streams, compute units and the change of writes, for any subset of a site's parts, and are
differentiable in the weights; `run` puts them together for one set of weights, `acdc_streams` for many circuits that
differ in one destination. Weights of 0 and 1 give edge ablation (`compgraph.ablation`), weights of 1 the clean run.

Where patterns are nodes an edge from a pattern to a part blends the current pattern with the baseline's, by its weight.
Such sites and those with dictionaries are computed whole, by the pieces of edge ablation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline, silent_sites
from compgraph.ablation.feature_sites import UndividedFeatures, feature_sites, fine_sites
from compgraph.ablation.streams import Base, Streams
from compgraph.data.batches import Batch
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.models.counting import count_backward, count_forward
from compgraph.models.positions import Context
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_writes
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import pattern_of, with_patterns

EdgeWeights = Mapping[str, Tensor]
"""Destination site -> weights [channels, parts, nodes read], as `EdgeLayout.weights` gives them."""


class EdgeStreams:
    """Runs a transformer with a weight per edge.

    Raises
    ------
    ModelError
        Writes that cannot be split among nodes.
    """

    def __init__(self, net: Transformer, partition: Partition) -> None:
        check_writes(net)
        self.net, self.partition = net, partition
        self.sites = [site.name for site in net.architecture.node_sites]
        self.sources = self.sites[:-1]
        self.parts = {s: Parts.from_labels(partition.labels[s], partition.n_parts(s), net.device) for s in self.sources}
        self.count = {site: len(parts) for site, parts in self.parts.items()}
        self.fine = fine_sites(net, *with_patterns(net, partition))
        self.features = feature_sites(net, self.parts, self.fine) if isinstance(net, FeatureTransformer) else {}
        self.heads = {
            site: [torch.unique(index // net.spec.d_head) for index in self.parts[site].index]
            for site in self.sources
            if self.is_attention(site) and site not in self.fine and site not in self.features
        }

    @staticmethod
    def is_attention(site: str) -> bool:
        """Whether a site's destinations read through q, k and v."""
        return site.startswith("attn")

    def bytes_per_example(self, time: int) -> int:
        """Streams, writes and what autograd keeps of them, for one example."""
        spec = self.net.spec
        streams = sum((3 if self.is_attention(s) else 1) * self.count[s] for s in self.sources[1:])
        numbers = (8 * streams + 2 * sum(self.count.values())) * spec.d_model
        patterns = 6 * spec.n_heads * time
        numbers += len(self.fine) * (8 * 2 * spec.n_heads * spec.d_model + patterns)
        for site in {*self.fine, *self.features}:
            own = 3 * spec.n_heads * spec.d_head + patterns if self.is_attention(site) else 4 * spec.d_mlp
            runs = self.count[site] if self.net.architecture.site(site).n_features else 1
            numbers += runs * (own + 3 * self.parts[site].n_units)
        return numbers * time * self.net.weights.embedding.element_size()

    # ------------------------------------------------------------ the baseline run

    def baseline(self, batch: Batch, baseline: Baseline) -> Base:
        """Run the baseline and note what every site reads."""
        net = self.net
        silent = silent_sites(self.partition, baseline)
        units = baseline.units(net, batch, [*self.sources, *map(pattern_of, self.fine)])
        context = net.context(batch.clean, batch.mask)
        embed = self.parts["embed"].masked(net.embed_units(batch.clean) - units["embed"])
        base = Base(batch, context, units, {}, {}, embed, baseline.consistent, silent)
        x = before = net.add_positions(units["embed"], context)
        for site in self.sources[1:]:
            parallel = site.startswith("mlp") and net.spec.parallel
            base.streams[site] = before if parallel else x
            before = x
            base.scaled[site], write = self._written(site, units[site], silent=site in silent)
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
        old = base.scaled[site]
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
            if site in self.fine or site in self.features:
                changes[site] = self.change(site, parts, self._joint(site, base, weights, changes), base)
                continue
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

    def _joint(self, site: str, base: Base, weights: EdgeWeights, changes: Mapping[str, Tensor]) -> Tensor:
        """Units [batch, time, n_units] of a site with patterns or a dictionary; those of no node are the baseline's."""
        read = torch.cat([changes[source] for source in self.net.architecture.reads[site]])

        def streams(name: str) -> Streams:
            rows = weights[name][..., : len(read)]
            active = torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
            return Streams(base.streams[site], rows, active, read)

        if site in self.fine:
            through = weights[site][0, :, len(read) :]
            return self.fine[site].units(
                self._reading(site, base), base, streams(pattern_of(site)), streams(site), through
            )
        one = self.features[site]
        if isinstance(one, UndividedFeatures):
            return one.units(self._reading(site, base), base, streams(site))
        return one.units(base, streams(site))

    def _reading(self, site: str, base: Base) -> Reading:
        """What an attention site reads from its baseline stream, with one key and value per query head."""
        found = self.net.read_attention(int(site.split(".")[1]), base.streams[site])
        pre = {channel: self.net.per_query_head(value) for channel, value in found.pre.items()}
        return Reading(found.xhat, found.inverse_scale, pre)
