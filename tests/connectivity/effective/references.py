"""Slow, explicit versions of the gradient methods, on the brute-force network of `tests.brute`."""

from __future__ import annotations

import torch
from torch import Tensor

from compgraph.metrics import Targets, get_metric
from compgraph.models.transformer import ACTIVATIONS, Transformer
from tests.brute import BruteForce, base_units


class Case:
    """One network and its data, an example at a time."""

    def __init__(self, net, partition, pairs, *, zero=False, split_qkv=True, metric="logit_difference", brute=None):
        self.net, self.partition, self.pairs, self.zero, self.split = net, partition, pairs, zero, split_qkv
        self.brute = brute or BruteForce(net, partition, split_qkv)
        self.measure = get_metric(metric)
        self.clean, self.corrupted, self.positions, self.padding = (
            torch.from_numpy(x) for x in (pairs.clean, pairs.corrupted, pairs.positions, pairs.mask)
        )
        self.base = base_units(net, self.clean, self.corrupted, self.padding, zero)
        self.sites = list(self.base)
        with torch.no_grad():
            self.units = net.run(self.clean, self.padding, capture=self.sites).units

    def at(self, units, b):
        """Units of one example."""
        return {site: value[b : b + 1] for site, value in units.items()}

    def metric(self, logits, b):
        answers, distractors = (torch.from_numpy(x)[b : b + 1] for x in (self.pairs.answers, self.pairs.distractors))
        return self.measure(logits, Targets(answers, distractors)).sum()

    def change(self, old, new, *, to_baseline=True):
        """Node -> change of its write; towards the baseline a whole MLP may lose its bias."""
        out = {}
        with torch.no_grad():
            for site in self.brute.partition.sites:
                if site == "logits" or site.endswith(".pattern"):
                    continue
                after = self.brute.writes(site, new[site], self.zero and to_baseline)
                before = self.brute.writes(site, old[site], False)
                out |= {node: after[node] - before[node] for node in after}
        return out

    def run(self, b, nudge, **options):
        """Logits of one example with nothing ablated."""
        return self.brute.run(
            self.clean[b : b + 1],
            self.positions[b : b + 1],
            self.at(self.base, b),
            torch.ones(len(self.brute.edge), dtype=self.net.dtype),
            zero=self.zero,
            padding=self.padding[b : b + 1],
            nudge=nudge,
            **options,
        )

    def slope(self, b, change, **options):
        """[edges]: derivative of the metric along the given change of every edge."""
        eps = torch.zeros(len(self.brute.edge), dtype=self.net.dtype, requires_grad=True)
        return torch.autograd.grad(self.metric(self.run(b, (eps, change), **options), b), eps)[0]

    def gradients(self, b):
        """(target node, channel, pattern or None) -> gradient of the metric at what it reads: the stream [1, t, d], or
        the pattern [1, t, t], 0 where a query cannot look."""
        first = {}
        for (target, channel, source), edge in self.brute.edge.items():
            pattern = source if self.site_of(source)[0].endswith("pattern") else None
            first.setdefault((target, channel, pattern), (source, edge))
        found = {}
        for key, (source, edge) in first.items():
            width = self.net.spec.d_model if key[2] is None else self.clean.shape[1]
            push = torch.zeros(1, self.clean.shape[1], width, dtype=self.net.dtype, requires_grad=True)
            zeros = {s: torch.zeros(1, dtype=self.net.dtype) for (_, _, s) in self.brute.edge} | {source: push}
            only = torch.zeros(len(self.brute.edge), dtype=self.net.dtype)
            only[edge] = 1
            logits = self.run(b, (only, zeros))
            found[key] = torch.autograd.grad(self.metric(logits, b), push)[0]
            if key[2] is not None:
                site, head = self.site_of(source)
                found[key] = found[key] * (self.units[site][b, head] > 0)
        return found

    def site_of(self, node):
        """Site of a node, and its number there."""
        partition = self.brute.partition
        site = next(s for s in partition.sites if node < partition.node_slice(s).stop)
        return site, node - partition.node_slice(site).start

    def brute_heads(self, site, part):
        """Heads that a part of an attention site has units of; a feature is read off all."""
        heads = range(self.net.spec.n_heads)
        if self.net.architecture.site(site).n_features:
            return heads
        labels = self.partition.labels[site].reshape(len(heads), -1)
        return [h for h in heads if part in labels[h]]

    def per_example(self, function):
        """Stack `function(b)` over examples."""
        return torch.stack([function(b) for b in range(self.pairs.n)])


def eap(case):
    """[examples, edges]"""
    return case.per_example(lambda b: case.slope(b, case.change(case.at(case.units, b), case.at(case.base, b))))


def path_of_gradient(case, b, steps, step_size=1.0):
    """The inputs that eap-gp visits for one example."""
    tokens, mask = case.clean[b : b + 1], case.padding[b : b + 1]

    def outputs(x):
        return case.net.run(tokens, mask, edit={"embed": lambda _: x}).logits[0, case.padding[b]]

    aim = outputs(case.base["embed"][b : b + 1]).detach()
    x = case.units["embed"][b : b + 1].clone()
    found = []
    for _ in range(steps):
        x = x.detach().requires_grad_()
        h = torch.autograd.grad((outputs(x) - aim).square().sum(), x)[0]
        x = (x - step_size * h / h.square().sum().sqrt()).detach()
        found.append(x)
    return found


def eap_gp(case, steps, step_size=1.0):
    """[examples, edges]"""

    def one(b):
        change = case.change(case.at(case.units, b), case.at(case.base, b))
        return sum(case.slope(b, change, embed=x) for x in path_of_gradient(case, b, steps, step_size)) / steps

    return case.per_example(one)


def ceap(case, steps):
    """[examples, edges]"""

    def one(b):
        start, end = case.base["embed"][b : b + 1], case.units["embed"][b : b + 1]
        inputs = [start + k / steps * (end - start) for k in range(steps + 1)]
        with torch.no_grad():
            units = [
                case.net.run(
                    case.clean[b : b + 1], case.padding[b : b + 1], capture=case.sites, edit={"embed": lambda _, x=x: x}
                ).units
                for x in inputs
            ]
        pieces = [case.change(units[k + 1], units[k], to_baseline=False) for k in range(steps)]
        return sum(case.slope(b, piece, embed=x) for piece, x in zip(pieces, inputs, strict=False))

    return case.per_example(one)


class Dropped(BruteForce):
    """Brute force in which nothing can be differentiated through the writes of one block."""

    layer = -1

    def writes(self, site, units, zero_bias):
        out = super().writes(site, units, zero_bias)
        if site.split(".")[-1] == str(self.layer):
            self.dead = self.dead.detach()
            return {node: value.detach() for node, value in out.items()}
        return out


def grad_drop(case, signed_scores):
    """[examples, edges]; `case.brute` must be `Dropped`, `signed_scores(case)` the scores to make unsigned."""
    total = 0
    for layer in range(case.net.spec.n_layers):
        case.brute.layer = layer
        total = total + signed_scores(case).abs()
    last = max(target for target, _, _ in case.brute.edge)
    divisor = [case.net.spec.n_layers - (target != last) for target, _, _ in case.brute.edge]
    return total / torch.tensor(divisor, dtype=total.dtype)


class Rules(Transformer):
    """The rules of relevance propagation written out with `detach`."""

    constant_patterns = False

    def normalise(self, x, *, centred=None):
        if self.spec.norm == "none":
            return x, None
        if self.spec.norm == "layer" if centred is None else centred:
            x = x - x.sum(-1, keepdim=True) / x.shape[-1]
        scale = (x.square().sum(-1, keepdim=True) / x.shape[-1] + self.spec.norm_eps).sqrt().detach()
        return x / scale, 1 / scale

    def rule_of_identity(self, x):
        act = ACTIVATIONS[self.spec.activation]
        if self.spec.activation == "relu":
            return act(x)
        moved = x + ((x == 0).to(x) + x.sign()) * 1e-6
        return moved * (act(x) / moved).detach()

    def mlp_units(self, layer, pre):
        block = self.weights.blocks[layer]
        up = pre[""] if block.b_in is None else pre[""] + block.b_in
        if "gate" not in pre:
            return self.rule_of_identity(up)
        gate = pre["gate"] if block.b_gate is None else pre["gate"] + block.b_gate
        product = self.rule_of_identity(gate) * up
        return product / 2 + (product / 2).detach()

    def pattern(self, *arguments):
        found = super().pattern(*arguments)
        return found.detach() if self.constant_patterns else found


class BruteRules(BruteForce):
    """Brute force under the rules: post-norms, too, have a constant scale."""

    def writes(self, site, units, zero_bias):
        if site == "embed" or self.net.decoder(site)[2] is None:
            return super().writes(site, units, zero_bias)
        rows, _, post = self.net.decoder(site)
        total = units @ rows
        scale = torch.rsqrt(total.pow(2).mean(-1, keepdim=True) + self.net.spec.norm_eps).detach()
        labels = torch.from_numpy(self.partition.labels[site].copy())
        first = self.partition.node_slice(site).start
        out = {
            first + k: (units * (labels == k)) @ rows * scale * post.gain
            for k in (-1, *range(self.partition.n_parts(site)))
        }
        self.dead = out.pop(first - 1)
        return out


def gradient_norm(case):
    """[examples, edges]"""

    def one(b):
        change = case.change(case.at(case.units, b), case.at(case.base, b))
        gradients = case.gradients(b)
        rows = []
        for target, channel, source in case.brute.edge:
            key = (target, channel, source if case.site_of(source)[0].endswith("pattern") else None)
            rows.append((change[source].norm(dim=-1) * gradients[key].norm(dim=-1)).sum())
        return torch.stack(rows)

    return case.per_example(one)


def streams(case, b):
    """Site -> the stream that it reads in the clean run, [1, t, d]."""
    net, found = case.net, {}
    tokens, mask = case.clean[b : b + 1], case.padding[b : b + 1]
    context = net.context(tokens, mask)
    units = case.at(case.units, b)
    x = before = net.add_positions(units["embed"], context)
    for site in [s.name for s in net.architecture.node_sites[1:-1]]:
        found[site] = before if site.startswith("mlp") and net.spec.parallel else x
        before = x if site.startswith("attn") else before
        x = x + net.write(site, units[site])
    return found | {"logits": x}


def qk_fix(case):
    """[examples, edges], for partitions by head, by module or with patterns as nodes."""
    net = case.net
    sites = case.brute.partition.sites

    def one(b):
        tokens, mask = case.clean[b : b + 1], case.padding[b : b + 1]
        context = net.context(tokens, mask)
        change = case.change(case.at(case.units, b), case.at(case.base, b))
        scores = case.slope(b, change)
        reads = streams(case, b)
        for site in [s.name for s in net.architecture.node_sites if s.kind == "attn"]:
            layer, own = int(site.split(".")[1]), f"{site}.pattern" if f"{site}.pattern" in sites else site
            push = torch.zeros((), dtype=net.dtype)
            kept = {}

            def hold(pattern, kept=kept, push=push):
                kept["pattern"] = (pattern + push).detach().requires_grad_()
                return kept["pattern"]

            logits = net.run(tokens, mask, positions=case.positions[b : b + 1], edit={f"{site}.pattern": hold}).logits
            at_pattern = torch.autograd.grad(case.metric(logits, b), kept["pattern"])[0]
            block = net.weights.blocks[layer]
            group = net.spec.n_heads // len(block.w_k)
            raw = {
                c: torch.stack([_read(net, reads[site], block, w[h // g]) for h in range(net.spec.n_heads)], -2)
                for c, w, g in (("q", block.w_q, 1), ("k", block.w_k, group))
            }
            for (target, channel, source), edge in case.brute.edge.items():
                if channel not in ("q", "k") or case.site_of(target)[0] != own:
                    continue
                whole = case.brute.partition.n_parts(own) == 1
                pre = {c: value.clone() for c, value in raw.items()}
                heads = range(net.spec.n_heads) if whole else [case.site_of(target)[1]]
                for h in heads:
                    reader = block.w_q[h] if channel == "q" else block.w_k[h // group]
                    pre[channel][..., h, :] = _read(net, reads[site] + change[source], block, reader)
                q, k, _ = net.rotated(layer, {**pre, "v": pre["k"]}, context)
                moved = net.pattern(layer, q, k, context) - kept["pattern"]
                scores[edge] = (moved * at_pattern)[:, list(heads)].sum()
        return scores.detach()

    return case.per_example(one)


def _read(net, x, block, reader) -> Tensor:
    return net.gain(net.normalise(x)[0], block.attn_norm) @ reader


def attention_rollout(case):
    """[examples, edges], for partitions by head or with patterns as nodes, position by position."""
    net = case.net
    names = [f"{s.name}.pattern" for s in net.architecture.node_sites if s.kind == "attn"]
    with torch.no_grad():
        patterns = net.run(case.clean, case.padding, capture=names).units

    def one(b):
        time = case.clean.shape[1]
        rho = [float(t == case.positions[b]) for t in range(time)]
        weights = {("logits", 0, ""): rho}
        for layer in reversed(range(net.spec.n_layers)):
            site = f"attn.{layer}"
            a = patterns[f"{site}.pattern"][b]
            weights |= {(f"mlp.{layer}", part, ""): rho for part in range(case.partition.n_parts(f"mlp.{layer}"))}
            weights |= {(site, part, ""): rho for part in range(case.partition.n_parts(site))}
            fine = f"{site}.pattern" in case.brute.partition.sites
            by_head = []
            mixed = [0.0] * time
            for h in range(net.spec.n_heads):
                keys = [sum(rho[q] * float(a[h, q, k]) for q in range(time)) for k in range(time)]
                own = f"{site}.pattern" if fine else site
                weights |= {(own, h, "q"): rho, (own, h, "k"): keys, (own, h, "v"): keys}
                by_head.append(keys)
                mixed = [m + w / net.spec.n_heads for m, w in zip(mixed, keys, strict=True)]
            rho = [(r + m) / 2 for r, m in zip(rho, mixed, strict=True)]
            for part in range(case.partition.n_parts(site)) if fine else ():
                heads = case.brute_heads(site, part)
                weights[site, part, "v"] = [sum(by_head[h][t] for h in heads) / len(heads) for t in range(time)]
        change = case.change(case.at(case.units, b), case.at(case.base, b))
        rows = []
        for target, channel, source in case.brute.edge:
            site, part = case.site_of(target)
            w = torch.tensor(weights[site, part, channel], dtype=net.dtype)
            rows.append((w * change[source][0].norm(dim=-1)).sum())
        return torch.stack(rows)

    return case.per_example(one)
