"""Scores of all edges of a chain (CNN, MLP) from one gradient pass.

A site reads only the site before it, through a linear map W. With d the change of the source's units and g the
gradient of the metric at the pre-activations,

    score(u -> v) = sum over units in u of  d * Wᵀ(g restricted to v)

one application of the adjoint map per destination part, never a matrix of units by units.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.passes import Edit, PassResult
from compgraph.data.batches import Batch
from compgraph.metrics import Metric, Targets
from compgraph.models.counting import count_backward, count_forward
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition
from compgraph.parts import Parts


class ChainScorer:
    """Scores of the edges between the nodes of a partition of a chain.

    Raises
    ------
    ModelError
        A part is so fine that overlapping pooling windows make one pre-activation feed several parts.
    """

    per_example = True

    def __init__(self, net: Sequential, partition: Partition) -> None:
        self.net = net
        self.sites = [site.name for site in net.architecture.node_sites]
        self.sources = self.sites[:-1]
        self.parts = {
            name: Parts.from_labels(partition.labels[name], partition.n_parts(name), net.device)
            for name in self.sources
        }
        self.pre_parts = {
            name: Parts.from_labels(net.pre_labels(name, partition.labels[name]), partition.n_parts(name), net.device)
            for name in self.sites[1:]
        }

    def bytes_per_example(self, pairs: Any) -> int:
        """The adjoint images of the largest site."""
        largest = max(
            len(self.pre_parts[v]) * self.parts[u].n_units for u, v in zip(self.sources, self.sites[1:], strict=True)
        )
        return 2 * largest * torch.finfo(self.net.dtype).bits // 8

    def run(self, batch: Batch, edit: Mapping[str, Edit], metric: Metric, targets: Targets) -> PassResult:
        """Forward pass that keeps the pre-activations of every site as its tape."""
        units: Units = {}
        tape: dict[str, Tensor] = {}
        x = self.net.input_units(batch.clean)
        for name in self.sites:
            if name != "input":
                pre = self.net.pre_activations(name, x)
                tape[name] = pre if pre.requires_grad else pre.requires_grad_()
                x = self.net.units_from(name, tape[name])
            x = edit[name](x) if name in edit else x
            if name in self.parts:
                units[name] = x.detach()
        count_forward(len(x))
        count_backward(x)
        return PassResult(units, metric(x, targets), tape)

    def change(self, clean: Units, baseline: Units, silent: Collection[str] = ()) -> Units:
        """Change of every source's units."""
        return {name: baseline[name] - clean[name] for name in self.sources}

    def scores(self, change: Units, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """Score of every edge for every example, [batch, edges] in canonical order."""
        names = self.sites[1:]
        gradients = torch.autograd.grad(result.metric.sum(), [result.tape[n] for n in names], retain_graph=keep)
        columns = []
        with torch.no_grad():
            for source, name, g in zip(self.sources, names, gradients, strict=True):
                pulled = self._pull_back(name, g.flatten(1))
                block = self.parts[source].sums(pulled * change[source])
                columns.append(block.transpose(0, 1).flatten(1))
        return torch.cat(columns, 1)

    def _pull_back(self, name: str, g: Tensor) -> Tensor:
        """Wᵀ of the gradient restricted to each part: [batch, n_pre] -> [parts, batch, n_source]."""
        reader, parts = self.net.reader(name), self.pre_parts[name]
        if reader.kind == "linear":
            return parts.product(g, reader.weight)
        return torch.stack([reader.transpose(part) for part in parts.masked(g)])
