"""Writers and readers as explicit matrices, part by part: what the library never forms."""

from __future__ import annotations

import numpy as np
import torch

from compgraph.dictionaries import attach, sparse_autoencoder
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.partition import Partition


def featured(net):
    """The network with a dictionary of each space: `hidden` at an attention and an MLP site, `write` at others."""
    torch.manual_seed(3)
    spec, made = net.spec, {}
    for site, space in (("attn.0", "hidden"), ("mlp.0", "write"), ("attn.1", "write"), ("mlp.1", "hidden")):
        width = spec.d_model if space == "write" else net.architecture.site(site).n_units
        encoder, rows = torch.randn(width, 5, dtype=net.dtype), torch.randn(5, width, dtype=net.dtype)
        made[site] = sparse_autoencoder(space, encoder, rows)
    return attach(net, made)


def by_feature(net):
    """Features one by one and errors as parts of sites with dictionaries, other sites whole."""
    return Partition.from_labels(
        {
            s.name: np.minimum(np.arange(s.n_units), s.n_features) if s.n_features else np.zeros(s.n_units, int)
            for s in net.architecture.node_sites
        }
    )


class Dense:
    """Matrices of a network's parts."""

    def __init__(self, net) -> None:
        self.net = net
        self.plain = net.inner if isinstance(net, FeatureTransformer) else net
        spec = net.spec
        eye = torch.eye(spec.d_model, dtype=net.dtype)
        self.centre = eye - 1 / spec.d_model if spec.norm == "layer" else eye

    def block(self, site):
        return self.net.weights.blocks[int(site.split(".")[1])]

    def gained(self, matrix, norm):
        return self.centre @ (matrix if norm.gain is None else norm.gain[:, None] * matrix)

    def rows(self, site):
        rows, _, post = self.net.decoder(site)
        return rows * (1 if post is None else post.gain)

    def encoder(self, site):
        """[hidden units, units] of the site."""
        hidden = self.plain.architecture.site(site).n_units
        if self.plain is self.net or site not in self.net.dictionaries:
            return torch.eye(hidden, dtype=self.net.dtype)
        one = self.net.dictionaries[site]
        rows, _, post = self.plain.decoder(site)
        described = rows * (1 if post is None else post.gain)
        if one.space == "hidden":
            described = torch.eye(hidden, dtype=rows.dtype)
        return torch.cat([described @ one.encoder, described], 1)

    def heads(self, site, name):
        """Gained readers [d_model, d_head] of every query head."""
        block, spec = self.block(site), self.net.spec
        norm = {"q": block.q_norm, "k": block.k_norm, "v": None}[name]
        weight = {"q": block.w_q, "k": block.w_k, "v": block.w_v}[name]
        heads = [weight[h * len(weight) // spec.n_heads] for h in range(spec.n_heads)]
        heads = [w if norm is None else w * norm.gain for w in heads]
        return [self.gained(w, block.attn_norm) for w in heads]

    def value_maps(self, site, units):
        """Map stream -> write of some units, through each head."""
        encoder, width = self.encoder(site), self.net.spec.d_head
        values = self.heads(site, "v")
        parts = [encoder[h * width : (h + 1) * width][:, units] for h in range(len(values))]
        return [v @ e @ self.rows(site)[units] @ self.centre for v, e in zip(values, parts, strict=True)]

    def neurons(self, site):
        """What units of an MLP read [d_model, units], of gated ones by both factors of the product."""
        block = self.block(site)
        up = self.gained(block.w_in, block.mlp_norm)
        if block.w_gate is None:
            return [up @ self.encoder(site)]
        gate = self.gained(block.w_gate, block.mlp_norm)
        return [w @ self.encoder(site) for w in (up * gate.norm(dim=0), gate * up.norm(dim=0))]

    def writer(self, site, units):
        """[inputs, d_model], centred."""
        if site == "embed":
            mask = torch.zeros(self.net.spec.d_model, dtype=self.net.dtype)
            mask[units] = 1
            return (self.net.weights.embedding * mask) @ self.centre
        if site.startswith("mlp"):
            written = self.rows(site)[units] @ self.centre
            return torch.cat(self.neurons(site)).norm(dim=0)[units, None] * written
        return torch.cat(self.value_maps(site, units))

    def reader(self, site, channel, units):
        """[d_model, outputs], centred; `units` are those of the site, of a pattern its head."""
        if site == "logits":
            return self.gained(self.net.weights.unembedding.T, self.net.weights.final_norm)
        if site.startswith("mlp"):
            lengths = (self.rows(site) @ self.centre).norm(dim=1)[units]
            return torch.cat([read[:, units] * lengths for read in self.neurons(site)], 1)
        if channel == "v":
            return torch.cat(self.value_maps(site, units), 1)
        site, d_head = site.removesuffix(".pattern"), self.net.spec.d_head
        heads = [units] if isinstance(units, int) else sorted({u // d_head for u in units})
        q, k = self.heads(site, "q"), self.heads(site, "k")
        pairs = [(q[h], k[h]) if channel == "q" else (k[h], q[h]) for h in heads]
        return torch.cat([a @ b.T for a, b in pairs], 1)


def ends(net, graph):
    """Writer and reader [.., d_model], [d_model, ..] of every edge that is not from a pattern, with its number."""
    dense, nodes, known = Dense(net), graph.node_columns, {}

    def units(node):
        site, label = nodes["site"][node], int(nodes["label"][node])
        if site.endswith(".pattern"):
            return label
        return [i for i, part in enumerate(graph.partition.labels[site]) if part == label]

    for k, (s, t, c) in enumerate(zip(graph.source, graph.target, graph.channel, strict=True)):
        source, target, channel = nodes["site"][s], nodes["site"][t], graph.channels[c]
        if source.endswith(".pattern"):
            continue
        if s not in known:
            known[s] = dense.writer(source, units(s))
        if (t, c) not in known:
            known[t, c] = dense.reader(target, channel, units(t))
        yield k, known[s], known[t, c]
