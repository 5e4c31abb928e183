"""Effects of nodes, as `node-ig` needs them: which node a unit belongs to, sums over examples, thresholds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.models.network import Network
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import with_patterns


def live(parts: Parts) -> Tensor:
    """Which units belong to a node, bool [n_units]; dead ones are left as they are."""
    return parts.label < len(parts)


def spread(parts: Parts, values: Tensor) -> Tensor:
    """A value per part for each of its units, 0 for dead ones: [.., parts] -> [.., n_units]."""
    return torch.cat([values, values.new_zeros(*values.shape[:-1], 1)], -1)[..., parts.label]


class NodeEffects:
    """Sums over examples of the effects of all nodes, patterns included, in float64."""

    def __init__(self, net: Network, partition: Partition) -> None:
        _, full = with_patterns(net, partition)
        self._sums = {site: torch.zeros(full.n_parts(site), dtype=torch.float64) for site in full.sites}

    def add(self, site: str, effects: Tensor) -> None:
        """Add effects [batch, .., parts] of the nodes of a site."""
        self._sums[site] += effects.double().reshape(-1, effects.shape[-1]).sum(0).cpu()

    def totals(self) -> npt.NDArray[np.float64]:
        """The sum of every node, in the order of nodes."""
        return torch.cat(list(self._sums.values())).numpy()
