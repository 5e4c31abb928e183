"""Edge ablation of chains (CNN, MLP): the network run as the graph says.

A destination reads W (baseline units + Σ over kept sources of their change). Where parts are made of whole
channels (or single neurons) that is one product with the masked reader, W * mask; where they cut through
channels, one product per destination part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline, Units
from compgraph.data.batches import Batch
from compgraph.models.counting import count_backward, count_forward
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition
from compgraph.parts import Parts


@dataclass
class ChainBase:
    """The baseline run of one batch: units of every source."""

    batch: Batch
    units: Units


class ChainRunner:
    """Runs circuits of a chain."""

    def __init__(self, net: Sequential, partition: Partition) -> None:
        self.net = net
        self.sites = [site.name for site in net.architecture.node_sites]
        self.sources = self.sites[:-1]
        self.labels = {name: partition.labels[name] for name in self.sites}
        self.pre_labels = {name: net.pre_labels(name, self.labels[name]) for name in self.sites[1:]}
        self.n_parts = {name: partition.n_parts(name) for name in self.sites}

    def bytes_per_example(self, time: int) -> int:
        """Units of the widest site, once per part of the next where kernels cannot be masked."""
        widest = max(site.n_units for site in self.net.architecture.sites)
        return 8 * widest * (1 + max(self.n_parts.values())) * torch.finfo(self.net.dtype).bits // 8

    def baseline(self, batch: Batch, baseline: Baseline) -> ChainBase:
        """Run the baseline once for all circuits."""
        return ChainBase(batch, baseline.units(self.net, batch, self.sources))

    def run(self, base: ChainBase, kept: dict[str, Tensor]) -> Tensor:
        """Logits [batch, classes].

        Parameters
        ----------
        kept
            Destination site -> [1, parts, source parts]: which edges the circuit keeps; numbers weigh them, and
            the logits are differentiable in them.
        """
        x = self.net.input_units(base.batch.clean)
        for source, name in zip(self.sources, self.sites[1:], strict=True):
            change = x - base.units[source]
            dead = torch.from_numpy(self.labels[source] < 0).to(change.device)
            change = change.masked_fill(dead, 0)
            pre = self.net.pre_activations(name, base.units[source])
            pre = pre + self._read(source, name, change, kept[name][0]).reshape(pre.shape)
            x = self.net.units_from(name, pre)
        count_forward(len(x))
        count_backward(x)
        return x

    def _read(self, source: str, name: str, change: Tensor, mask: Tensor) -> Tensor:
        """Change of the pre-activations when every part reads its kept sources only."""
        reader = self.net.reader(name)
        linear = reader.kind == "linear"
        incoming = self.labels[source] if linear else _by_channel(self.labels[source], reader.in_shape)
        outgoing = self.pre_labels[name] if linear else _by_channel(self.pre_labels[name], reader.pre_shape)
        if incoming is None or outgoing is None or reader.groups > 1:
            return self._read_by_part(source, name, change, mask)
        keep = _expand(mask, outgoing, incoming).to(reader.weight.dtype)
        weight = reader.weight * keep.reshape(*keep.shape, *(1,) * (reader.weight.dim() - 2))
        return replace(reader, weight=weight)(change, bias=False)

    def _read_by_part(self, source: str, name: str, change: Tensor, mask: Tensor) -> Tensor:
        reader = self.net.reader(name)
        parts = Parts.from_labels(self.pre_labels[name], self.n_parts[name], change.device)
        source_labels = torch.from_numpy(self.labels[source].astype(np.int64)).to(change.device)
        out = change.new_zeros(len(change), parts.n_units)
        for part, index in enumerate(parts.index):
            if mask[part].any():
                read = mask[part][source_labels.clamp_min(0)].to(change.dtype)
                out[:, index] = reader(change * read, bias=False).flatten(1)[:, index]
        return out


def _by_channel(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Label of each channel, or None where a channel holds several."""
    table = labels.reshape(shape[0], -1)
    return table[:, 0] if (table == table[:, :1]).all() else None


def _expand(mask: Tensor, outgoing: np.ndarray, incoming: np.ndarray) -> Tensor:
    """Edge mask or weights [parts, source parts] -> [out, in] over channels or units; dead ones keep nothing."""
    rows = torch.from_numpy(outgoing.astype(np.int64)).to(mask.device)
    columns = torch.from_numpy(incoming.astype(np.int64)).to(mask.device)
    alive = (rows >= 0)[:, None] & (columns >= 0)[None]
    return mask[rows.clamp_min(0)][:, columns.clamp_min(0)] * alive
