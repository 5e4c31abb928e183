"""The units of one side of a block of scores, those of a node side by side, and sums over nodes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from compgraph.parts import Parts


@dataclass
class UnitGroups:
    """Units in the order of their nodes; dead ones are left out.

    Attributes
    ----------
    order
        Indices of the units among those of the site, int64 [units]; None for all as they are.
    node
        Node of each unit, int64 [units], ascending from 0.
    n_nodes
        Number of nodes; some may be empty.
    """

    order: Tensor | None
    node: Tensor
    n_nodes: int

    @classmethod
    def from_parts(cls, parts: Parts) -> UnitGroups:
        """The units of a site's parts."""
        order = torch.cat(parts.index) if len(parts) else torch.zeros(0, dtype=torch.int64)
        sizes = torch.tensor([len(index) for index in parts.index], dtype=torch.int64, device=order.device)
        node = torch.repeat_interleave(torch.arange(len(parts), device=order.device), sizes)
        whole = len(order) == parts.n_units and bool((order.diff() == 1).all())
        return cls(None if whole else order, node, len(parts))

    @classmethod
    def condensed(cls, n_nodes: int, width: int, device: torch.device) -> UnitGroups:
        """`width` coordinates of the residual stream for every node, in place of its units."""
        return cls(None, torch.arange(n_nodes, device=device).repeat_interleave(width), n_nodes)

    @cached_property
    def bounds(self) -> list[int]:
        """First unit of every node, and the number of units: n_nodes + 1 numbers."""
        nodes = torch.arange(self.n_nodes + 1, device=self.node.device)
        return torch.searchsorted(self.node, nodes).tolist()

    @cached_property
    def single(self) -> bool:
        """Whether every node is one unit."""
        return self.bounds == list(range(self.n_nodes + 1))

    def pick(self, units: Tensor, dim: int = -1) -> Tensor:
        """The units of all nodes from those of the site, along an axis."""
        return units if self.order is None else units.index_select(dim, self.order)

    def units(self, start: int, stop: int) -> slice:
        """The units of the nodes from start to stop."""
        return slice(self.bounds[start], self.bounds[stop])

    def sums(self, values: Tensor, dim: int, start: int = 0, stop: int | None = None) -> Tensor:
        """Sums over the units of each node from start to stop, whose units `values` has along an axis."""
        if self.single:
            return values
        stop = self.n_nodes if stop is None else stop
        shape = list(values.shape)
        shape[dim] = stop - start
        node = self.node[self.units(start, stop)] - start
        return values.new_zeros(shape).index_add_(dim, node, values)

    def cut(self, limit: int) -> list[tuple[int, int]]:
        """Ranges of nodes, equally many in each but the last, with at most `limit` units (or a single node)."""
        if not self.n_nodes:
            return []
        step = min(self.n_nodes, max(1, limit)) if self.single else self.n_nodes
        while step > 1 and max(b - a for a, b in pairwise(self._ends(step))) > limit:
            step = -(-step // 2)
        return list(pairwise([*range(0, self.n_nodes, step), self.n_nodes]))

    def _ends(self, step: int) -> list[int]:
        return [*(self.bounds[k] for k in range(0, self.n_nodes, step)), self.bounds[-1]]
