"""Descriptions of chains (CNN, MLP): a list of layers, checked and cut into sites. Torch-free.

A description is a list of mappings, each with a `type` and the options of that type:

    {"type": "conv", "channels": 16, "kernel": 3, "stride": 1, "padding": 1, "bias": true}
    {"type": "linear", "features": 64, "bias": true}
    {"type": "relu" | "gelu" | "silu" | "tanh" | "sigmoid"}
    {"type": "max-pool" | "avg-pool", "kernel": 2, "stride": 2, "padding": 0}
    {"type": "flatten"} {"type": "batch-norm"} {"type": "dropout", "rate": 0.1}

Conv and linear layers are *readers* (linear maps); what follows a reader up to the next one is its *tail*. A
reader and its tail make one site, whose units are the tail's output, so that whatever reads a site is linear in
its units. Units of an image-like site are flattened in (channel, height, width) order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from compgraph.architecture import Architecture, Site, SiteKind
from compgraph.errors import ModelError

READERS = ("conv", "linear")
ACTIVATIONS = ("relu", "gelu", "silu", "tanh", "sigmoid")
POOLS = ("max-pool", "avg-pool")
OPTIONS: dict[str, dict[str, Any]] = {
    "conv": {"channels": None, "kernel": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True},
    "linear": {"features": None, "bias": True},
    **{name: {} for name in ACTIVATIONS},
    "max-pool": {"kernel": None, "stride": "kernel", "padding": 0},
    "avg-pool": {"kernel": None, "stride": "kernel"},
    "flatten": {},
    "batch-norm": {"epsilon": 1e-5},
    "dropout": {"rate": 0.5},
}
"""Layer type -> option -> default; None marks an option that must be given."""

PAIRS = ("kernel", "stride", "padding", "dilation")
Layer = dict[str, Any]
Shape = tuple[int, ...]
IntArray = NDArray[Any]


@dataclass(frozen=True)
class Stage:
    """One site of a chain: a linear map and the non-linear rest up to the next one.

    Attributes
    ----------
    site, source
        Name of the site, and of the site that it reads.
    reader
        The conv or linear layer (checked, all options present).
    tail
        The activations and poolings after it.
    in_shape, pre_shape, shape
        Shape per example of what the reader reads (the source's units), of its output and of the site's units;
        a flatten among the layers shows in the `in_shape` of the next stage only.
    """

    site: str
    source: str
    reader: Layer
    tail: tuple[Layer, ...]
    in_shape: Shape
    pre_shape: Shape
    shape: Shape


def parse_layers(layers: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """Check a description and fill its defaults.

    Pairs (kernel, stride, padding, dilation) become [height, width] lists.

    Raises
    ------
    ModelError
        An unknown type or option, a missing option or a bad value; the message names the layer's index.
    """
    if not layers:
        raise ModelError("layers: the list is empty; a chain needs at least one conv or linear layer")
    return [_parse_layer(index, layer) for index, layer in enumerate(layers)]


def _parse_layer(index: int, given: Mapping[str, Any]) -> Layer:
    kind = given.get("type") if isinstance(given, Mapping) else None
    if not isinstance(kind, str) or kind not in OPTIONS:
        raise ModelError(f"layer {index}: type {kind!r} is not supported; supported are {', '.join(OPTIONS)}")
    options = OPTIONS[kind]
    unknown = sorted(set(given) - set(options) - {"type"})
    if unknown:
        raise ModelError(
            f"layer {index} ({kind}): unknown option {unknown[0]!r}; it takes {', '.join(options) or 'none'}"
        )
    layer: Layer = {"type": kind}
    for name, default in options.items():
        value = given.get(name, default)
        if value is None:
            raise ModelError(f"layer {index} ({kind}): option {name!r} is missing")
        layer[name] = layer["kernel"] if value == "kernel" else _check(index, kind, name, value)
    return layer


def _check(index: int, kind: str, name: str, value: Any) -> Any:
    where = f"layer {index} ({kind}): {name} is {value!r}"
    if name == "bias":
        if not isinstance(value, bool):
            raise ModelError(f"{where}; it must be true or false")
        return value
    if name in ("rate", "epsilon"):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ModelError(f"{where}; it must be a number from 0 to 1")
        return float(value)
    least = 0 if name == "padding" else 1
    if name in PAIRS:
        pair = list(value) if isinstance(value, list | tuple) else [value, value]
        if len(pair) == 2 and all(_whole(x, least) for x in pair):
            return pair
        raise ModelError(f"{where}; it must be a whole number of at least {least}, or two of them")
    if not _whole(value, least):
        raise ModelError(f"{where}; it must be a whole number of at least {least}")
    return value


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def layer_shape(index: int, layer: Layer, shape: Shape) -> Shape:
    """Shape per example of a layer's output, given that of its input (ModelError where they do not fit)."""
    kind = layer["type"]
    if kind in ("conv", *POOLS):
        if len(shape) != 3:
            raise ModelError(
                f"layer {index} ({kind}) needs an input of shape (channels, height, width), "
                f"but gets {shape}; put it before flatten"
            )
        return _window_shape(index, layer, shape)
    if kind == "linear":
        if len(shape) != 1:
            raise ModelError(f"layer {index} (linear) needs a flat input, but gets {shape}; put flatten before it")
        return (layer["features"],)
    return (prod(shape),) if kind == "flatten" else shape


def _window_shape(index: int, layer: Layer, shape: Shape) -> Shape:
    kind, channels = layer["type"], shape[0]
    if kind == "conv":
        groups = layer["groups"]
        if channels % groups or layer["channels"] % groups:
            raise ModelError(
                f"layer {index} (conv): groups is {groups}; it must divide the {channels} input and "
                f"{layer['channels']} output channels"
            )
        channels = layer["channels"]
    extents = []
    for axis in (0, 1):
        kernel, stride = layer["kernel"][axis], layer["stride"][axis]
        padding = layer.get("padding", [0, 0])[axis]
        reach = layer.get("dilation", [1, 1])[axis] * (kernel - 1) + 1
        if kind == "max-pool" and 2 * padding > kernel:
            raise ModelError(f"layer {index} (max-pool): padding is {padding}; it may be at most half the kernel")
        extent = (shape[1 + axis] + 2 * padding - reach) // stride + 1
        if extent < 1:
            raise ModelError(
                f"layer {index} ({kind}): kernel {layer['kernel']} is larger than its input of shape {shape}"
            )
        extents.append(extent)
    return (channels, *extents)


def stages(layers: Sequence[Layer], input_shape: Sequence[int]) -> tuple[Stage, ...]:
    """Cut a checked description into sites.

    Parameters
    ----------
    layers
        As `parse_layers` returns them; batch-norm and dropout pass as if they were not there.
    input_shape
        (channels, height, width), or (features,) for a plain MLP.

    Raises
    ------
    ModelError
        The shapes do not fit, or the chain's ends are not an input and logits.
    """
    shape = check_input_shape(input_shape)
    readers = [index for index, layer in enumerate(layers) if layer["type"] in READERS]
    if not readers:
        raise ModelError(f"layers: no reader among them; a chain needs at least one of {', '.join(READERS)}")
    for index, layer in enumerate(layers[: readers[0]]):
        if layer["type"] not in ("flatten", "dropout"):
            raise ModelError(f"layer {index} ({layer['type']}) comes before the first conv or linear; only flatten may")
        shape = layer_shape(index, layer, shape)
    found: list[Stage] = []
    counts = dict.fromkeys(READERS, 0)
    for start, end in zip(readers, [*readers[1:], len(layers)], strict=True):
        kind = layers[start]["type"]
        site = "logits" if start == readers[-1] else f"{kind}.{counts[kind]}"
        counts[kind] += 1
        stage, shape = _stage(site, found[-1].site if found else "input", layers, start, end, shape)
        found.append(stage)
    if prod(found[-1].shape) != found[-1].shape[0]:
        raise ModelError(f"the chain ends with shape {found[-1].shape}; its last site must be one logit per class")
    return tuple(found)


def _stage(
    site: str, source: str, layers: Sequence[Layer], start: int, end: int, in_shape: Shape
) -> tuple[Stage, Shape]:
    """The site of the layers start..end, and the shape that the next reader sees."""
    pre_shape = layer_shape(start, layers[start], in_shape)
    shape = units_shape = pre_shape
    tail = []
    for index in range(start + 1, end):
        layer = layers[index]
        kind = layer["type"]
        if site == "logits" and kind in ACTIVATIONS:
            raise ModelError(f"layer {index} ({kind}) follows the last conv or linear, whose output is the logits")
        if kind == "batch-norm" and index != start + 1:
            raise ModelError(
                f"layer {index} (batch-norm) must follow a conv or linear layer directly, to be folded into it"
            )
        shape = layer_shape(index, layer, shape)
        if kind in POOLS:
            units_shape = shape
        if kind in POOLS or kind in ACTIVATIONS:
            tail.append(layer)
    return Stage(site, source, layers[start], tuple(tail), in_shape, pre_shape, units_shape), shape


def check_input_shape(input_shape: Sequence[int]) -> Shape:
    """(channels, height, width) or (features,), all at least 1 (else ModelError)."""
    shape = tuple(input_shape)
    if len(shape) not in (1, 3) or not all(_whole(x, 1) for x in shape):
        raise ModelError(
            f"input_shape is {list(shape)}; it must be [channels, height, width] or [features], all at least 1"
        )
    return shape


def sequential_architecture(parts: Sequence[Stage], input_shape: Sequence[int]) -> Architecture:
    """The sites of a chain: `input`, then one per stage, the last of them `logits`."""
    first = tuple(input_shape)
    sites = [Site("input", "input", 0, prod(first), shape=first if len(first) == 3 else ())]
    for level, stage in enumerate(parts, 1):
        kind = cast(SiteKind, stage.site.partition(".")[0])
        sites.append(Site(stage.site, kind, level, prod(stage.shape), shape=stage.shape if kind == "conv" else ()))
    reads = {stage.site: (stage.source,) for stage in parts}
    channels = {stage.site: ("",) for stage in parts}
    return Architecture("sequential", "sequential", tuple(sites), reads, channels)


def part_of_pre_activations(stage: Stage, labels: IntArray) -> tuple[IntArray, IntArray]:
    """Lowest and highest part that each pre-activation of a stage feeds.

    Pooling works inside a channel and along rows and columns alike, so a pre-activation feeds a rectangle of
    units: the windows that contain it.

    Parameters
    ----------
    labels
        [n_units] part of each unit, -1 for none.

    Returns
    -------
    low, high
        [n_pre] each; -1 where a pre-activation feeds no labelled unit (cut off at a pooling's border).
    """
    if len(stage.pre_shape) != 3:
        return labels.copy(), labels.copy()
    channels, *extents = stage.pre_shape
    rows, columns = (_windows(stage.tail, axis, extent) for axis, extent in enumerate(extents))
    grid = labels.reshape(channels, *stage.shape[1:])
    high = np.full(stage.pre_shape, -1, dtype=labels.dtype)
    low = np.full(stage.pre_shape, np.iinfo(labels.dtype).max, dtype=labels.dtype)
    for down in range(_most(rows)):
        for right in range(_most(columns)):
            row, column = rows[0] + down, columns[0] + right
            inside = (row <= rows[1])[:, None] & (column <= columns[1])[None, :]
            found = grid[:, np.minimum(row, grid.shape[1] - 1)][:, :, np.minimum(column, grid.shape[2] - 1)]
            found = np.where(inside, found, -1)
            high = np.maximum(high, found)
            low = np.where(found >= 0, np.minimum(low, found), low)
    return np.where(high < 0, -1, low).ravel(), high.ravel()


def _most(windows: tuple[IntArray, IntArray]) -> int:
    return max(int((windows[1] - windows[0]).max()) + 1, 0)


def _windows(tail: Sequence[Layer], axis: int, extent: int) -> tuple[IntArray, IntArray]:
    """First and last output index that each index along an axis feeds (first > last: none)."""
    first = np.arange(extent)
    last = first.copy()
    for layer in tail:
        if layer["type"] not in POOLS:
            continue
        kernel, stride = layer["kernel"][axis], layer["stride"][axis]
        padding = layer.get("padding", [0, 0])[axis]
        size = (extent + 2 * padding - kernel) // stride + 1
        index = np.arange(extent) + padding
        starts = np.maximum(-((kernel - 1 - index) // stride), 0)
        ends = np.minimum(index // stride, size - 1)
        none = first > last
        first, last = starts[np.minimum(first, extent - 1)], ends[np.minimum(last, extent - 1)]
        last = np.where(none, first - 1, last)
        extent = size
    return first, last
