"""Edge ablation of transformers whose nodes are mostly single units: no stream per node, no pass per node.

The state is the change c_u of every unit against the baseline run. With the writers w_u (decoder rows, centred for
LayerNorm) and x the baseline stream, a destination that keeps the units K computes

    pre = (<r, γ x> + Σ_K c_u <w_u, γ r>) / s + <r, β>
    d s² = |x|² + 2 Σ_K c_u <w_u, x> + Σ_KK' c_u c_u' <w_u, w_u'>      (plus d ε)

The first line is a product of the sparse masked reader (W_dec γ W_read) * mask with the changes, the second takes the
Gram matrix of the writers that the destination keeps; or s is frozen at its clean value. Rows that keep most of what
they could read start from the stream of all changes instead, and take the rest away (`compgraph.ablation.unit_plan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.masked_readers import Anchors, Reader, formed, read
from compgraph.ablation.plan import Bools, Ints, Tables, needed_nodes
from compgraph.ablation.stream_runner import StreamRunner
from compgraph.ablation.streams import Base
from compgraph.ablation.unit_plan import Reads, Row, UnitPlan, UnitSite, live_nodes, reads
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.patterns import pattern_of


@dataclass
class Writers:
    """Decoder rows of all units of all sources, one site behind the other.

    Attributes
    ----------
    rows
        [units, d_model], centred for LayerNorm, times the gain of a post-norm. An MLP site that is one node has one
        row more, its output bias, which changes where the baseline withholds it.
    first
        Source site -> number of its first unit.
    """

    rows: Tensor
    first: dict[str, int]


class UnitRunner(StreamRunner):
    """Runs circuits between units, one after the other.

    Attributes
    ----------
    wide
        Precision of streams, scales and products with readers: at least float32, as norms have it. What sites compute
        is in the network's own.
    """

    def __init__(self, net: Transformer, partition: Partition, norm_scale: str = "exact") -> None:
        super().__init__(net, partition, norm_scale)
        self.narrow = self._narrow()
        self.wide = torch.promote_types(net.dtype, torch.float32)
        self.writers = self._writers()
        self.units_of = self._units_of()
        self.end = {
            site: max(self.writers.first[s] + self._n_rows(s) for s in net.architecture.reads[site])
            for site in self.sites[1:]
        }

    def _narrow(self) -> frozenset[str]:
        """Sites that write for scored positions alone: only the logits, or other such sites' MLPs, read them."""
        found: set[str] = {"logits"}
        for site in reversed(self.sources[1:]):
            readers = {d for d in self.sites[1:] if site in self.net.architecture.reads[d]}
            if self._kind(site) != "whole" and all(d in found and not d.startswith("attn.") for d in readers):
                found.add(site)
        return frozenset(found)

    def _n_rows(self, site: str) -> int:
        whole = site.startswith("mlp.") and len(self.parts[site]) == 1 and self.net.decoder(site)[1] is not None
        return self.parts[site].n_units + whole

    def _writers(self) -> Writers:
        rows, first, count = [], {}, 0
        for site in self.sources:
            first[site] = count
            count += self._n_rows(site)
            if site == "embed":
                rows.append(torch.eye(self.net.spec.d_model, dtype=self.net.dtype, device=self.net.device))
                continue
            own, bias, post = self.net.decoder(site)
            rows.append(own if post is None or post.gain is None else own * post.gain)
            if self._n_rows(site) > len(own):
                assert bias is not None
                rows.append(bias[None])
        return Writers(self._centred(torch.cat(rows).to(self.wide)), first)

    def _units_of(self) -> dict[int, Ints]:
        out = {}
        for site in self.sources:
            nodes, first = self.refined.node_slice(site), self.writers.first[site]
            for part, index in enumerate(self.parts[site].index):
                units = first + index.cpu().numpy()
                if self._n_rows(site) > self.parts[site].n_units:
                    units = np.append(units, first + self.parts[site].n_units)
                out[nodes.start + part] = units
        return out

    # ------------------------------------------------------------ before any data

    def prepare(self, kept: Sequence[dict[str, Tensor]], consistent: bool) -> list[UnitPlan]:  # type: ignore[override]
        """See `StreamRunner.prepare`."""
        tables = ({site: rows.cpu().numpy() for site, rows in one.items()} for one in kept)
        return [self._plan(one, consistent and not self.frozen) for one in tables]

    def _plan(self, kept: Tables, consistent: bool) -> UnitPlan:
        node = self.refined.node_slice
        patterns = {site: node(pattern_of(site)) for site in self.fine}
        shapes = [(site, node(site), self._tied(site)) for site in self.sites[1:]]
        needed = needed_nodes(kept, shapes, patterns, self.refined.n_nodes)
        order = []
        for site, nodes, tied in shapes[:-1]:
            if site in patterns:
                order.append((pattern_of(site), patterns[site], False))
            order.append((site, nodes, tied))
        live = live_nodes(kept, order, needed, len(self.parts["embed"]), consistent)
        sites = [self._plan_site(site, kept, live) for site in self.sources[1:] if live[node(site)].any()]
        output = self._reads(kept["logits"][0], [np.arange(1)], self._readable("logits", live))
        return UnitPlan(live[: len(self.parts["embed"])], sites, output)

    def _plan_site(self, site: str, kept: Tables, live: Bools) -> UnitSite:
        node, readable = self.refined.node_slice, self._readable(site, live)
        own = live[node(site)]
        computed = np.ones_like(own) if self._tied(site) else own
        readers = [
            self._columns(site, index.cpu().numpy()) if computed[p] else np.zeros(0, int)
            for p, index in enumerate(self.parts[site].index)
        ]
        out = UnitSite(
            site, [self._reads(one, readers, readable) for one in kept[site]], [], own, np.zeros((0, 0), bool)
        )
        if site in self.fine:
            first, d_head = node(pattern_of(site)), self.net.spec.d_head
            table = kept[pattern_of(site)]
            heads = [
                head * d_head + np.arange(d_head) if live[first.start + head] else np.zeros(0, int)
                for head in range(self.net.spec.n_heads)
            ]
            out.patterns = [self._reads(one, heads, readable) for one in table]
            out.through = kept[site][:, :, first].any(0)
        return out

    def _columns(self, site: str, index: Ints) -> Ints:
        """Columns of a site's reader that the units of a part read."""
        return index

    def _readable(self, site: str, live: Bools) -> Bools:
        """Live nodes of the sites that a site reads."""
        out = np.zeros_like(live)
        for source in self.net.architecture.reads[site]:
            nodes = self.refined.node_slice(source)
            out[nodes] = live[nodes]
        return out

    def _reads(self, kept: Bools, readers: Sequence[Ints], live: Bools) -> Reads:
        return reads(kept, readers, live, self.units_of, self.net.spec.d_model, exact=not self.frozen)

    def bytes_of(self, plan: list[UnitPlan], time: int) -> int:  # type: ignore[override]
        """Changes of all units, what the norms take of them, and units of the widest site."""
        widest = max(parts.n_units for parts in self.parts.values())
        rows = 4 * len(self.writers.rows) + 8 * widest + (len(self.sites) + 8) * self.net.spec.d_model
        return (rows * time + len(plan) * self.net.spec.vocabulary) * self.wide.itemsize

    # ------------------------------------------------------------ the circuits

    def run(self, base: Base, kept: dict[str, Tensor]) -> Tensor:
        """See `StreamRunner.run`."""
        return self.run_plan(base, self.prepare([kept], base.consistent))[0]

    def run_plan(self, base: Base, plan: list[UnitPlan]) -> Tensor:  # type: ignore[override]
        """See `StreamRunner.run_plan`."""
        return torch.stack([self._run(base, one) for one in plan])

    def _run(self, base: Base, plan: UnitPlan) -> Tensor:
        shape = base.embed.shape[1:-1]
        changes = base.embed.new_zeros(len(self.writers.rows), *shape, dtype=self.wide)
        self._embed(base, changes, plan.embed)
        late = None
        for site in plan.sites:
            narrow = site.name in self.narrow and site.name.startswith("mlp.")
            if narrow and late is None:
                late = base.scored(changes.unsqueeze(-1))[..., 0]
            source = late if narrow and late is not None else changes
            units = (
                self._attention(site, base, changes)
                if site.name.startswith("attn.")
                else self._mlp(site, base, source, narrow)
            )
            self._change(site, base, units, source, narrow)
        late = base.scored(changes.unsqueeze(-1))[..., 0] if late is None else late
        return self._output(base, plan, late)

    def _embed(self, base: Base, changes: Tensor, live: Bools) -> None:
        """The change of the token embedding; parts that nothing reads, and dead units, count as unchanged."""
        clean = self.net.embed_units(base.batch.clean).to(self.wide) - base.units["embed"]
        for part in np.flatnonzero(live):
            index = self.parts["embed"].index[part]
            changes[index] = clean[..., index].permute(2, 0, 1)

    def _anchors(self, site: str, base: Base, changes: Tensor, *, narrow: bool) -> Anchors:
        """Streams that the rows of a site start from."""
        stream, scale = base.streams[site], None if base.frozen is None else base.frozen.get(site)
        if narrow:
            stream, scale = base.scored(stream), None if scale is None else base.scored(scale)
        end, width = self.end[site], self.net.spec.d_model
        scale = None if scale is None else scale.flatten().to(self.wide)
        stream = self._widened(stream.reshape(-1, width))
        return Anchors(self.net, stream, self.writers.rows[:end], changes[:end].flatten(1), scale)

    def _widened(self, stream: Tensor) -> Tensor:
        """A baseline stream in the precision of the others; in the network's own low one it was not centred."""
        return stream if stream.dtype == self.wide else self._centred(stream.to(self.wide))

    def _mlp(self, site: UnitSite, base: Base, changes: Tensor, narrow: bool) -> Tensor:
        """Units of an MLP site [batch, time, n_units]; those of nodes that do not change mean nothing."""
        layer, shape = int(site.name.split(".")[1]), changes.shape[1:]
        block = self.net.weights.blocks[layer]
        assert block.w_in is not None and block.mlp_norm is not None
        readers = {"": block.w_in} | ({} if block.w_gate is None else {"gate": block.w_gate})
        anchors = self._anchors(site.name, base, changes, narrow=narrow)
        found = read(site.reads[0], Reader(readers, block.mlp_norm, self.wide), anchors)
        return self.net.mlp_units(layer, {key: self._narrowed(value, shape) for key, value in found.items()})

    def _narrowed(self, values: Tensor, shape: torch.Size) -> Tensor:
        """Pre-activations [n, tokens] -> [batch, time, n] in the network's own precision."""
        return values.T.unflatten(0, shape).to(self.net.dtype)

    def _attention(self, site: UnitSite, base: Base, changes: Tensor) -> Tensor:
        """Units of an attention site, the same."""
        name, layer = site.name, int(site.name.split(".")[1])
        anchors = self._anchors(name, base, changes, narrow=False)
        if name not in self.fine:
            channels = zip("qkv", site.reads, strict=True)
            pre = {key: self._channel(name, key, one, base, anchors) for key, one in channels}
            return self.net.attend(layer, pre, base.context)
        v = self.net.values(layer, self._channel(name, "v", site.reads[0], base, anchors))
        old, new = base.units[pattern_of(name)], self._pattern(site, base, anchors)
        return self.fine[name].mixed(old, new, v, torch.from_numpy(site.through).to(v.device))

    def _pattern(self, site: UnitSite, base: Base, anchors: Anchors) -> Tensor:
        """Current patterns of a site that has them as nodes [batch, heads, query, key]."""
        layer = int(site.name.split(".")[1])
        q, k = (
            self._channel(site.name, key, one, base, anchors) for key, one in zip("qk", site.patterns, strict=True)
        )
        q, k, _ = self.net.rotated(layer, {"q": q, "k": k, "v": k}, base.context)
        return self.net.pattern(layer, q, k, base.context)

    def _channel(self, name: str, key: str, found: Reads, base: Base, anchors: Anchors) -> Tensor:
        """What the heads of a site read through one channel [batch, time, heads, d_head], without its bias."""
        old = self._reading(name, base).pre[key]
        if not found.formed and not found.sparse:
            return old
        block = self.net.weights.blocks[int(name.split(".")[1])]
        weights = {"q": block.w_q, "k": block.w_k, "v": block.w_v}[key]
        columns = self.net.per_query_head(weights.transpose(0, 1)).flatten(1)
        values = read(found, Reader({"": columns}, block.attn_norm, self.wide), anchors)[""]
        still = np.setdiff1d(np.arange(len(values)), found.readers)
        values[still] = old.flatten(-2).flatten(0, -2)[:, still].T.to(self.wide)
        return self._narrowed(values, old.shape[:2]).unflatten(-1, (self.net.spec.n_heads, -1))

    def _change(self, site: UnitSite, base: Base, units: Tensor, changes: Tensor, narrow: bool) -> None:
        """Put the changes of a site's units into the state."""
        name, first = site.name, self.writers.first[site.name]
        old = base.scored(base.scaled[name]) if narrow else base.scaled[name]
        if self.net.decoder(name)[2] is not None:
            dead = torch.from_numpy(self.partition.labels[name] < 0).to(units.device)
            whole = base.scored(base.units[name]) if narrow else base.units[name]
            units = torch.where(dead, whole, units)
            units = units * self._post_scale(name, units, base, narrow=narrow)
        moved = (units.to(self.wide) - old).permute(2, 0, 1)
        for part in np.flatnonzero(site.live):
            index = self.parts[name].index[part]
            changes[first + index] = moved[index]
        if name in base.silent and self._n_rows(name) > self.parts[name].n_units:
            changes[first + self.parts[name].n_units] = 1

    def _output(self, base: Base, plan: UnitPlan, late: Tensor) -> Tensor:
        """Logits [batch, vocabulary]."""
        anchors = Anchors(
            self.net,
            self._widened(base.streams["logits"]),
            self.writers.rows[: self.end["logits"]],
            late[: self.end["logits"]].flatten(1),
            None,
        )
        (row,) = [*plan.logits.formed] or [_as_row(plan.logits)]
        return self._logits(formed(row, anchors).to(self.net.dtype), base)


def _as_row(found: Reads) -> Row:
    """The one row of the logits, whose stream is formed in any case."""
    (only,) = found.sparse
    return Row(only.units, only.sign, only.readers[0])
