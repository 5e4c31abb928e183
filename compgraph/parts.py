"""The parts of a site as tensors: the bridge from a torch-free `Partition` to matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

MANY = 256
"""Above so many parts sums over irregular parts are one scattered addition."""


@dataclass
class Parts:
    """Units of every part of a site.

    Attributes
    ----------
    index
        `index[k]` holds the units of part k, int64.
    size
        Above 0 where the parts are equal, adjacent runs of units, so that one batched product serves them all.
    n_units
        Units of the site, dead ones included.
    """

    index: list[Tensor]
    size: int
    n_units: int

    def __len__(self) -> int:
        return len(self.index)

    @property
    def is_whole(self) -> bool:
        """Whether one part holds all units."""
        return len(self) == 1 and len(self.index[0]) == self.n_units

    @classmethod
    def whole(cls, n_units: int, device: torch.device) -> Parts:
        """All units as one part."""
        return cls([torch.arange(n_units, device=device)], n_units, n_units)

    @classmethod
    def from_labels(cls, labels: np.ndarray, n_parts: int, device: torch.device) -> Parts:
        """From a label per unit (-1: dead)."""
        labels = np.asarray(labels)
        order = np.argsort(labels, kind="stable")
        bounds = np.searchsorted(labels[order], np.arange(n_parts + 1))
        index = [
            torch.from_numpy(order[a:b].copy()).to(device)
            for a, b in pairwise(bounds)
        ]
        size = len(labels) // n_parts if n_parts else 0
        regular = size > 0 and np.array_equal(labels, np.arange(len(labels)) // size)
        return cls(index, size if regular else 0, len(labels))

    def product(self, units: Tensor, rows: Tensor, keep: Tensor | None = None) -> Tensor:
        """Each part's own `units @ rows`: [.., n_units] x [n_units, d] -> [parts, .., d].

        `keep`: indices of the parts wanted (int64); None for all.
        """
        flat = units.reshape(-1, units.shape[-1])
        if self.size:
            split = flat.unflatten(-1, (len(self), self.size)).transpose(0, 1)
            blocks = rows.unflatten(0, (len(self), self.size))
            out = torch.bmm(split, blocks) if keep is None else torch.bmm(split[keep], blocks[keep])
        else:
            chosen = self.index if keep is None else [self.index[k] for k in keep.tolist()]
            out = torch.stack([flat[:, i] @ rows[i] for i in chosen])
        return out.reshape(len(out), *units.shape[:-1], rows.shape[-1])

    def masked(self, units: Tensor) -> Tensor:
        """Each part's own units, zero elsewhere: [.., n_units] -> [parts, .., n_units]."""
        if self.is_whole:
            return units[None]
        out = units.new_zeros(len(self), *units.shape)
        for k, index in enumerate(self.index):
            out[k][..., index] = units[..., index]
        return out

    def sums(self, units: Tensor) -> Tensor:
        """Sum over the units of each part: [.., n_units] -> [.., parts]."""
        if self.size:
            return units.unflatten(-1, (len(self), self.size)).sum(-1)
        if len(self) > MANY:
            out = units.new_zeros(*units.shape[:-1], len(self) + 1)
            return out.index_add_(-1, self.label, units)[..., :-1]
        return torch.stack([units[..., i].sum(-1) for i in self.index], -1)

    @cached_property
    def label(self) -> Tensor:
        """Part of every unit, int64 [n_units]; dead units get one behind the last part."""
        device = self.index[0].device if self.index else torch.device("cpu")
        out = torch.full((self.n_units,), len(self), dtype=torch.int64, device=device)
        sizes = torch.tensor([len(i) for i in self.index], device=device)
        if self.index:
            out[torch.cat(self.index)] = torch.arange(len(self), device=device).repeat_interleave(sizes)
        return out
