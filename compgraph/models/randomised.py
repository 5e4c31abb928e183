"""Networks of the same architecture whose weights only chance has arranged: what trained ones are compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from compgraph.errors import ModelError
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer

How = Literal["reinitialised", "shuffled", "rotated"]

FIXED = ("inverse_frequencies",)
"""Tensors of `Weights` that nobody trains."""

N = TypeVar("N")


def randomised(net: Network, how: How, seed: int = 0) -> Network:
    """A network like `net` with random weights.

    Parameters
    ----------
    net
        A transformer or a chain; it is not changed.
    how
        `reinitialised`: every tensor drawn anew, normal with its own mean and standard deviation. `shuffled`: the
        entries of every tensor permuted (keeps them all). `rotated`: every matrix between two random rotations (keeps
        its singular values), each head's by itself; vectors stay as they are.
    seed
        Of the draws; they are made in float64 on the CPU.

    Raises
    ------
    ModelError
        Another word for `how`, or a network of another class.
    """
    if how not in get_args(How):
        raise ModelError(f"randomised: how is {how!r}; valid are {', '.join(get_args(How))}")
    generator = torch.Generator().manual_seed(seed)
    done: dict[tuple[Any, ...], Tensor] = {}

    def draw(tensor: Tensor) -> Tensor:
        # Tied tensors (an embedding that is the unembedding too) stay tied.
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if key not in done:
            done[key] = _DRAWN[how](tensor.detach().double().cpu(), generator).to(tensor.device, tensor.dtype)
        return done[key]

    digest = "sha256:" + hashlib.sha256(f"{net.digest} {how} {seed}".encode()).hexdigest()
    if isinstance(net, Sequential):
        weights = {name: draw(tensor) for name, tensor in net.weights.items()}
        return Sequential(net.layers, net.input_shape, weights, digest=digest)
    if isinstance(net, Transformer):
        return Transformer(net.spec, _mapped(net.weights, draw), digest, lambda: net.tokenizer)
    raise ModelError(f"randomised: a {type(net).__name__} is not a network whose weights can be drawn")


def _mapped(value: N, draw: Callable[[Tensor], Tensor]) -> N:
    """A copy of nested dataclasses and lists with other tensors."""
    made: Any = value
    if isinstance(value, Tensor):
        made = draw(value)
    elif isinstance(value, list):
        made = [_mapped(one, draw) for one in value]
    elif is_dataclass(value) and not isinstance(value, type):
        parts = {one.name: getattr(value, one.name) for one in fields(value)}
        made = type(value)(**{name: part if name in FIXED else _mapped(part, draw) for name, part in parts.items()})
    return made


def _reinitialised(tensor: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    return tensor.mean() + tensor.std(correction=0) * noise


def _shuffled(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].view(tensor.shape)


def _rotated(tensor: Tensor, generator: torch.Generator) -> Tensor:
    if tensor.ndim < 2:
        return tensor.clone()
    matrices = tensor.flatten(1) if tensor.ndim == 4 else tensor  # a convolution's kernels are the rows of one matrix
    rows, columns = matrices.shape[-2:]
    lead = matrices.shape[:-2]
    left, right = (_rotations((*lead, size, size), generator) for size in (rows, columns))
    return (left @ matrices @ right).view(tensor.shape)


def _rotations(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform over the orthogonal group (Mezzadri 2007)."""
    q, r = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64))
    return q * torch.sign(torch.diagonal(r, dim1=-2, dim2=-1))[..., None, :]


_DRAWN = {"reinitialised": _reinitialised, "shuffled": _shuffled, "rotated": _rotated}
