"""Adam on one flat tensor, in as few passes over memory as its public operations allow."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Adam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1, in the order of the end of its section 2).

    Parameters
    ----------
    values
        What is trained; changed in place.

    Attributes
    ----------
    mean, square
        Running means of the gradient and of its square, like `values`.
    steps
        How many were taken.
    """

    def __init__(self, values: Tensor) -> None:
        self.values, self.steps = values, 0
        self.mean, self.square = torch.zeros_like(values), torch.zeros_like(values)
        self._size = torch.empty_like(values)

    def step(self, gradient: Tensor, learning_rate: float) -> None:
        """Move the values against the gradient."""
        self.steps += 1
        first, second = (1 - beta**self.steps for beta in BETAS)
        self.mean.lerp_(gradient, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        torch.sqrt(self.square, out=self._size).add_(EPSILON * math.sqrt(second))
        self.values.addcdiv_(self.mean, self._size, value=-learning_rate * math.sqrt(second) / first)
