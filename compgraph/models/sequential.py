"""Chains (CNN, MLP) behind the interface of a network.

A chain is a list of stages (`compgraph.models.layers`): a linear map, the *reader*, and a tail (activation,
pooling) that turns its output, the pre-activations, into the site's units. Every method needs just these pieces:

    pre = reader(units of the source)        units = tail(pre)

`Sequential.run` puts them together; all of it is differentiable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name every torch user knows)
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.grad import conv2d_input

from compgraph.architecture import Architecture
from compgraph.errors import ModelError
from compgraph.formats import other_format
from compgraph.models.counting import count_backward, count_forward
from compgraph.models.layers import (
    Layer,
    Stage,
    parse_layers,
    part_of_pre_activations,
    sequential_architecture,
    stages,
)
from compgraph.models.network import Run

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FORMAT = 1
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class Reader:
    """The linear map by which a site reads the one before it.

    Attributes
    ----------
    kind
        `conv` or `linear`.
    in_shape, pre_shape
        Shape per example of what it reads and of what it gives.
    weight
        conv [out, in / groups, height, width], linear [out, in].
    bias
        [out] or None.
    stride, padding, dilation, groups
        Of a convolution (zero padding).
    """

    kind: str
    in_shape: tuple[int, ...]
    pre_shape: tuple[int, ...]
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __call__(self, units: Tensor, *, bias: bool = True) -> Tensor:
        """Pre-activations [batch, *pre_shape] of the source's units [batch, n]; without bias: linear."""
        offset = self.bias if bias else None
        if self.kind == "linear":
            return F.linear(units, self.weight, offset)
        image = units.reshape(len(units), *self.in_shape)
        return F.conv2d(image, self.weight, offset, self.stride, self.padding, self.dilation, self.groups)

    def transpose(self, gradient: Tensor) -> Tensor:
        """The adjoint: gradients of pre-activations [batch, *pre_shape] -> those of the source's units [batch, n]."""
        if self.kind == "linear":
            return gradient.reshape(len(gradient), -1) @ self.weight
        gradient = gradient.reshape(len(gradient), *self.pre_shape)
        size = (len(gradient), *self.in_shape)
        out: Tensor = conv2d_input(
            size, self.weight, gradient, self.stride, self.padding, self.dilation, self.groups
        )
        return out.flatten(1)

    def matrix(self) -> Tensor:
        """The map as a dense matrix [n_pre, n_source]; for convolutions this is large, use it on small ones."""
        if self.kind == "linear":
            return self.weight
        eye = torch.eye(prod(self.in_shape), dtype=self.weight.dtype, device=self.weight.device)
        return self(eye, bias=False).flatten(1).T

    def to(self, device: torch.device, dtype: torch.dtype) -> Reader:
        """The same map elsewhere or in another precision."""
        bias = None if self.bias is None else self.bias.to(device, dtype)
        return replace(self, weight=self.weight.to(device, dtype), bias=bias)


class Sequential:
    """A chain of sites (`compgraph.models.network.Network`).

    Parameters
    ----------
    layers
        Description without batch-norm and dropout (`compgraph.models.layers`).
    input_shape
        (channels, height, width) of the images, or (features,).
    weights
        `<site>.weight`, `<site>.bias`; one dtype, one device, all finite.

    Raises
    ------
    ModelError
        Description and weights disagree, or a weight is not finite.
    """

    kind = "sequential"
    family = "sequential"

    def __init__(
        self,
        layers: Sequence[Mapping[str, object]],
        input_shape: Sequence[int],
        weights: Mapping[str, Tensor],
        *,
        digest: str | None = None,
    ) -> None:
        self.layers: list[Layer] = parse_layers(layers)
        unfolded = [i for i, layer in enumerate(self.layers) if layer["type"] in ("batch-norm", "dropout")]
        if unfolded:
            raise ModelError(f"layer {unfolded[0]} ({self.layers[unfolded[0]]['type']}) must be folded before use")
        self.input_shape = tuple(input_shape)
        self.stages = stages(self.layers, input_shape)
        self.architecture: Architecture = sequential_architecture(self.stages, input_shape)
        self._stage = {stage.site: stage for stage in self.stages}
        self._readers = _readers(self.stages, weights)
        self.digest = digest or self._digest()

    # ---------------------------------------------------------------- what it is

    @property
    def device(self) -> torch.device:
        return self._readers["logits"].weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self._readers["logits"].weight.dtype

    @property
    def weights(self) -> dict[str, Tensor]:
        """`<site>.weight` and `<site>.bias`, in the order of the sites."""
        found = {}
        for site, reader in self._readers.items():
            found[f"{site}.weight"] = reader.weight
            if reader.bias is not None:
                found[f"{site}.bias"] = reader.bias
        return found

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> Sequential:
        """A copy on another device or in another precision; the digest stays that of the original weights."""
        kind = dtype or self.dtype
        moved = {name: value.to(device, kind) for name, value in self.weights.items()}
        return Sequential(self.layers, self.input_shape, moved, digest=self.digest)

    def _digest(self) -> str:
        """Digest of description and weights (names, dtypes, bytes)."""
        state = hashlib.sha256(json.dumps([self.layers, list(self.input_shape)], sort_keys=True).encode())
        for name, value in self.weights.items():
            state.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            state.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return f"sha256:{state.hexdigest()}"

    # ---------------------------------------------------------------- the forward pass

    def run(
        self,
        values: Tensor,
        mask: Tensor | None = None,
        *,
        capture: Collection[str] = (),
        positions: Tensor | None = None,
        edit: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    ) -> Run:
        """One forward pass (see `Network.run`).

        Parameters
        ----------
        values
            [batch, *input_shape], or already flat [batch, n]. To differentiate with respect to captured units,
            let `values` require a gradient.
        mask, positions
            Must be None: images have no positions.
        capture
            Names of sites whose units [batch, n_units] to return.
        edit
            Site -> function of its units [batch, n_units] that returns what to use in their place.
        """
        if mask is not None or positions is not None:
            raise ValueError("a chain takes neither mask nor positions")
        edit, kept = edit or {}, set(capture)
        self._known(kept | set(edit))
        units: dict[str, Tensor] = {}
        x = self.input_units(values)
        for site in ("input", *self._readers):
            if site != "input":
                x = self.units_from(site, self.pre_activations(site, x))
            if site in edit:
                x = edit[site](x)
            if site in kept:
                units[site] = x
        count_forward(len(x))
        count_backward(x)
        return Run(x, units)

    def _known(self, sites: set[str]) -> None:
        unknown = sorted(sites - {"input", *self._readers})
        if unknown:
            raise ModelError(f"no site {unknown[0]!r}; this chain has input, {', '.join(self._readers)}")

    # ---------------------------------------------------------------- pieces

    def input_units(self, values: Tensor) -> Tensor:
        """Pixels [batch, n_units] of images [batch, *input_shape] (or flat already)."""
        if values.shape[1:] not in (self.input_shape, (prod(self.input_shape),)):
            raise ModelError(f"images have shape {tuple(values.shape[1:])}; this model takes {self.input_shape}")
        return values.to(self.device, self.dtype).flatten(1)

    def reader(self, site: str) -> Reader:
        """The linear map by which a site (not `input`) reads the one before it."""
        if site not in self._readers:
            raise KeyError(f"no reader at site {site!r}; readers are at {', '.join(self._readers)}")
        return self._readers[site]

    def pre_activations(self, site: str, units: Tensor) -> Tensor:
        """Reader and bias: units [batch, n] of the source -> [batch, *pre_shape]."""
        return self._readers[site](units)

    def units_from(self, site: str, pre: Tensor) -> Tensor:
        """Activation and pooling: pre-activations [batch, *pre_shape] -> units [batch, n_units] of the site."""
        for layer in self._stage[site].tail:
            pre = _tail(layer, pre)
        return pre.flatten(1)

    def pre_shape(self, site: str) -> tuple[int, ...]:
        """Shape per example of the site's pre-activations."""
        return self._stage[site].pre_shape

    def pre_labels(self, site: str, labels: NDArray[Any]) -> NDArray[Any]:
        """Carry a partition from a site's units back to its pre-activations.

        Parameters
        ----------
        labels
            [n_units] part of each unit.

        Returns
        -------
        labels [n_pre] of the part whose units a pre-activation feeds; -1 where it feeds none (cut off by a
        pooling's border) or only dead units.

        Raises
        ------
        ModelError
            Overlapping pooling windows make one pre-activation feed two parts.
        """
        stage = self._stage[site]
        if len(labels) != prod(stage.shape):
            raise ValueError(f"{len(labels)} labels for the {prod(stage.shape)} units of {site}")
        low, high = part_of_pre_activations(stage, np.asarray(labels))
        if (low != high).any():
            raise ModelError(
                f"site {site}: its pooling windows overlap, so one pre-activation feeds several parts; "
                "use parts of whole channels"
            )
        return high

    # ---------------------------------------------------------------- on disk

    def save(self, folder: str | Path, training: Mapping[str, object] | None = None) -> None:
        """Write `config.json` and `model.safetensors` into a folder (made if missing).

        Parameters
        ----------
        training
            JSON-able account of how the weights came about, kept in the configuration.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "compgraph_model": self.kind,
            "format": FORMAT,
            "input_shape": list(self.input_shape),
            "layers": self.layers,
        }
        if training is not None:
            config["training"] = dict(training)
        save_file({k: v.detach().cpu().contiguous() for k, v in self.weights.items()}, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def load_sequential(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32"
) -> Sequential:
    """Open a folder written by `Sequential.save`.

    Parameters
    ----------
    dtype
        A torch dtype or its name.

    Raises
    ------
    ModelError
        A file is missing, truncated or foreign, description and weights disagree, or a weight is not finite.
    """
    folder = Path(folder)
    config = _read_config(folder / CONFIG)
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{path}: no such file; the weights of a sequential model belong there")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: truncated or not a safetensors file ({error})") from error
    try:
        net = Sequential(config["layers"], config["input_shape"], weights)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error
    kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    return net if (net.device, net.dtype) == (torch.device(device), kind) else net.to(device, kind)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path}: no such file; a sequential model's description belongs there")
    try:
        config = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(config, dict) or config.get("compgraph_model") != Sequential.kind:
        raise ModelError(f'{path}: not a sequential model; "compgraph_model" must be "sequential"')
    if config.get("format") != FORMAT:
        anew = "save the network anew, or train it by compgraph run"
        raise ModelError(other_format(path, "sequential model", config.get("format"), FORMAT, anew))
    for name in ("layers", "input_shape"):
        if not isinstance(config.get(name), list):
            raise ModelError(f"{path}: {name} is {config.get(name)!r}; it must be a list")
    return config


def _readers(parts: Sequence[Stage], weights: Mapping[str, Tensor]) -> dict[str, Reader]:
    """Readers of all sites from named tensors, each checked against its description."""
    expected = {}
    for stage in parts:
        expected[f"{stage.site}.weight"] = _weight_shape(stage)
        if stage.reader["bias"]:
            expected[f"{stage.site}.bias"] = (stage.pre_shape[0],)
    missing, extra = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    if missing or extra:
        what = f"tensor {missing[0]} is missing" if missing else f"tensor {extra[0]} is not in the description"
        raise ModelError(f"weights and layers disagree: {what}")
    dtype = weights[f"{parts[0].site}.weight"].dtype
    for name, shape in expected.items():
        value = weights[name]
        if tuple(value.shape) != shape:
            raise ModelError(f"weights and layers disagree: {name} is {tuple(value.shape)}, not {shape}")
        if not value.is_floating_point() or value.dtype != dtype:
            raise ModelError(f"weights: {name} is {value.dtype}; all must be of one floating type")
        if not bool(torch.isfinite(value).all()):
            raise ModelError(f"weights: {name} holds values that are not finite")
    return {stage.site: _reader(stage, weights) for stage in parts}


def _weight_shape(stage: Stage) -> tuple[int, ...]:
    layer = stage.reader
    if layer["type"] == "linear":
        return (layer["features"], stage.in_shape[0])
    return (layer["channels"], stage.in_shape[0] // layer["groups"], *layer["kernel"])


def _reader(stage: Stage, weights: Mapping[str, Tensor]) -> Reader:
    layer = stage.reader
    weight, bias = weights[f"{stage.site}.weight"], weights.get(f"{stage.site}.bias")
    if layer["type"] == "linear":
        return Reader("linear", stage.in_shape, stage.pre_shape, weight, bias)
    stride, padding, dilation = (tuple(layer[name]) for name in ("stride", "padding", "dilation"))
    return Reader("conv", stage.in_shape, stage.pre_shape, weight, bias, stride, padding, dilation, layer["groups"])


def _tail(layer: Layer, x: Tensor) -> Tensor:
    kind = layer["type"]
    if kind == "max-pool":
        return F.max_pool2d(x, layer["kernel"], layer["stride"], layer["padding"])
    if kind == "avg-pool":
        return F.avg_pool2d(x, layer["kernel"], layer["stride"])
    return ACTIVATIONS[kind](x)
