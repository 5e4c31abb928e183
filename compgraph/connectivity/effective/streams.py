"""Scores of all edges of a transformer from one gradient pass.

With D_s the change of source s's write and g_v the gradient of the metric at the pre-activations that
destination v computes with reader rows r_v, the score of s -> v is `<D_s, Jᵀ(g_v r_v)>`, J being the Jacobian
of the norm in front of v. With xhat the normalised stream, 1/σ its inverse scale, γ the gain and
R_v = (g_v / σ) (γ r_v):

    Jᵀ(g_v r_v) = R_v - mean(R_v) - xhat <xhat, R_v> / d        (RMSNorm: without the mean)

Everything is a batched matrix product over (time · width): one forward and one backward pass serve all edges,
no node has a pass of its own. A destination reads at every position except `logits`, which reads at the scored
one only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.passes import Edit, PassResult
from compgraph.data.batches import Batch
from compgraph.metrics import Metric, Targets
from compgraph.models.spec import NormWeights
from compgraph.models.transformer import Reading, Tape, Transformer
from compgraph.models.writes import check_writes
from compgraph.partition import Partition
from compgraph.parts import Parts


class StreamScorer:
    """Scores of the edges between the nodes of a partition of a transformer.

    Parameters
    ----------
    net, partition
        Attention parts must consist of whole heads.
    split_qkv
        Whether q, k and v of a head are destinations of their own.

    Raises
    ------
    GraphError
        A part holds only some units of a head.
    """

    def __init__(self, net: Transformer, partition: Partition, split_qkv: bool) -> None:
        check_writes(net, partition)
        self.net, self.split_qkv = net, split_qkv
        self.sites = net.architecture.node_sites
        self.parts = {
            s.name: Parts.from_labels(partition.labels[s.name], partition.n_parts(s.name), net.device)
            for s in self.sites
            if s.name != "logits"
        }
        self.sources = [s.name for s in self.sites if s.name != "logits"]
        self.count = dict(zip(self.sources, (len(self.parts[s]) for s in self.sources), strict=True))

    def bytes_per_example(self, pairs: Any) -> int:
        """Writes of all sources and the R of the largest destination site."""
        channels = 3 if self.split_qkv else 1
        rows = sum(self.count.values()) + channels * max(self.count.values())
        return int(rows * pairs.clean.shape[1] * self.net.spec.d_model * self.net.weights.embedding.element_size())

    def run(self, batch: Batch, edit: Mapping[str, Edit], metric: Metric, targets: Targets) -> PassResult:
        """Forward pass with a tape."""
        tape = Tape()
        out = self.net.run(
            batch.clean, batch.mask, capture=self.sources, positions=batch.positions, edit=edit, tape=tape
        )
        units = {name: value.detach() for name, value in out.units.items()}
        return PassResult(units, metric(out.logits, targets), tape)

    # ------------------------------------------------------------ sources

    def change(self, clean: Units, baseline: Units, silent: Collection[str] = ()) -> Tensor:
        """Change of every source's write, [sources, batch, time, d_model]."""
        with torch.no_grad():
            difference = {
                name: self._scaled(name, baseline[name]) - self._scaled(name, clean[name]) for name in self.sources
            }
            return self._writes(difference, silent)

    def _scaled(self, name: str, units: Tensor) -> Tensor:
        """Units times the scale of a post-norm, so that writes are linear in them."""
        if name == "embed" or self.net.decoder(name)[2] is None:
            return units
        reading = Reading(units, None, {})
        self.net.write(name, units, reading)
        assert reading.write_scale is not None
        return units * reading.write_scale

    def _writes(self, change: Units, silent: Collection[str]) -> Tensor:
        """Writes of units, per source; sites in `silent` lose their output bias too."""
        out = []
        for name in self.sources:
            parts = self.parts[name]
            if name == "embed":
                out.append(parts.masked(change[name]))
                continue
            rows, bias, post = self.net.decoder(name)
            rows = rows if post is None or post.gain is None else rows * post.gain
            written = parts.product(change[name], rows)
            if name in silent and bias is not None:
                written = written - bias
            out.append(written)
        return torch.cat(out) if len(out) > 1 else out[0]

    # ------------------------------------------------------------ destinations

    @staticmethod
    def _gradients(tape: Tape, total: Tensor) -> dict[str, dict[str, Tensor]]:
        """Gradient of `total` at every pre-activation on the tape: site -> channel -> tensor."""
        keys = [(site, channel) for site, reading in tape.readings.items() for channel in reading.pre]
        values = torch.autograd.grad(total, [tape.readings[s].pre[c] for s, c in keys])
        out: dict[str, dict[str, Tensor]] = {}
        for (site, channel), value in zip(keys, values, strict=True):
            out.setdefault(site, {})[channel] = value
        return out

    def _gradient_writes(self, name: str, reading: Reading, gradient: Mapping[str, Tensor]) -> Tensor:
        """R_v of every destination of a site: [channels · parts, batch, time, d] (logits: [1, batch, d])."""
        inverse = reading.inverse_scale
        if name == "logits":
            g = gradient[""] if inverse is None else gradient[""] * inverse
            return self._gained(g @ self.net.weights.unembedding, self.net.weights.final_norm)[None]
        block = self.net.weights.blocks[int(name.split(".")[1])]
        if name.startswith("mlp."):
            assert block.w_in is not None and block.mlp_norm is not None
            readers = {"": block.w_in.T}
            if block.w_gate is not None:
                readers["gate"] = block.w_gate.T
            per_channel = [self._read(name, gradient[c], readers[c], inverse) for c in readers]
            return self._gained(sum(per_channel[1:], per_channel[0]), block.mlp_norm)
        per_channel = []
        for channel, reader in (("q", block.w_q), ("k", block.w_k), ("v", block.w_v)):
            rows = reader.repeat_interleave(self.net.spec.n_heads // reader.shape[0], 0).transpose(1, 2)
            g = gradient[channel].flatten(-2)
            per_channel.append(self._read(name, g, rows.reshape(-1, rows.shape[-1]), inverse))
        joined = torch.cat(per_channel) if self.split_qkv else per_channel[0] + per_channel[1] + per_channel[2]
        return self._gained(joined, block.attn_norm)

    def _read(self, name: str, g: Tensor, rows: Tensor, inverse: Tensor | None) -> Tensor:
        return self.parts[name].product(g if inverse is None else g * inverse, rows)

    @staticmethod
    def _gained(value: Tensor, norm: NormWeights) -> Tensor:
        return value if norm.gain is None else value * norm.gain

    # ------------------------------------------------------------ scores

    def scores(self, change: Tensor, result: PassResult, batch: Batch) -> Tensor:
        """Score of every edge for every example, [batch, edges] in canonical order."""
        tape: Tape = result.tape
        gradients = self._gradients(tape, result.metric.sum())
        with torch.no_grad():
            columns = [
                self._site_scores(site.name, change, tape.readings[site.name], gradients.pop(site.name), batch)
                for site in self.sites
                if site.name in tape.readings
            ]
        return torch.cat(columns, 1)

    def _site_scores(
        self, name: str, change: Tensor, reading: Reading, gradient: Mapping[str, Tensor], batch: Batch
    ) -> Tensor:
        """[batch, edges] of the edges into one site."""
        n = sum(self.count[s] for s in self.net.architecture.reads[name])
        d, r = change[:n], self._gradient_writes(name, reading, gradient)
        if name == "logits":
            d = d[:, torch.arange(len(batch), device=d.device), batch.positions]
        return self._canonical(self._products(d, r, reading), name)

    def _products(self, d: Tensor, r: Tensor, reading: Reading) -> Tensor:
        """[batch, destinations, sources] products of writes with the pull-back of R through the norm."""
        if self.net.spec.norm == "layer":
            r = r - r.mean(-1, keepdim=True)
        if self.net.spec.norm != "none":
            xhat = reading.xhat.detach()
            r = torch.addcmul(r, xhat, _along(r, xhat), value=-1 / r.shape[-1])
        return torch.bmm(r.flatten(2).transpose(0, 1), d.flatten(2).permute(1, 2, 0))

    def _canonical(self, block: Tensor, site: str) -> Tensor:
        """[batch, channels · parts, sources] -> [batch, edges] by target node, then channel, then source."""
        channels = len(self.net.architecture.channels[site]) if self.split_qkv else 1
        return block.unflatten(1, (channels, -1)).transpose(1, 2).flatten(1)


def _along(x: Tensor, direction: Tensor) -> Tensor:
    """Inner products over the last axis: [n, .., d] with [.., d] -> [n, .., 1]."""
    flat = torch.bmm(x.reshape(len(x), -1, x.shape[-1]).transpose(0, 1), direction.reshape(-1, x.shape[-1], 1))
    return flat.transpose(0, 1).reshape(*x.shape[:-1], 1)
