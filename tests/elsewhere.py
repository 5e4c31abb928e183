"""A second device without hardware: tensors that say they are elsewhere, and refuse to meet those that are not.

`Elsewhere` wraps a tensor of the processor and names the device `meta` as its own, so that code which asks for
`x.device` puts its tensors there too. As on an accelerator, an operation on tensors of both devices is an error, and
so is reading the memory (`numpy()`) without copying to the processor first. Unlike an accelerator, an index on the
processor is refused too, which there is a hidden transfer. Single numbers may be anywhere, as they may with CUDA.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
BETWEEN = {"aten::_to_copy", "aten::copy_"}
"""Operations that take tensors from one device to the other."""


class Elsewhere(torch.Tensor):
    """A tensor on the other device; `held` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        place = {} if held.is_sparse_csr else {"strides": held.stride(), "storage_offset": held.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), dtype=held.dtype, device=DEVICE, requires_grad=held.requires_grad, **place
        )
        made.held = held.detach()
        return made

    def __repr__(self, *, tensor_contents=None):
        return f"Elsewhere({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """What is made on the other device is made there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Numbers and lists become tensors below the dispatcher, out of sight of `_Factories`."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == DEVICE:
            return func(*args, **{**kwargs, "device": torch.device("cpu")}).to(DEVICE)
        if func is torch.Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].held.tolist()
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and isinstance(args[0], Elsewhere):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            index = tuple(torch.tensor(one).to(DEVICE) if isinstance(one, list) else one for one in index)
            args = (args[0], index, *args[2:])
        return func(*args, **kwargs)


def _run(func, args, kwargs):
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    away = [isinstance(x, Elsewhere) for x in tensors]
    name = func._schema.name
    if any(away) and name not in BETWEEN:
        strays = [x for x, is_away in zip(tensors, away, strict=True) if not is_away and x.dim() > 0]
        if strays:
            raise RuntimeError(f"{name}: tensors of two devices ({tuple(strays[0].shape)} on {strays[0].device})")
    wanted = kwargs.get("device")
    to = any(away) if wanted is None else torch.device(wanted) == DEVICE
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inner_args, inner_kwargs = tree_map(lambda x: x.held if isinstance(x, Elsewhere) else x, (args, kwargs))
    out = func(*inner_args, **inner_kwargs)
    writes = [argument for argument in func._schema.arguments if argument.alias_info and argument.alias_info.is_write]
    if writes and func._schema.returns:  # in place, or into given memory
        given = [kwargs[a.name] if a.name in kwargs else args[func._schema.arguments.index(a)] for a in writes]
        return given[0] if len(func._schema.returns) == 1 else tuple(given)
    return tree_map(lambda x: Elsewhere(x) if to and isinstance(x, torch.Tensor) else x, out)


def moved(value: Any) -> Any:
    """A copy of weights (or any nest of data classes, lists and mappings) on the other device."""
    if isinstance(value, torch.Tensor):
        return Elsewhere(value)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: moved(getattr(value, f.name)) for f in fields(value) if f.init})
    if isinstance(value, list | tuple):
        return type(value)(moved(one) for one in value)
    return {key: moved(one) for key, one in value.items()} if isinstance(value, dict) else value


@contextmanager
def other_device() -> Iterator[None]:
    """Inside, tensors can be made on the other device."""
    with _Factories(), _Literals():
        yield
