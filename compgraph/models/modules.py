"""Between torch modules and descriptions of chains: what is trained is a plain `nn.Sequential`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compgraph.errors import ModelError
from compgraph.models.layers import Layer, check_input_shape, layer_shape, parse_layers, stages
from compgraph.models.sequential import Sequential

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
SUPPORTED = (
    "Conv2d, Linear, BatchNorm1d, BatchNorm2d, ReLU, GELU, SiLU, Tanh, Sigmoid, MaxPool2d, AvgPool2d, "
    "AdaptiveAvgPool2d(1), Flatten, Dropout, Dropout2d, Identity and nested Sequential"
)


def build_module(layers: Sequence[Mapping[str, Any]], input_shape: Sequence[int]) -> nn.Sequential:
    """A trainable module of a description, with torch's default initialisation (global generator).

    Raises
    ------
    ModelError
        The description is not valid (see `compgraph.models.layers`).
    """
    parsed = parse_layers(layers)
    stages(parsed, input_shape)
    shape = check_input_shape(input_shape)
    made: list[nn.Module] = []
    for index, layer in enumerate(parsed):
        made.append(_module(layer, shape))
        shape = layer_shape(index, layer, shape)
    return nn.Sequential(*made)


def _module(layer: Layer, shape: tuple[int, ...]) -> nn.Module:
    kind = layer["type"]
    if kind == "conv":
        return nn.Conv2d(
            shape[0],
            layer["channels"],
            tuple(layer["kernel"]),
            stride=tuple(layer["stride"]),
            padding=tuple(layer["padding"]),
            dilation=tuple(layer["dilation"]),
            groups=layer["groups"],
            bias=layer["bias"],
        )
    if kind == "linear":
        return nn.Linear(shape[0], layer["features"], bias=layer["bias"])
    if kind == "max-pool":
        return nn.MaxPool2d(tuple(layer["kernel"]), tuple(layer["stride"]), tuple(layer["padding"]))
    if kind == "avg-pool":
        return nn.AvgPool2d(tuple(layer["kernel"]), tuple(layer["stride"]))
    if kind == "batch-norm":
        norm = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
        return norm(shape[0], eps=layer["epsilon"])
    if kind == "dropout":
        return nn.Dropout(layer["rate"])
    return nn.Flatten() if kind == "flatten" else ACTIVATION_MODULES[kind]()


def from_module(module: nn.Sequential, input_shape: Sequence[int]) -> Sequential:
    """Network of a torch `nn.Sequential`, in evaluation mode.

    Batch norms (with their running statistics) are folded into the conv or linear layer before them; dropout
    and identities are left out. The weights are copied.

    Parameters
    ----------
    module
        Made of conv, linear, batch-norm, activation, pooling, flatten and dropout modules; may nest.
    input_shape
        (channels, height, width) of one image, or (features,).

    Raises
    ------
    ModelError
        A module, or an option of it, that a chain cannot hold; the message names its index and what can be.
    """
    shape = check_input_shape(input_shape)
    parts = list(_flat(module))
    layers: list[Layer] = []
    for index, part in enumerate(parts):
        layers.append(parse_layers([_describe(index, part, shape)])[0])
        shape = layer_shape(index, layers[-1], shape)
    chain = stages(layers, input_shape)
    tensors: list[tuple[Tensor, Tensor | None]] = []
    for index, part in enumerate(parts):
        if isinstance(part, nn.Conv2d | nn.Linear):
            tensors.append((part.weight.detach().clone(), None if part.bias is None else part.bias.detach().clone()))
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            tensors[-1] = _fold(index, part, tensors[-1])
    weights: dict[str, Tensor] = {}
    for stage, (weight, offset) in zip(chain, tensors, strict=True):
        stage.reader["bias"] = offset is not None
        weights[f"{stage.site}.weight"] = weight
        if offset is not None:
            weights[f"{stage.site}.bias"] = offset
    kept = [layer for layer in layers if layer["type"] not in ("batch-norm", "dropout")]
    return Sequential(kept, input_shape, weights)


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for part in module:
            yield from _flat(part)
    else:
        yield module


def _describe(index: int, part: nn.Module, shape: tuple[int, ...]) -> Layer:
    """A module's layer (not yet checked for shapes)."""
    name = type(part).__name__
    for kind, module in ACTIVATION_MODULES.items():
        if isinstance(part, module):
            if isinstance(part, nn.GELU) and part.approximate != "none":
                raise ModelError(f"layer {index} (GELU): approximate={part.approximate!r}; only 'none' is supported")
            return {"type": kind}
    if isinstance(part, nn.Conv2d):
        return _describe_conv(index, part)
    if isinstance(part, nn.Linear):
        return {"type": "linear", "features": part.out_features, "bias": part.bias is not None}
    if isinstance(part, nn.MaxPool2d | nn.AvgPool2d):
        return _describe_pool(index, part)
    if isinstance(part, nn.AdaptiveAvgPool2d):
        if part.output_size not in (1, (1, 1)) or len(shape) != 3:
            raise ModelError(
                f"layer {index} ({name}): output {part.output_size}; only 1 (the whole image) is supported"
            )
        return {"type": "avg-pool", "kernel": list(shape[1:])}
    if isinstance(part, nn.Flatten):
        if (part.start_dim, part.end_dim) != (1, -1):
            raise ModelError(f"layer {index} (Flatten): only the default dimensions 1 to -1 are supported")
        return {"type": "flatten"}
    if isinstance(part, nn.Dropout | nn.Dropout2d | nn.Identity):
        return {"type": "dropout", "rate": 0.0}
    if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
        return {"type": "batch-norm"}
    raise ModelError(f"layer {index} ({name}) is not supported; supported are {SUPPORTED}")


def _describe_conv(index: int, part: nn.Conv2d) -> Layer:
    if part.padding_mode != "zeros":
        raise ModelError(f"layer {index} (Conv2d): padding_mode is {part.padding_mode!r}; only 'zeros' is supported")
    padding = part.padding
    if isinstance(padding, str):
        reach = [d * (k - 1) for d, k in zip(part.dilation, part.kernel_size, strict=True)]
        if padding == "same" and any(x % 2 for x in reach):
            raise ModelError(f"layer {index} (Conv2d): padding 'same' of an even kernel is one-sided, not supported")
        padding = tuple(x // 2 if padding == "same" else 0 for x in reach)
    return {
        "type": "conv",
        "channels": part.out_channels,
        "kernel": list(part.kernel_size),
        "stride": list(part.stride),
        "padding": list(padding),
        "dilation": list(part.dilation),
        "groups": part.groups,
        "bias": part.bias is not None,
    }


def _describe_pool(index: int, part: nn.MaxPool2d | nn.AvgPool2d) -> Layer:
    name = type(part).__name__
    if part.ceil_mode:
        raise ModelError(f"layer {index} ({name}): ceil_mode is not supported")
    stride = part.kernel_size if part.stride is None else part.stride
    if isinstance(part, nn.AvgPool2d):
        if part.padding not in (0, (0, 0)) or part.divisor_override is not None:
            raise ModelError(f"layer {index} ({name}): padding and divisor_override are not supported")
        return {"type": "avg-pool", "kernel": part.kernel_size, "stride": stride}
    if part.dilation not in (1, (1, 1)) or part.return_indices:
        raise ModelError(f"layer {index} ({name}): dilation and return_indices are not supported")
    return {"type": "max-pool", "kernel": part.kernel_size, "stride": stride, "padding": part.padding}


def _fold(
    index: int,
    norm: nn.BatchNorm1d | nn.BatchNorm2d,
    reader: tuple[Tensor, Tensor | None],
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the last linear map with y = (x - mean) / sqrt(var + eps) * gamma + beta after it."""
    name = type(norm).__name__
    if norm.running_mean is None or norm.running_var is None:
        raise ModelError(f"layer {index} ({name}) keeps no running statistics, so it is not a fixed linear map")
    weight, bias = reader
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach()
    if bias is not None:
        shift = shift + bias * scale
    return weight * scale.reshape(-1, *[1] * (weight.dim() - 1)), shift
