"""The two ends of edges in a transformer, as units and rows of the residual stream.

A *source* writes `change @ rows` (the change of its units that ablation makes, times decoder rows); a *destination
channel* reads with `rows` into pre-activations whose gradient is known. Gains of norms and scales of post-norms
are folded in, so that every score is a product of these four and the norm's projection.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.parts import Parts


@dataclass
class Source:
    """What ablation changes in the writes of a site.

    Attributes
    ----------
    change
        Change of units [batch, time, n_units], times the scale of a post-norm.
    rows
        Decoder rows [n_units, d_model]; None for `embed`, whose units are the stream's own coordinates.
    constant
        Change of the write that belongs to no unit, [d_model] (a whole MLP's output bias), or None.
    parts
        The nodes.
    """

    site: str
    change: Tensor
    rows: Tensor | None
    constant: Tensor | None
    parts: Parts

    @property
    def decoder(self) -> Tensor:
        """Decoder rows [n_units, d_model], also of `embed`."""
        if self.rows is not None:
            return self.rows
        return torch.eye(self.change.shape[-1], dtype=self.change.dtype, device=self.change.device)

    def writes(self, keep: Tensor | None = None) -> Tensor:
        """Change of the writes of the nodes, or of those with these numbers: [nodes, batch, time, d_model]."""
        if keep is not None:
            if self.rows is None:
                return self.change * (self.parts.label == keep[:, None, None, None])
            some = self.parts.product(self.change, self.rows, keep)
            return some if self.constant is None else some + self.constant
        rows = self.change.shape[-1] if self.rows is None else self.rows.shape[-1]
        out = self.change.new_empty(len(self.parts), *self.change.shape[:-1], rows)
        self.write_into(out)
        return out

    def write_into(self, out: Tensor) -> None:
        """The same into given memory [parts, batch, time, d_model], contiguous."""
        if self.rows is None:
            out.copy_(self.parts.masked(self.change))
            return
        product_into(out, self.parts, self.change, self.rows)
        if self.constant is not None:
            out += self.constant


@dataclass
class Destination:
    """One way in which the nodes of a site read.

    Attributes
    ----------
    gradient
        Of the metric at the pre-activations, over the norm's scale: [batch, time, n_pre]; `logits` have no time.
    readers
        Reader rows [n_pre, d_model], without the norm's gain.
    gain
        Of the norm in front, [d_model] or None.
    parts
        The nodes, over pre-activations.
    """

    site: str
    channel: str
    gradient: Tensor
    readers: Tensor
    gain: Tensor | None
    parts: Parts

    by_position: ClassVar[bool] = True
    """Whether what is read at a position comes from the stream there alone."""

    @property
    def rows(self) -> Tensor:
        """Reader rows [n_pre, d_model], the norm's gain folded in."""
        return self.readers if self.gain is None else self.readers * self.gain

    def pulled(self, keep: Tensor | None = None) -> Tensor:
        """Gradient at the normalised stream, over the scale, of every node: [parts, batch, (time,) d_model].

        The gain goes onto the few results rather than onto the many rows. `keep`: numbers of the nodes wanted.
        """
        out = self.parts.product(self.gradient, self.readers, keep)
        return out if self.gain is None else out.mul_(self.gain)

    def pull_into(self, out: Tensor, *, add: bool = False) -> None:
        """The same before the gain, into (or added to) given memory [parts, batch, (time,) d_model], contiguous."""
        product_into(out, self.parts, self.gradient, self.readers, add=add)


def product_into(out: Tensor, parts: Parts, units: Tensor, rows: Tensor, *, add: bool = False) -> None:
    """`Parts.product` into (or added to) given memory: fresh memory costs more than the product itself."""
    into, flat = out.flatten(1, -2), units.reshape(-1, units.shape[-1])
    if parts.size:
        split = flat.unflatten(-1, (len(parts), parts.size)).transpose(0, 1)
        torch.baddbmm(into, split, rows.unflatten(0, (len(parts), parts.size)), beta=float(add), out=into)
        return
    for one, index in zip(into, parts.index, strict=True):
        torch.addmm(one, flat[:, index], rows[index], beta=float(add), out=one)


def change_of(
    net: Transformer, site: str, clean: Units, baseline: Units, silent: Collection[str], parts: Parts
) -> Source:
    """The source at a site, from its units in the clean and in the baseline run.

    Sites in `silent` lose their output bias too.
    """
    change = _scaled(net, site, baseline[site]) - _scaled(net, site, clean[site])
    rows = decoder_rows(net, site)
    bias = None if rows is None else net.decoder(site)[1]
    return Source(site, change, rows, -bias if site in silent and bias is not None else None, parts)


def decoder_rows(net: Transformer, site: str) -> Tensor | None:
    """Rows [n_units, d_model] that a site writes with, the gain of a post-norm folded in; None for `embed`."""
    if site == "embed":
        return None
    rows, _, post = net.decoder(site)
    return rows if post is None or post.gain is None else rows * post.gain


def _scaled(net: Transformer, site: str, units: Tensor) -> Tensor:
    """Units times the scale of a post-norm, so that writes are linear in them."""
    if site == "embed" or net.decoder(site)[2] is None:
        return units
    reading = Reading(units, None, {})
    net.write(site, units, reading)
    assert reading.write_scale is not None
    return units * reading.write_scale


def destinations(
    net: Transformer, site: str, reading: Reading, gradient: Mapping[str, Tensor], parts: Mapping[str, Parts]
) -> list[Destination]:
    """The ways in which a site reads.

    Parameters
    ----------
    reading, gradient
        Of the site, per channel.
    parts
        Channel -> nodes over its pre-activations. An MLP's gate and up projection are one channel "".
    """
    rows, gain = reader_rows(net, site)
    found = []
    for channel, reader in rows.items():
        g = gradient[channel]
        g = g.flatten(-2) if channel in ("q", "k", "v") else g
        g = g if reading.inverse_scale is None else g * reading.inverse_scale
        found.append(Destination(site, channel, g, reader, gain, parts[channel]))
    return found


def reader_rows(net: Transformer, site: str) -> tuple[dict[str, Tensor], Tensor | None]:
    """Channel -> reader rows [n_pre, d_model] of a site, and the gain [d_model] of the norm in front."""
    if site == "logits":
        return {"": net.weights.unembedding}, net.weights.final_norm.gain
    kind, _, layer = site.partition(".")
    block = net.weights.blocks[int(layer)]
    if kind == "mlp":
        assert block.w_in is not None and block.mlp_norm is not None
        rows = {"": block.w_in.T} | ({} if block.w_gate is None else {"gate": block.w_gate.T})
        return rows, block.mlp_norm.gain
    heads = net.spec.n_heads
    rows = {c: per_head_rows(w, heads) for c, w in (("q", block.w_q), ("k", block.w_k), ("v", block.w_v))}
    return rows, block.attn_norm.gain


def per_head_rows(reader: Tensor, n_heads: int) -> Tensor:
    """[heads or groups, d_model, d_head] -> rows [n_heads * d_head, d_model], groups repeated."""
    rows = reader.transpose(1, 2)
    repeat = n_heads // reader.shape[0]
    return (rows if repeat == 1 else rows.repeat_interleave(repeat, 0)).reshape(-1, rows.shape[-1])


@dataclass
class Projection:
    """The part of a norm's Jacobian that is not its gain or scale: v - mean(v) - xhat <xhat, v> / d (symmetric)."""

    xhat: Tensor | None
    centred: bool

    def __call__(self, x: Tensor) -> Tensor:
        """[n, batch, (time,) d_model] -> the same, projected."""
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        if self.xhat is None:
            return x
        return torch.addcmul(x, self.xhat, along(x, self.xhat), value=-1 / x.shape[-1])

    def between(self, cut: slice) -> Projection:
        """That at some positions."""
        return replace(self, xhat=None if self.xhat is None else self.xhat[:, cut])

    def apply_(self, x: Tensor) -> Tensor:
        """The same in place."""
        if self.centred:
            x -= x.mean(-1, keepdim=True)
        if self.xhat is None:
            return x
        products = torch.stack([(one * self.xhat).sum(-1, keepdim=True) for one in x])
        return x.addcmul_(self.xhat, products, value=-1 / x.shape[-1])


def projection(net: Transformer, reading: Reading) -> Projection:
    """The projection of the norm in front of a site, at what it read."""
    if net.spec.norm == "none":
        return Projection(None, False)
    return Projection(reading.xhat.detach(), net.spec.norm == "layer")


def along(x: Tensor, direction: Tensor) -> Tensor:
    """Inner products over the last axis: [n, .., d] with [.., d] -> [n, .., 1]."""
    flat = torch.bmm(x.reshape(len(x), -1, x.shape[-1]).transpose(0, 1), direction.reshape(-1, x.shape[-1], 1))
    return flat.transpose(0, 1).reshape(*x.shape[:-1], 1)
