"""How a change of the stream that a site reads moves what a dictionary describes there, and back.

The map from the stream to the site's activation x (its units, or its write: `compgraph.dictionaries.SPACES`) at the
clean run is linear, J. `push` is J, `pull` its transpose, and `pull_single` its transpose on single tokens, for
blocks of active (token, feature) pairs. All leave out the projection of the norm in front, which
`endpoints.Projection` holds, and fold in its gain and scale.

An MLP moves every token by itself, by way of act'; an attention site, its patterns being nodes of their own
(`compgraph.patterns`), moves values along them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.models.tape import Reading


@dataclass
class Output:
    """From the coordinates that a site computes to what its dictionary describes.

    Attributes
    ----------
    rows
        The site's decoder [n_hidden, d_model] in space `write`, None in `hidden`.
    xhat, scale, gain
        Of a post-norm in space `write`: the normalised write [batch, time, d_model], its inverse root mean square
        [batch, time, 1] and the gain; None where there is none. Without `xhat` the scale is a constant.
    """

    rows: Tensor | None
    xhat: Tensor | None = None
    scale: Tensor | None = None
    gain: Tensor | None = None

    @classmethod
    def of(cls, net: FeatureTransformer, site: str, hidden: Tensor) -> Output:
        """At the coordinates [batch, time, n_hidden] of a run."""
        if net.dictionaries[site].space == "hidden":
            return cls(None)
        rows, bias, post = net.inner.decoder(site)
        if post is None:
            return cls(rows)
        write = hidden @ rows if bias is None else hidden @ rows + bias
        xhat, scale = net.normalise(write, centred=False)
        return cls(rows, xhat, scale, post.gain)

    def forward(self, hidden: Tensor) -> Tensor:
        """[n, batch, time, n_hidden] -> [n, batch, time, width]"""
        if self.rows is None:
            return hidden
        out = hidden @ self.rows
        if self.scale is None:
            return out
        out = (out if self.xhat is None else _across(out, self.xhat)) * self.scale
        return out if self.gain is None else out * self.gain

    def back(self, q: Tensor, at: Tensor | None = None) -> Tensor:
        """[.., width] -> [.., n_hidden]; `at`: of single tokens, see `Jacobian.pull_single`."""
        if self.rows is None:
            return q
        if self.scale is not None:
            q = q if self.gain is None else q * self.gain
            q = q if self.xhat is None else _across(q, _tokens(self.xhat, at))
            q = q * _tokens(self.scale, at)
        return q @ self.rows.T


def _tokens(x: Tensor, at: Tensor | None) -> Tensor:
    """x [batch, time, d], or single tokens of it [m, d]."""
    return x if at is None else x.flatten(0, 1)[at]


def _across(x: Tensor, xhat: Tensor) -> Tensor:
    """What remains of x [.., d] across xhat [.., d], whose mean square is one."""
    return x - xhat * (x * xhat).mean(-1, keepdim=True)


class Jacobian(Protocol):
    """Of one site at a batch; `output` is its last step."""

    output: Output

    def push(self, x: Tensor) -> Tensor:
        """Projected streams [n, batch, time, d_model] -> changes of the activation [n, batch, time, width]."""
        ...

    def pull(self, q: Tensor) -> Tensor:
        """Gradients at the activation [n, batch, time, width] -> at the normalised stream [n, batch, time, d_model]."""
        ...

    def pull_single(self, q: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients [m, width] at single tokens, `at` [m] in the batch laid flat.

        Returns
        -------
        streams, tokens
            [m, reach, d_model] and the tokens [m, reach] where they are.
        """
        ...


@dataclass
class MlpJacobian:
    """Of an MLP: `slopes`, channel -> derivative of each neuron by its pre-activation [batch, time, n]; `readers`,
    channel -> [d_model, n]; `factor`, gain over scale of the norm in front [batch, time, d_model]."""

    slopes: Mapping[str, Tensor]
    readers: Mapping[str, Tensor]
    factor: Tensor
    output: Output

    def push(self, x: Tensor) -> Tensor:
        """See `Jacobian`."""
        y = x * self.factor
        return self.output.forward(sum(((y @ w) * self.slopes[c] for c, w in self.readers.items()), y.new_zeros(())))

    def pull(self, q: Tensor) -> Tensor:
        """See `Jacobian`."""
        return self._read(self.output.back(q), self.slopes) * self.factor

    def pull_single(self, q: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """See `Jacobian`."""
        slopes = {c: value.flatten(0, 1)[at] for c, value in self.slopes.items()}
        out = self._read(self.output.back(q, at), slopes) * self.factor.flatten(0, 1)[at]
        return out[:, None], at[:, None]

    def _read(self, hidden: Tensor, slopes: Mapping[str, Tensor]) -> Tensor:
        return sum(((hidden * slopes[c]) @ w.T for c, w in self.readers.items()), hidden.new_zeros(()))


@dataclass
class ValueJacobian:
    """Of an attention site at fixed patterns: `pattern` [batch, heads, query, key], `readers` of the values of all
    query heads [d_model, heads * d_head], `factor` as in `MlpJacobian`."""

    pattern: Tensor
    readers: Tensor
    factor: Tensor
    output: Output

    def push(self, x: Tensor) -> Tensor:
        """See `Jacobian`."""
        values = ((x * self.factor) @ self.readers).unflatten(-1, (self.pattern.shape[1], -1))
        return self.output.forward(torch.einsum("bhqk,nbkhe->nbqhe", self.pattern, values).flatten(-2))

    def pull(self, q: Tensor) -> Tensor:
        """See `Jacobian`."""
        hidden = self.output.back(q).unflatten(-1, (self.pattern.shape[1], -1))
        values = torch.einsum("bhqk,nbqhe->nbkhe", self.pattern, hidden).flatten(-2)
        return (values @ self.readers.T) * self.factor

    def pull_single(self, q: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """See `Jacobian`; a token's gradient reaches every token of its example."""
        time = self.pattern.shape[-1]
        hidden = self.output.back(q, at).unflatten(-1, (self.pattern.shape[1], -1))
        example = torch.div(at, time, rounding_mode="floor")
        rows = self.pattern[example, :, at % time]
        values = torch.einsum("mhk,mhe->mkhe", rows, hidden).flatten(-2)
        tokens = example[:, None] * time + torch.arange(time, device=at.device)
        return (values @ self.readers.T) * self.factor[example], tokens


def jacobian(net: FeatureTransformer, site: str, reading: Reading, pattern: Tensor | None) -> Jacobian:
    """The Jacobian of a site with a dictionary at what it read; `pattern` of attention sites."""
    kind, _, number = site.partition(".")
    layer = int(number)
    block = net.weights.blocks[layer]
    pre = {channel: value.detach() for channel, value in reading.pre.items()}
    norm = block.mlp_norm if kind == "mlp" else block.attn_norm
    factor = torch.ones_like(reading.xhat) if reading.inverse_scale is None else reading.inverse_scale.detach()
    if norm is not None and norm.gain is not None:
        factor = factor * norm.gain
    if kind == "mlp":
        assert block.w_in is not None
        readers = {"": block.w_in} | ({} if block.w_gate is None else {"gate": block.w_gate})
        slopes = _slopes(net, layer, pre)
        return MlpJacobian(slopes, readers, factor, Output.of(net, site, net.mlp_units(layer, pre)))
    assert pattern is not None
    columns = net.per_query_head(block.w_v.permute(1, 0, 2)).flatten(-2)
    return ValueJacobian(pattern, columns, factor, Output.of(net, site, net.mix(pattern, net.values(layer, pre["v"]))))


def _slopes(net: FeatureTransformer, layer: int, pre: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Derivative of every neuron by its own pre-activations."""
    with torch.enable_grad():
        leaves = {channel: value.clone().requires_grad_() for channel, value in pre.items()}
        total = net.mlp_units(layer, leaves).sum()
        return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))
