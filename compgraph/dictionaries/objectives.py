"""What sparse autoencoders are trained for, and its gradient, written out.

With x a row, W and b the encoder, R the rows of the decoder (of length 1), c its bias and g = x̂ - x,

    y = W x + b       f = y where active, else 0       x̂ = Rᵀ f + c       loss = |g|² + pressure · penalty(f)

A step is five matrix products (y, x̂, and the gradients of R, f and W) and passes over the [features, rows] matrices
between them, which are therefore few, in place, and over as many rows as the cache holds. Features come first, so that
the selection of the k largest works on whole rows of memory; rows and errors are [rows, width], so that none is copied
across.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from compgraph.dictionaries.largest import KthLargest

Parameters = dict[str, Tensor]

_where_positive = torch.ops.aten.threshold_backward.grad_input
"""`(values, gate, 0, grad_input=out)`: values where gate > 0, else 0, in one pass."""
_where_within = torch.ops.aten.hardtanh_backward.grad_input
"""`(values, gate, low, high, grad_input=out)`: values where low < gate < high, else 0, in one pass."""


class Memory:
    """Matrices that every block of rows uses again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Sequence[int]], Tensor] = {}

    def __call__(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """A matrix [rows, columns] with whatever was in it; blocks have few different shapes."""
        known = self._known.get((name, shape))
        if known is None:
            known = self._known[name, shape] = like.new_empty(shape)
        return known


class Objective:
    """A sparse autoencoder with ReLU features and an L1 penalty (Bricken et al. 2023).

    Parameters
    ----------
    k
        Active features a row, for `topk` and `batch-topk`.
    bandwidth
        Width of the window around its threshold in which a feature counts as close to it, for `jumprelu`.
    """

    feature_parameters: ClassVar[tuple[str, ...]] = ()
    """Parameters [n_features] beside the encoder's."""
    revival_scale: ClassVar[float] = 0.2
    """Length of a revived feature's encoder as a share of the others': a large one would undo what they learned."""

    def __init__(self, k: int = 8, bandwidth: float = 0.1) -> None:
        self.k, self.bandwidth = k, bandwidth
        self.memory, self._largest = Memory(), KthLargest(k)

    def start(self, rows: Tensor) -> Parameters:
        """Parameters to start from: the encoder is the decoder's transpose, all biases are 0.

        Parameters
        ----------
        rows
            Unit vectors [n_features, width].

        Returns
        -------
        `encoder` and `rows` [n_features, width], `encoder_bias` [n_features], `bias` [width], and what the activation
        adds.
        """
        made = {"encoder": rows.clone(), "rows": rows.clone(), "bias": rows.new_zeros(rows.shape[1])}
        return made | {name: rows.new_zeros(len(rows)) for name in ("encoder_bias", *self.feature_parameters)}

    def gradients(self, p: Parameters, x: Tensor, into: Parameters, pressure: float) -> float:
        """Add half the gradients of the summed loss of rows x [n, width] to `into`.

        Returns
        -------
        The sum of |x̂ - x|² over the rows.
        """
        features = self.features(p, x)
        error = self._decode(p, x, features, into)
        by_feature = self.memory("spare", features.shape, x)
        self._by_feature(p, error, by_feature, into, pressure)
        _where_positive(by_feature, features, 0, grad_input=by_feature)
        self._encode(x, by_feature, into)
        return _squared(error)

    def penalty(self, p: Parameters, x: Tensor) -> float:
        """Sum of the penalty over rows x."""
        return float(self.features(p, x).sum())

    def _decode(self, p: Parameters, x: Tensor, features: Tensor, into: Parameters) -> Tensor:
        """The error x̂ - x [n, width], with what it gives the decoder."""
        error = self._error(p, x, features)
        into["rows"].addmm_(features, error)
        into["bias"] += error.sum(0)
        return error

    def _by_feature(self, p: Parameters, error: Tensor, out: Tensor, into: Parameters, pressure: float) -> None:
        """Half the gradient of the features, whether active or not."""
        torch.addmm(out.new_tensor(pressure / 2), p["rows"], error.T, out=out)

    @staticmethod
    def _encode(x: Tensor, by_pre: Tensor, into: Parameters) -> None:
        """What half the gradient of the pre-activations gives the encoder."""
        into["encoder"].addmm_(by_pre, x)
        into["encoder_bias"] += by_pre.sum(1)

    def _error(self, p: Parameters, x: Tensor, features: Tensor, name: str = "error") -> Tensor:
        """x̂ - x [n, width]."""
        error = torch.sub(x, p["bias"], out=self.memory(name, x.shape, x))
        return error.addmm_(features.T, p["rows"], beta=-1)

    def _pre(self, p: Parameters, x: Tensor, name: str = "features") -> Tensor:
        """Pre-activations [n_features, n]."""
        pre = self.memory(name, (len(p["rows"]), len(x)), x)
        return torch.addmm(p["encoder_bias"][:, None], p["encoder"], x.T, out=pre)

    def features(self, p: Parameters, x: Tensor) -> Tensor:
        """Features [n_features, n] of rows x [n, width]; valid until the next call."""
        features = self._pre(p, x)
        self._activate(p, features, self.memory("spare", features.shape, x))
        return features

    def errors(self, p: Parameters, x: Tensor) -> Tensor:
        """x̂ - x of rows x [n, width]; valid until the next call."""
        return self._error(p, x, self.features(p, x))

    def _activate(self, p: Parameters, pre: Tensor, spare: Tensor) -> None:
        """Pre-activations to features, in place."""
        pre.clamp_(min=0)

    def encoder(self, p: Parameters) -> tuple[Tensor, Tensor, Tensor | None]:
        """(weights [n_features, width], bias, threshold or None) of the trained encoder."""
        return p["encoder"], p["encoder_bias"], None


class TopK(Objective):
    """The k largest features of every row; no penalty (Gao et al. 2024, arXiv 2406.04093)."""

    revival_scale = 1.0  # a small one would never be among the largest

    def penalty(self, p: Parameters, x: Tensor) -> float:
        return 0.0

    def _by_feature(self, p: Parameters, error: Tensor, out: Tensor, into: Parameters, pressure: float) -> None:
        torch.mm(p["rows"], error.T, out=out)

    def _activate(self, p: Parameters, pre: Tensor, spare: Tensor) -> None:
        least = torch.from_numpy(self._largest(pre.numpy()))
        _where_positive(pre, torch.sub(pre, _below(least), out=spare), 0, grad_input=pre)


class BatchTopK(TopK):
    """The largest features of a block of rows, k a row on average; no penalty (Bussmann et al. 2024, arXiv 2412.06410).

    `p["threshold"]` is the running mean of the least feature kept, which takes the selection's place in use.
    """

    memory_of_threshold: ClassVar[float] = 0.99
    search_from: ClassVar[float] = 0.8

    def start(self, rows: Tensor) -> Parameters:
        return super().start(rows) | {"threshold": rows.new_zeros(())}

    def _activate(self, p: Parameters, pre: Tensor, spare: Tensor) -> None:
        self._found = self._least(pre, float(p["threshold"]))
        torch.threshold_(pre, float(_below(self._found)), 0.0)

    def _least(self, pre: Tensor, near: float) -> Tensor:
        """The (k · rows)-th largest feature. Those well below the last ones found are left out of the search."""
        wanted = self.k * pre.shape[1]
        values = pre.view(-1).numpy()
        if wanted >= len(values):
            return pre.new_zeros(())
        candidates = values[values > self.search_from * near]
        if len(candidates) < wanted:
            candidates = values
        place = len(candidates) - wanted
        return pre.new_tensor(np.partition(candidates, place)[place]).clamp_(min=0)

    def _by_feature(self, p: Parameters, error: Tensor, out: Tensor, into: Parameters, pressure: float) -> None:
        super()._by_feature(p, error, out, into, pressure)
        share = self.memory_of_threshold if float(p["threshold"]) else 0.0
        p["threshold"].mul_(share).add_(self._found, alpha=1 - share)

    def encoder(self, p: Parameters) -> tuple[Tensor, Tensor, Tensor | None]:
        weights, bias, _ = super().encoder(p)
        return weights, bias, p["threshold"].expand(len(bias))


class JumpRelu(Objective):
    """Features above a threshold of their own, with a penalty on their number, by straight-through estimates.

    Rajamanoharan et al. 2024 (arXiv 2407.14435): the derivative of a step at the threshold is taken to be that of a
    ramp of width `bandwidth`, for the threshold only. Thresholds are trained as logarithms.
    """

    feature_parameters = ("log_threshold",)
    first_threshold: ClassVar[float] = 0.1

    def start(self, rows: Tensor) -> Parameters:
        made = super().start(rows)
        made["log_threshold"] += torch.tensor(self.first_threshold).log()
        return made

    def penalty(self, p: Parameters, x: Tensor) -> float:
        return float(self.features(p, x).count_nonzero())

    def _activate(self, p: Parameters, pre: Tensor, spare: Tensor) -> None:
        above = self.memory("above", pre.shape, pre)
        torch.sub(pre, p["log_threshold"].exp()[:, None], out=above)
        _where_positive(pre, above, 0, grad_input=pre)

    def _by_feature(self, p: Parameters, error: Tensor, out: Tensor, into: Parameters, pressure: float) -> None:
        torch.mm(p["rows"], error.T, out=out)
        threshold, window = p["log_threshold"].exp(), self.memory("above", out.shape, out)
        gain = self.memory("gain", out.shape, out)
        torch.addcmul(out.new_tensor(pressure / 2), out, threshold[:, None], out=gain)
        _where_within(gain, window, -self.bandwidth / 2, self.bandwidth / 2, grad_input=gain)
        into["log_threshold"].sub_(gain.sum(1) * threshold / self.bandwidth)

    def encoder(self, p: Parameters) -> tuple[Tensor, Tensor, Tensor | None]:
        weights, bias, _ = super().encoder(p)
        return weights, bias, p["log_threshold"].exp()


class Gated(Objective):
    """Which features are active and how much are two readings of one product (Rajamanoharan et al. 2024, 2404.16014).

    gate = W x + b opens, f = relu(exp(r) gate + offset) where gate > 0. The penalty is the L1 norm of relu(gate), which
    must reconstruct x too, through a decoder that this does not train. `offset` is b_mag - exp(r) b_gate of the paper.
    """

    feature_parameters = ("log_scale", "offset")

    def gradients(self, p: Parameters, x: Tensor, into: Parameters, pressure: float) -> float:
        features = self.features(p, x)
        gate, spare = (self.memory(name, features.shape, x) for name in ("gate", "spare"))
        scale = p["log_scale"].exp()
        error = self._decode(p, x, features, into)
        torch.mm(p["rows"], error.T, out=spare)
        _where_positive(spare, features, 0, grad_input=spare)
        into["offset"] += spare.sum(1)
        into["log_scale"] += torch.mul(spare, gate, out=features).sum(1) * scale
        spare *= scale[:, None]
        opened = torch.clamp(gate, min=0, out=features)
        squared = _squared(error)
        through = torch.addmm(spare.new_tensor(pressure / 2), p["rows"], self._error(p, x, opened).T, out=gate)
        spare += _where_positive(through, opened, 0, grad_input=through)
        self._encode(x, spare, into)
        return squared

    def penalty(self, p: Parameters, x: Tensor) -> float:
        return float(self._pre(p, x, "gate").clamp_(min=0).sum())

    def features(self, p: Parameters, x: Tensor) -> Tensor:
        gate = self._pre(p, x, "gate")
        features = self.memory("features", gate.shape, x)
        torch.addcmul(p["offset"][:, None], gate, p["log_scale"].exp()[:, None], out=features)
        features.clamp_(min=0)
        return _where_positive(features, gate, 0, grad_input=features)

    def encoder(self, p: Parameters) -> tuple[Tensor, Tensor, Tensor | None]:
        weights, bias, _ = super().encoder(p)
        scale = p["log_scale"].exp()
        # The gate is open where the magnitude exceeds the offset.
        return weights * scale[:, None], bias * scale + p["offset"], p["offset"]


OBJECTIVES: dict[str, type[Objective]] = {
    "relu": Objective,
    "topk": TopK,
    "batch-topk": BatchTopK,
    "jumprelu": JumpRelu,
    "gated": Gated,
}


def _below(least: Tensor) -> Tensor:
    """The next number below, and at least 0: what is larger is kept, so that of equal ones all stay."""
    return torch.nextafter(least, least.new_tensor(-1.0)).clamp_(min=0)


def _squared(error: Tensor) -> float:
    flat = error.view(-1)
    return float(torch.dot(flat, flat))
