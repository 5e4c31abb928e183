"""A stage of a chain as a map of squared scales."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (the name every torch user knows)
from torch import Tensor

from compgraph.models.layers import POOLS, Stage
from compgraph.models.layers import Layer as Description
from compgraph.models.sequential import Reader


@dataclass(frozen=True)
class SquaredStage:
    """A stage of a chain as a map of squared scales.

    Attributes
    ----------
    stage
        Its description.
    reader
        Its weights squared, float64.
    scale
        s² of the source's units, float64 [n_source].
    """

    stage: Stage
    reader: Reader
    scale: Tensor

    def __call__(self, squares: Tensor) -> Tensor:
        """Squared scales [batch, n_source] through reader and pooling: [batch, n_units]."""
        values = self.reader(squares, bias=False)
        for layer in self.stage.tail:
            if layer["type"] in POOLS:
                values = _mean_pool(layer, values)
        return values.flatten(1)

    @property
    def total(self) -> Tensor:
        """s² of its own units, float64 [n_units]."""
        return self(self.scale[None])[0]

    def back(self, squares: Tensor) -> Tensor:
        """The adjoint: [n_units] -> [n_source]."""
        start = torch.zeros(1, len(self.scale), dtype=torch.float64, requires_grad=True)
        (out,) = torch.autograd.grad(self(start), start, squares[None])
        return out[0]


def _mean_pool(layer: Description, values: Tensor) -> Tensor:
    """Mean over each window, whichever of its values the pooling takes."""
    padding = tuple(layer.get("padding", (0, 0)))
    return F.avg_pool2d(values, layer["kernel"], layer["stride"], padding, count_include_pad=False)
