"""How large a network is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer


def n_parameters(net: Network) -> int:
    """Trainable numbers of a loaded network: all weights and biases, embeddings included, shared tensors once.

    Raises
    ------
    TypeError
        For a network of another kind.
    """
    if isinstance(net, Transformer):
        found = [one for name, one in _tensors(net.weights) if name != "inverse_frequencies"]
    elif isinstance(net, Sequential):
        found = list(net.weights.values())
    else:
        raise TypeError(f"the size of a {type(net).__name__} is not known")
    return sum({(one.data_ptr(), one.shape): one.numel() for one in found}.values())


def depth(net: Network) -> int:
    """Blocks of a transformer; layers with weights of a chain."""
    return net.spec.n_layers if isinstance(net, Transformer) else len(net.architecture.sites) - 1


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, list):
        for item in value:
            yield from _tensors(item, name)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name), field.name)
