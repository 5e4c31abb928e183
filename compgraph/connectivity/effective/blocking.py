"""Identity in the forward pass, nothing in the backward pass.

Unlike `detach`, which takes a tensor out of the graph, this leaves everything before it differentiable, with a
gradient of zero; and whether it blocks can be decided when the backward pass comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, closed: Callable[[], bool]) -> Tensor:
        ctx.closed = closed
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0]
        return torch.zeros_like(gradient) if ctx.closed() else gradient, None


def blocked(x: Tensor, closed: Callable[[], bool] = lambda: True) -> Tensor:
    """x, through which no gradient flows where `closed()` is true during the backward pass."""
    out: Tensor = _Block.apply(x, closed)  # type: ignore[no-untyped-call]
    return out
