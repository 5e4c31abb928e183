"""Brute-force reference: a transformer run node by node, with one mask variable per edge.

Independent of the factored scores and of the runners: every destination (head × channel, MLP part, logits) gets
its stream by an explicit sum over sources, reads it with its own slice of the weights, and every write is an
explicit product with its own decoder rows. Only `attend`, `mlp_units` and the norms are shared with the engine,
whose agreement with `transformers` is tested elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compgraph.architectural import architectural_edges, edge_channels
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.patterns import with_patterns


class BruteForce:
    """Edge-masked forward passes of a transformer over one batch."""

    def __init__(self, net: Transformer, partition: Partition, split_qkv: bool = True) -> None:
        self.net = net
        self.architecture, self.partition = with_patterns(net, partition)
        names = edge_channels(net, split_qkv)
        source, target, channel = architectural_edges(net, partition, split_qkv)
        self.edge = {
            (int(t), names[c], int(s)): k for k, (s, t, c) in enumerate(zip(source, target, channel, strict=True))
        }
        self.split = split_qkv

    def writes(self, site: str, units: Tensor, zero_bias: bool) -> dict[int, Tensor]:
        """Node -> its write [b, t, d]; that of the dead units is left in `dead`."""
        net, labels = self.net, torch.from_numpy(self.partition.labels[site].copy())
        nodes = self.partition.node_slice(site)
        out = {}
        for k in (-1, *range(self.partition.n_parts(site))):
            own = units * (labels == k)
            if site == "embed":
                out[nodes.start + k] = own
                continue
            rows, bias, post = net.decoder(site)
            write = own @ rows
            if post is not None:
                total = units @ rows + (0 if bias is None else bias)
                scale = torch.rsqrt(total.pow(2).mean(-1, keepdim=True) + net.spec.norm_eps)
                write = write * scale * post.gain
            elif (
                k == 0
                and site.startswith("mlp")
                and self.partition.n_parts(site) == 1
                and bias is not None
                and not zero_bias
            ):
                write = write + bias
            out[nodes.start + k] = write
        self.dead = out.pop(nodes.start - 1)
        return out

    def constant(self, site: str) -> Tensor | float:
        """Biases that belong to no node."""
        if site == "embed":
            return 0.0
        _, bias, post = self.net.decoder(site)
        whole_mlp = site.startswith("mlp") and self.partition.n_parts(site) == 1
        return 0.0 if bias is None or (whole_mlp and post is None) else bias

    def fine_units(self, site, labels, stream, start, reads, patterns, context, mask, base, nudge) -> Tensor:
        """Units of an attention site whose parts cut through heads: every unit by itself."""
        net, spec = self.net, self.net.spec
        layer = int(site.name.split(".")[1])
        block = net.weights.blocks[layer]
        group = spec.n_heads // spec.n_kv_heads
        nodes = self.partition.node_slice(site.name)
        first = self.partition.node_slice(f"{site.name}.pattern").start
        q, k = patterns[f"{site.name}.pattern"]["q"], patterns[f"{site.name}.pattern"]["k"]
        q, k, _ = net.rotated(layer, {"q": q, "k": k, "v": k}, context)
        current = net.pattern(layer, q, k, context)
        columns = []
        for unit in range(site.n_units):
            head, coordinate = divmod(unit, spec.d_head)
            node = nodes.start + int(labels[unit]) if labels[unit] >= 0 else None
            y = net.gain(net.normalise(stream(node, "v", start, reads))[0], block.attn_norm)
            v = y @ block.w_v[head // group][:, coordinate]
            if block.b_v is not None:
                v = v + block.b_v[head // group][coordinate]
            if node is None:
                columns.append(torch.einsum("bqk,bk->bq", current[:, head], v))
                continue
            edge = self.edge[(node, "", first + head)]
            old = base[f"{site.name}.pattern"][:, head]
            pattern = mask[edge] * current[:, head] + (1 - mask[edge]) * old
            if nudge is not None:
                pattern = pattern + nudge[0][edge] * nudge[1][first + head]
            columns.append(torch.einsum("bqk,bk->bq", pattern, v))
        return torch.stack(columns, -1)

    def run(
        self,
        tokens: Tensor,
        positions: Tensor,
        base: dict[str, Tensor],
        mask: Tensor,
        *,
        zero: bool = False,
        padding: Tensor | None = None,
        nudge: tuple[Tensor, dict[int, Tensor]] | None = None,
        embed: Tensor | None = None,
        edit: tuple[str, float] | None = None,
    ) -> Tensor:
        """Logits [b, v] with edge weights `mask` [E] between 0 (baseline write) and 1 (current write).

        `base`: units of every source site in the baseline run. `nudge`: (eps [E], node -> change of write): eps
        times the change is added on every edge, for derivatives that keep the change fixed. `embed`: token
        embedding to use. `edit`: (site, share): its write becomes share · clean + (1 - share) · baseline.
        """
        net, spec = self.net, self.net.spec
        context = net.context(tokens, padding)
        current = self.writes("embed", net.embed_units(tokens) if embed is None else embed, False)
        baseline = self.writes("embed", base["embed"], False)
        constant = net.add_positions(torch.zeros_like(base["embed"]), context)
        before = constant

        def stream(node: int | None, channel: str, start: Tensor, sources: tuple[str, ...]) -> Tensor:
            """What a node reads; dead units (None) read the current stream."""
            x = start
            for site in sources:
                nodes = self.partition.node_slice(site)
                for s in range(nodes.start, nodes.stop):
                    if node is None:
                        x = x + current[s]
                        continue
                    m = mask[self.edge[(node, channel if self.split else "", s)]]
                    x = x + m * current[s] + (1 - m) * baseline[s]
                    if nudge is not None:
                        x = x + nudge[0][self.edge[(node, channel if self.split else "", s)]] * nudge[1][s]
            return x

        patterns: dict[str, dict[str, Tensor]] = {}
        for site in self.architecture.node_sites[1:]:
            nodes = self.partition.node_slice(site.name)
            reads = net.architecture.reads.get(site.name.removesuffix(".pattern"), ())
            start = before if spec.parallel and site.kind == "mlp" else constant
            if site.kind == "logits":
                x = stream(nodes.start, "", constant, reads)
                x = x[torch.arange(len(x)), positions]
                return net.logits(net.read_logits(x).pre[""])
            layer = int(site.name.split(".")[1])
            labels = torch.from_numpy(self.partition.labels[site.name].copy())
            if site.kind == "pattern":
                block = net.weights.blocks[layer]
                group = spec.n_heads // spec.n_kv_heads
                found = {}
                for channel, reader in (("q", block.w_q), ("k", block.w_k)):
                    heads = []
                    for h in range(spec.n_heads):
                        y = net.gain(net.normalise(stream(nodes.start + h, channel, start, reads))[0], block.attn_norm)
                        heads.append(y @ reader[h // (group if channel == "k" else 1)])
                    found[channel] = torch.stack(heads, -2)
                patterns[site.name] = found
                continue
            if site.kind == "attn" and f"{site.name}.pattern" in patterns:
                units = self.fine_units(site, labels, stream, start, reads, patterns, context, mask, base, nudge)
            elif site.kind == "attn":
                block = net.weights.blocks[layer]
                pre = {}
                for channel, reader in (("q", block.w_q), ("k", block.w_k), ("v", block.w_v)):
                    heads = []
                    group = spec.n_heads // reader.shape[0]
                    for h in range(spec.n_heads):
                        node = nodes.start + int(labels[h * spec.d_head])
                        y = net.gain(net.normalise(stream(node, channel, start, reads))[0], block.attn_norm)
                        heads.append(y @ reader[h // group])
                    pre[channel] = torch.stack(heads, -2)
                units = net.attend(layer, pre, context)
            else:
                block = net.weights.blocks[layer]
                pre = {"": 0.0} | ({} if block.w_gate is None else {"gate": 0.0})
                for k in (-1, *range(self.partition.n_parts(site.name))):
                    node = None if k < 0 else nodes.start + k
                    y = net.gain(net.normalise(stream(node, "", start, reads))[0], block.mlp_norm)
                    own = (labels == k).to(y.dtype)
                    pre[""] = pre[""] + (y @ block.w_in) * own
                    if block.w_gate is not None:
                        pre["gate"] = pre["gate"] + (y @ block.w_gate) * own
                units = net.mlp_units(layer, pre)
            current |= self.writes(site.name, units, False)
            dead = self.dead
            baseline |= self.writes(site.name, base[site.name], zero)
            if edit is not None and edit[0] == site.name:
                for node in self.writes(site.name, units, False):
                    current[node] = edit[1] * current[node] + (1 - edit[1]) * baseline[node]
            before = constant
            constant = constant + self.constant(site.name) + dead
        raise AssertionError("no logits site")


def base_units(net: Transformer, tokens: Tensor, corrupted: Tensor, padding: Tensor | None, zero: bool):
    """Site -> units of the baseline run."""
    sites = [s.name for s in net.architecture.node_sites[:-1]]
    patterns = [f"{s}.pattern" for s in sites if s.startswith("attn")]
    with torch.no_grad():
        units = net.run(tokens if zero else corrupted, padding, capture=[*sites, *patterns]).units
    return {s: torch.zeros_like(u) for s, u in units.items()} if zero else units


def gradient_scores(
    net: Transformer,
    partition: Partition,
    tokens: Tensor,
    corrupted: Tensor,
    positions: Tensor,
    metric,
    runs,
    *,
    zero: bool = False,
    split_qkv: bool = True,
    padding: Tensor | None = None,
) -> Tensor:
    """[b, E]: derivative of the metric along the fixed change of each edge, averaged over runs.

    `runs(clean embedding, baseline embedding)` lists (weight, keyword arguments of `BruteForce.run`).
    """
    base = base_units(net, tokens, corrupted, padding, zero)
    with torch.no_grad():
        clean = net.run(tokens, padding, capture=list(base)).units
    brute = BruteForce(net, partition, split_qkv)
    rows = []
    for b in range(len(tokens)):
        one = {s: u[b : b + 1] for s, u in base.items()}
        change: dict[int, Tensor] = {}
        for site in brute.partition.labels:
            if site.endswith(".pattern"):
                first = brute.partition.node_slice(site).start
                moved = one[site] - clean[site][b : b + 1]
                change |= {first + h: moved[:, h] for h in range(moved.shape[1])}
                continue
            if site == "logits":
                continue
            new = brute.writes(site, one[site], zero)
            old = brute.writes(site, clean[site][b : b + 1], False)
            change |= {node: new[node] - old[node] for node in new}
        total = torch.zeros(len(brute.edge), dtype=net.dtype)
        for weight, options in runs(clean["embed"][b : b + 1], one["embed"]):
            eps = torch.zeros(len(brute.edge), dtype=net.dtype, requires_grad=True)
            logits = brute.run(
                tokens[b : b + 1],
                positions[b : b + 1],
                one,
                torch.ones(len(brute.edge), dtype=net.dtype),
                zero=zero,
                padding=None if padding is None else padding[b : b + 1],
                nudge=(eps, change),
                **options,
            )
            total += weight * torch.autograd.grad(metric(logits, b).sum(), eps)[0]
        rows.append(total)
    return torch.stack(rows)
