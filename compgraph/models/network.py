"""The interface that every network offers to the rest of the library."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from compgraph.architecture import Architecture


@dataclass
class Run:
    """Result of one forward pass.

    Attributes
    ----------
    logits
        [batch, classes]; for token networks [batch, vocabulary] where positions were given, else
        [batch, time, vocabulary].
    units
        Site -> its units: [batch, time, n_units] for token networks, [batch, n_units] for images.
    """

    logits: Tensor
    units: dict[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Network(Protocol):
    """A loaded network (transformer or chain)."""

    architecture: Architecture

    @property
    def kind(self) -> str: ...

    @property
    def family(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def digest(self) -> str: ...

    def run(
        self,
        values: Tensor,
        mask: Tensor | None = None,
        *,
        capture: Collection[str] = (),
        positions: Tensor | None = None,
        edit: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    ) -> Run:
        """One forward pass.

        Parameters
        ----------
        values
            Token ids [batch, time] (int64), or images [batch, channels, height, width].
        mask
            [batch, time] bool, True for real tokens; None when nothing is padded.
        capture
            Names of sites whose units to return.
        positions
            [batch] int64: the positions whose logits are wanted; None for all.
        edit
            Site -> function of its units that returns what to use in their place.
        """
        ...
