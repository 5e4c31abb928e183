"""Brute force for networks with dictionaries: every feature and error with streams and masks of its own.

The engine's dictionaries, Jacobians and runners are not used: encoders, decoders, errors and post-norms are written
out here, and what a part reads goes through the whole site for that part alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compgraph.dictionaries import FeatureTransformer, attach, sparse_autoencoder
from compgraph.partition import Partition
from tests.brute import BruteForce
from tests.connectivity.effective.references import Case, Rules


def tiny_dictionary(net, site, space="write", n_features=7, activation="relu", seed=0):
    """A lively dictionary of a site with random tensors."""
    generator = torch.Generator().manual_seed(seed)
    width = net.spec.d_model if space == "write" else net.architecture.site(site).n_units

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=net.dtype)

    options = {"topk": {"k": 3}, "jumprelu": {"threshold": random(n_features).abs() / 3}}
    free = space == "write" or net.decoder(site)[2] is None  # a bias in front of a post-norm is refused
    return sparse_autoencoder(
        space,
        random(width, n_features) / width**0.5,
        random(n_features, width),
        random(n_features),
        random(width) if free else None,
        activation=activation,
        subtract_bias=True,
        **options.get(activation, {}),
    )


def with_features(net, where, **options):
    """The network with `tiny_dictionary` at sites: site -> space."""
    made = {s: tiny_dictionary(net, s, space, seed=k, **options) for k, (s, space) in enumerate(where.items())}
    return attach(net, made)


def explicit_units(net: FeatureTransformer, site: str, hidden: Tensor) -> Tensor:
    """Features, then the error, from what the site computes."""
    one, layer = net.dictionaries[site], int(site.split(".")[1])
    block, x = net.weights.blocks[layer], hidden
    if one.space == "write":
        attention = site.startswith("attn")
        rows = block.w_o.flatten(0, 1) if attention else block.w_out
        bias, post = (block.b_o, block.attn_post_norm) if attention else (block.b_out, block.mlp_post_norm)
        x = hidden @ rows + (0 if bias is None else bias)
        if post is not None:
            scale = (x.square().mean(-1, keepdim=True) + net.spec.norm_eps).sqrt()
            x = x / (scale.detach() if isinstance(net, Rules) else scale) * post.gain
    pre = x @ one.encoder + (0 if one.encoder_bias is None else one.encoder_bias)
    if one.activation == "linear":
        features = pre
    else:
        features = torch.relu(pre)
        if one.activation == "topk":
            features = features * (pre >= pre.sort(-1, descending=True).values[..., one.k - 1 : one.k])
        if one.activation == "jumprelu":
            features = features * (pre > one.threshold)
    if one.complete:
        return features
    return torch.cat([features, x - features @ one.rows - (0 if one.bias is None else one.bias)], -1)


class FeatureBrute(BruteForce):
    """Edge-masked forward passes; see `BruteForce.run` for the arguments."""

    def run(self, tokens, positions, base, mask, *, zero=False, padding=None, nudge=None, embed=None):
        net, spec = self.net, self.net.spec
        context = net.context(tokens, padding)
        current = self.writes("embed", net.embed_units(tokens) if embed is None else embed, False)
        baseline = self.writes("embed", base["embed"], False)
        constant = net.add_positions(torch.zeros_like(base["embed"]), context)
        before = constant

        def stream(node, channel, start, sources):
            x = start
            for site in sources:
                nodes = self.partition.node_slice(site)
                for s in range(nodes.start, nodes.stop):
                    if node is None:
                        x = x + current[s]
                        continue
                    edge = self.edge[(node, channel if self.split else "", s)]
                    x = x + mask[edge] * current[s] + (1 - mask[edge]) * baseline[s]
                    if nudge is not None:
                        x = x + nudge[0][edge] * nudge[1][s]
            return x

        patterns: dict[str, dict[str, Tensor]] = {}
        for site in self.architecture.node_sites[1:]:
            nodes = self.partition.node_slice(site.name)
            reads = net.architecture.reads.get(site.name.removesuffix(".pattern"), ())
            if site.kind == "logits":
                x = stream(nodes.start, "", constant, reads)[torch.arange(len(tokens)), positions]
                return net.logits(net.read_logits(x).pre[""])
            start = before if spec.parallel and site.kind == "mlp" else constant
            layer = int(site.name.split(".")[1])
            block = net.weights.blocks[layer]
            labels = torch.from_numpy(self.partition.labels[site.name].copy())

            def read(node, channel, h, norm=block.attn_norm, block=block, start=start, reads=reads):
                weight = {"q": block.w_q, "k": block.w_k, "v": block.w_v}[channel]
                y = net.gain(net.normalise(stream(node, channel, start, reads))[0], norm)
                return y @ weight[h // (spec.n_heads // len(weight))]

            if site.kind == "pattern":
                patterns[site.name] = {
                    c: torch.stack([read(nodes.start + h, c, h) for h in range(spec.n_heads)], -2) for c in "qk"
                }
                continue
            if site.kind == "attn":
                if site.n_features and f"{site.name}.pattern" in patterns:
                    units = self.feature_units(site, labels, read, patterns, context, mask, base, nudge)
                elif f"{site.name}.pattern" in patterns:
                    units = self.fine_units(site, labels, stream, start, reads, patterns, context, mask, base, nudge)
                else:
                    node = [int(labels[0 if site.n_features else h * spec.d_head]) for h in range(spec.n_heads)]
                    pre = {
                        c: torch.stack([read(nodes.start + node[h], c, h) for h in range(spec.n_heads)], -2)
                        for c in "qkv"
                    }
                    units = net.attend(layer, pre, context)
                    units = explicit_units(net, site.name, units) if site.n_features else units
            else:
                units = 0.0
                for k in (-1, *range(self.partition.n_parts(site.name))):
                    y = net.normalise(stream(None if k < 0 else nodes.start + k, "", start, reads))[0]
                    y = net.gain(y, block.mlp_norm)
                    pre = {"": y @ block.w_in} | ({} if block.w_gate is None else {"gate": y @ block.w_gate})
                    own = net.mlp_units(layer, pre)
                    own = explicit_units(net, site.name, own) if site.n_features else own
                    units = units + own * (labels == k)
            current |= self.writes(site.name, units, False)
            dead = self.dead
            baseline |= self.writes(site.name, base[site.name], zero)
            before = constant
            constant = constant + self.constant(site.name) + dead
        raise AssertionError("no logits site")

    def feature_units(self, site, labels, read, patterns, context, mask, base, nudge) -> Tensor:
        """Units of an attention site divided into features."""
        net, spec = self.net, self.net.spec
        layer = int(site.name.split(".")[1])
        nodes, first = self.partition.node_slice(site.name), self.partition.node_slice(f"{site.name}.pattern").start
        found = patterns[f"{site.name}.pattern"]
        q, k, _ = net.rotated(layer, {"q": found["q"], "k": found["k"], "v": found["k"]}, context)
        current, old = net.pattern(layer, q, k, context), base[f"{site.name}.pattern"]
        units = 0.0
        for part in (-1, *range(self.partition.n_parts(site.name))):
            node, heads = (None if part < 0 else nodes.start + part), []
            for h in range(spec.n_heads):
                v = read(node, "v", h)
                bias = net.weights.blocks[layer].b_v
                if bias is not None:
                    v = v + bias[h * len(bias) // spec.n_heads]
                pattern = current[:, h]
                if node is not None:
                    edge = self.edge[(node, "", first + h)]
                    pattern = mask[edge] * pattern + (1 - mask[edge]) * old[:, h]
                    if nudge is not None:
                        pattern = pattern + nudge[0][edge] * nudge[1][first + h]
                heads.append(torch.einsum("bqk,bke->bqe", pattern, v))
            units = units + explicit_units(net, site.name, torch.cat(heads, -1)) * (labels == part)
        return units


def halves(net, seed=0, dead=False):
    """Parts: random groups of features, the error by itself; groups of neurons; heads. Dead features if asked for."""
    labels = {}
    generator = torch.Generator().manual_seed(seed)
    for site in net.architecture.node_sites:
        if site.n_features:
            own = torch.randint(0, 2, (site.n_features,), generator=generator)
            own[:2] = torch.tensor([0, 1])
            if dead:
                own[2] = -1
            labels[site.name] = torch.cat([own, torch.full((site.n_units - site.n_features,), 2)]).numpy()
        elif site.kind == "attn":
            labels[site.name] = torch.arange(site.n_heads).repeat_interleave(site.n_units // site.n_heads).numpy()
        elif site.kind == "mlp":
            labels[site.name] = (torch.arange(site.n_units) % 2).numpy()
        else:
            labels[site.name] = torch.zeros(site.n_units, dtype=int).numpy()
    return Partition.from_labels(labels)


class FeatureCase(Case):
    """One network with dictionaries and its data, an example at a time; patterns change too."""

    def __init__(self, net, partition, pairs, **options):
        brute = options.pop("brute", None) or FeatureBrute(net, partition, options.get("split_qkv", True))
        super().__init__(net, partition, pairs, brute=brute, **options)

    def change(self, old, new, *, to_baseline=True):
        """Node -> change of its write, or of its pattern."""
        out = super().change(old, new, to_baseline=to_baseline)
        for site in self.brute.partition.sites:
            if site.endswith(".pattern"):
                first, moved = self.brute.partition.node_slice(site).start, new[site] - old[site]
                out |= {first + h: moved[:, h] for h in range(moved.shape[1])}
        return out
