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

from compgraph.dictionaries.active import Active
from compgraph.dictionaries.largest import Largest

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
    matrices: ClassVar[int] = 2
    """[features, rows] matrices that a step goes through."""

    def __init__(self, k: int = 8, bandwidth: float = 0.1) -> None:
        self.k, self.bandwidth = k, bandwidth
        self.memory, self._largest = Memory(), Largest(k)

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
        by_pre = torch.addmm(
            x.new_tensor(pressure / 2), p["rows"], error.T, out=self.memory("spare", features.shape, x)
        )
        _where_positive(by_pre, features, 0, grad_input=by_pre)
        self._encode(x, by_pre, into)
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
        return self._pre(p, x).clamp_(min=0)

    def errors(self, p: Parameters, x: Tensor) -> Tensor:
        """x̂ - x of rows x [n, width]; valid until the next call."""
        return self._error(p, x, self.features(p, x))

    def encoder(self, p: Parameters) -> tuple[Tensor, Tensor, Tensor | None]:
        """(weights [n_features, width], bias, threshold or None) of the trained encoder."""
        return p["encoder"], p["encoder_bias"], None


class TopK(Objective):
    """The k largest features of every row; no penalty (Gao et al. 2024, arXiv 2406.04093).

    Two of the five products are of matrices, the others sums over the active features.
    """

    revival_scale = 1.0  # a small one would never be among the largest
    matrices = 1

    def penalty(self, p: Parameters, x: Tensor) -> float:
        return 0.0

    def gradients(self, p: Parameters, x: Tensor, into: Parameters, pressure: float) -> float:
        pre = self._pre(p, x)
        active = self._active(pre)
        features = active.taken(pre)
        error = active.decoded(features, p["rows"]).add_(p["bias"]).sub_(x)
        into["rows"] += active.gathered(features, error)
        into["bias"] += error.sum(0)
        slopes = active.taken(torch.mm(p["rows"], error.T, out=pre))
        into["encoder"] += active.gathered(slopes, x)
        into["encoder_bias"] += active.summed(slopes)
        return _squared(error)

    def features(self, p: Parameters, x: Tensor) -> Tensor:
        pre = self._pre(p, x)
        active = self._active(pre)
        active.put(active.taken(pre), pre)
        return pre

    def _active(self, pre: Tensor) -> Active:
        return self._largest(pre.numpy())


class BatchTopK(TopK):
    """The largest features of a block of rows, k a row on average; no penalty (Bussmann et al. 2024, arXiv 2412.06410).

    `p["threshold"]` is the running mean of the least feature kept, which takes the selection's place in use.
    """

    memory_of_threshold: ClassVar[float] = 0.99
    search_from: ClassVar[float] = 0.8

    def __init__(self, k: int = 8, bandwidth: float = 0.1) -> None:
        super().__init__(k, bandwidth)
        self._least = 0.0

    def start(self, rows: Tensor) -> Parameters:
        return super().start(rows) | {"threshold": rows.new_zeros(())}

    def gradients(self, p: Parameters, x: Tensor, into: Parameters, pressure: float) -> float:
        squared = super().gradients(p, x, into, pressure)
        share = self.memory_of_threshold if float(p["threshold"]) else 0.0
        p["threshold"].mul_(share).add_(self._least, alpha=1 - share)
        return squared

    def _active(self, pre: Tensor) -> Active:
        """The k · rows largest. What is well below the least of the last ones is left out of the search."""
        wanted, values = self.k * pre.shape[1], pre.view(-1).numpy()
        places = np.flatnonzero(values > self.search_from * self._least)
        if len(places) < wanted:
            places = np.flatnonzero(values > 0)
        self._least = 0.0
        if len(places) > wanted:
            candidates = values[places]
            least = np.partition(candidates, -wanted)[-wanted]
            places, self._least = places[candidates >= least], float(least)
        return Active(places, (pre.shape[0], pre.shape[1]))

    def encoder(self, p: Parameters) -> tuple[Tensor, Tensor, Tensor | None]:
        weights, bias, _ = super().encoder(p)
        return weights, bias, p["threshold"].expand(len(bias))


class JumpRelu(Objective):
    """Features above a threshold of their own, with a penalty on their number, by straight-through estimates.

    Rajamanoharan et al. 2024 (arXiv 2407.14435): the derivative of a step at the threshold is taken to be that of a
    ramp of width `bandwidth`, for the threshold only. Thresholds are trained as logarithms.
    """

    feature_parameters = ("log_threshold",)
    matrices = 3
    first_threshold: ClassVar[float] = 0.1

    def start(self, rows: Tensor) -> Parameters:
        made = super().start(rows)
        made["log_threshold"] += torch.tensor(self.first_threshold).log()
        return made

    def penalty(self, p: Parameters, x: Tensor) -> float:
        return float(np.count_nonzero(self.features(p, x).numpy()))

    def gradients(self, p: Parameters, x: Tensor, into: Parameters, pressure: float) -> float:
        features = self.features(p, x)
        error = self._decode(p, x, features, into)
        by_pre, above = (self.memory(name, features.shape, x) for name in ("spare", "above"))
        torch.mm(p["rows"], error.T, out=by_pre)
        threshold = p["log_threshold"].exp()
        # A sum and not a product with the threshold: that is taken of the sums, and one pass is saved.
        gain = torch.add(by_pre, (pressure / 2 / threshold)[:, None], out=features)
        _where_within(gain, above, -self.bandwidth / 2, self.bandwidth / 2, grad_input=gain)
        into["log_threshold"].sub_(gain.sum(1) * threshold.square() / self.bandwidth)
        _where_positive(by_pre, above, 0, grad_input=by_pre)
        self._encode(x, by_pre, into)
        return _squared(error)

    def features(self, p: Parameters, x: Tensor) -> Tensor:
        pre = self._pre(p, x)
        above = torch.sub(pre, p["log_threshold"].exp()[:, None], out=self.memory("above", pre.shape, x))
        return _where_positive(pre, above, 0, grad_input=pre)

    def encoder(self, p: Parameters) -> tuple[Tensor, Tensor, Tensor | None]:
        weights, bias, _ = super().encoder(p)
        return weights, bias, p["log_threshold"].exp()


class Gated(Objective):
    """Which features are active and how much are two readings of one product (Rajamanoharan et al. 2024, 2404.16014).

    gate = W x + b opens, f = relu(exp(r) gate + offset) where gate > 0. The penalty is the L1 norm of relu(gate), which
    must reconstruct x too, through a decoder that this does not train. `offset` is b_mag - exp(r) b_gate of the paper.
    """

    feature_parameters = ("log_scale", "offset")
    matrices = 3

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
        # Not addcmul: it is slow where an operand is broadcast.
        torch.mul(gate, p["log_scale"].exp()[:, None], out=features).add_(p["offset"][:, None]).clamp_(min=0)
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


def _squared(error: Tensor) -> float:
    flat = error.view(-1)
    return float(torch.dot(flat, flat))
