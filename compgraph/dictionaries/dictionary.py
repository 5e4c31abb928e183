"""What every dictionary is: a linear encoder with a sparsifying activation, and a linear decoder.

    pre = x encoder + encoder_bias        features = pre where active, else 0        x̂ = features rows + bias

Which features are active depends on the activation; where a feature is active it is linear in x, so that its
derivative is a column of the encoder. A bias that the encoder subtracts from x first is folded into `encoder_bias`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from compgraph.errors import ModelError
from compgraph.provenance import json_digest

SPACES = ("write", "hidden")
"""`write`: what a site adds to the residual stream, behind its output bias and any post-norm [d_model];
`hidden`: the units that it computes, MLP neurons or the heads' outputs before W_O."""

ACTIVATIONS = ("linear", "relu", "topk", "jumprelu")
TENSORS = ("encoder", "encoder_bias", "rows", "bias", "threshold")


@dataclass(frozen=True, eq=False, repr=False)
class Dictionary:
    """Features of one site (Bricken et al. 2023; Gao et al. 2024, arXiv 2406.04093; Rajamanoharan et al. 2024,
    arXiv 2407.14435, for `jumprelu`).

    Parameters
    ----------
    space
        `write` or `hidden` (`SPACES`).
    encoder, rows
        [width, n_features] and [n_features, width].
    encoder_bias, bias
        [n_features] and [width], or None.
    activation
        `linear`: always active; `relu`: where pre > 0; `topk`: where pre is positive and one of the k largest of its
        position; `jumprelu`: where pre is positive and above the feature's threshold.
    k, threshold
        Of `topk`; of `jumprelu`, [n_features].
    complete
        Whether x̂ = x for every x, so that there is no error. Checked.
    kind
        Descriptive: `identity`, `pca`, `sparse-autoencoder`.
    site, model
        The site and the digest of the model that it was fitted on; None where it was fitted on none.

    Raises
    ------
    ModelError
        Parts that do not fit together, naming the part, its shape and the one expected.
    """

    space: str
    encoder: Tensor
    rows: Tensor
    encoder_bias: Tensor | None = None
    bias: Tensor | None = None
    activation: str = "relu"
    k: int | None = None
    threshold: Tensor | None = None
    complete: bool = False
    kind: str = "sparse-autoencoder"
    site: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        _check_words(self)
        _check_tensors(self)
        if self.complete:
            _check_complete(self)

    def __repr__(self) -> str:
        where = f" of {self.site}" if self.site else ""
        return f"Dictionary({self.kind}{where}: {self.n_features} features of {self.width} {self.space} coordinates)"

    @property
    def width(self) -> int:
        """Coordinates of what it describes."""
        return int(self.rows.shape[1])

    @property
    def n_features(self) -> int:
        """Rows of the decoder."""
        return int(self.rows.shape[0])

    @property
    def n_units(self) -> int:
        """Features and coordinates of the error."""
        return self.n_features + (0 if self.complete else self.width)

    def pre_activations(self, x: Tensor) -> Tensor:
        """[.., width] -> [.., n_features]"""
        pre = x @ self.encoder
        return pre if self.encoder_bias is None else pre + self.encoder_bias

    def active(self, pre: Tensor) -> Tensor:
        """Which features are active, bool [.., n_features]."""
        pre = pre.detach()
        if self.activation == "linear":
            return torch.ones_like(pre, dtype=torch.bool)
        positive = pre > 0
        if self.activation == "jumprelu":
            assert self.threshold is not None
            return positive & (pre > self.threshold)
        if self.activation == "topk":
            assert self.k is not None
            largest = torch.topk(pre, self.k, dim=-1, sorted=False).indices
            return positive & torch.zeros_like(positive).scatter_(-1, largest, True)
        return positive

    def encode(self, x: Tensor) -> Tensor:
        """Features [.., n_features] of x [.., width]; differentiable in x, at a fixed set of active features."""
        pre = self.pre_activations(x)
        return pre if self.activation == "linear" else pre * self.active(pre)

    def decode(self, features: Tensor) -> Tensor:
        """x̂ [.., width] of features [.., n_features]."""
        out = features @ self.rows
        return out if self.bias is None else out + self.bias

    def units(self, x: Tensor) -> Tensor:
        """Features, then the coordinates of the error x - x̂ (none where complete): [.., width] -> [.., n_units]."""
        features = self.encode(x)
        return features if self.complete else torch.cat([features, x - self.decode(features)], -1)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Dictionary:
        """The same in another precision or place."""
        given = {name: getattr(self, name) for name in TENSORS}
        moved = {
            name: value.to(dtype=dtype or value.dtype, device=device or value.device)
            for name, value in given.items()
            if value is not None
        }
        return replace(self, **moved)

    @property
    def facts(self) -> dict[str, object]:
        """Everything but the tensors, as plain data."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in TENSORS}

    @cached_property
    def digest(self) -> str:
        """`sha256:…` over facts and tensors."""
        sums = {}
        for name in TENSORS:
            value = getattr(self, name)
            if value is not None:
                flat = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
                sums[name] = [str(value.dtype), list(value.shape), hashlib.sha256(flat.tobytes()).hexdigest()]
        return json_digest({"facts": self.facts, "tensors": sums})


def _check_words(one: Dictionary) -> None:
    if one.space not in SPACES:
        raise ModelError(f"dictionary: space {one.space!r} is not known; valid are {', '.join(SPACES)}")
    if one.activation not in ACTIVATIONS:
        raise ModelError(f"dictionary: activation {one.activation!r} is not known; valid are {', '.join(ACTIVATIONS)}")
    if (one.activation == "topk") != (one.k is not None):
        raise ModelError(
            f"dictionary: k is {one.k} with activation {one.activation!r}; it belongs to 'topk', and only to it"
        )
    if (one.activation == "jumprelu") != (one.threshold is not None):
        raise ModelError("dictionary: a threshold belongs to activation 'jumprelu', and only to it")


def _check_tensors(one: Dictionary) -> None:
    if one.rows.ndim != 2 or 0 in one.rows.shape:
        raise ModelError(f"dictionary: rows have shape {tuple(one.rows.shape)}; they must be [n_features, width]")
    shapes = {
        "encoder": (one.width, one.n_features),
        "encoder_bias": (one.n_features,),
        "bias": (one.width,),
        "threshold": (one.n_features,),
    }
    for name, shape in shapes.items():
        value = getattr(one, name)
        if value is None:
            continue
        if value.shape != shape:
            raise ModelError(f"dictionary: {name} has shape {tuple(value.shape)}; with these rows it must be {shape}")
        if value.dtype != one.rows.dtype:
            raise ModelError(
                f"dictionary: {name} is of {value.dtype} and the rows of {one.rows.dtype}; they must agree"
            )
    for name in TENSORS:
        value = getattr(one, name)
        if value is not None and not torch.isfinite(value).all():
            raise ModelError(f"dictionary: {name} has values that are not finite")
    if one.k is not None and not 1 <= one.k <= one.n_features:
        raise ModelError(f"dictionary: k is {one.k}; it must be from 1 to the {one.n_features} features")


def _check_complete(one: Dictionary) -> None:
    """Refuse a claim of completeness that does not hold to the precision of the numbers."""
    x = torch.eye(one.width, dtype=one.rows.dtype, device=one.rows.device)
    x = torch.cat([x, torch.zeros_like(x[:1])])
    off = float((one.decode(one.encode(x)) - x).abs().max())
    # Rounding of `width` products of the size of the numbers at hand, with room to spare.
    size = 1.0 if one.bias is None else max(1.0, float(one.bias.abs().max()))
    most = 100 * one.width * size * torch.finfo(one.rows.dtype).eps
    if one.activation != "linear" or off > most:
        raise ModelError(
            f"dictionary: it is said to be complete, but misses unit vectors by up to {off:.2g} with activation "
            f"{one.activation!r}; complete ones are linear and reconstruct everything"
        )
