"""Integrated gradients of the nodes of a chain (see `node_ig`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.chains import ChainScorer
from compgraph.connectivity.effective.node_effects import NodeEffects, live, spread
from compgraph.connectivity.effective.passes import Edit, PassResult
from compgraph.connectivity.effective.setting import Setting
from compgraph.data.batches import Batch
from compgraph.metrics import Metric, Targets
from compgraph.models.counting import count_backward, count_forward
from compgraph.models.sequential import Sequential
from compgraph.parts import Parts


@dataclass
class Measure:
    """The metric of a batch as a function of its logits."""

    metric: Metric
    targets: Targets

    def __call__(self, logits: Tensor) -> Tensor:
        """[batch, classes] -> [batch]."""
        return self.metric(logits, self.targets)


class NodeChainScorer(ChainScorer):
    """Scores of all edges of a chain by the effects of their destinations.

    Attributes
    ----------
    effects
        Of all nodes, summed over the examples scored so far.
    """

    def __init__(self, setting: Setting, steps: int, edge_steps: int, node_threshold: float) -> None:
        assert isinstance(setting.net, Sequential)
        super().__init__(setting.net, setting.partition)
        self.steps, self.edge_steps, self.node_threshold = steps, edge_steps, node_threshold
        self.effects = NodeEffects(setting.net, setting.partition)
        logits, n = setting.partition.labels["logits"], setting.partition.n_parts("logits")
        self.outputs = Parts.from_labels(logits, n, setting.net.device)

    def run(self, batch: Batch, edit: Mapping[str, Edit], metric: Metric, targets: Targets) -> PassResult:
        """The clean run, without a gradient; its tape is the metric."""
        assert not edit
        with torch.no_grad():
            out = self.net.run(batch.clean, capture=self.sources)
            return PassResult(out.units, metric(out.logits, targets), Measure(metric, targets))

    def scores(self, change: Units, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """[batch, edges] in canonical order."""
        clean, measure = result.units, result.tape
        moved = {site: change[site] * live(self.parts[site]) for site in self.sources}
        h = {site: self._sensitivity(site, clean[site], moved[site], measure) for site in self.sources}
        with torch.no_grad():
            h = {site: self._cut(site, h[site], moved[site]) for site in self.sources}
        self._note_logits(clean[self.sources[-1]], moved[self.sources[-1]], measure)
        total: Tensor | float = 0.0
        for j in range(self.edge_steps):
            inputs = {site: clean[site] + j / self.edge_steps * moved[site] for site in self.sources}
            total = total + self._local(inputs, h, moved, measure) / self.edge_steps
        assert isinstance(total, Tensor)
        return total

    def _sensitivity(self, site: str, clean: Tensor, moved: Tensor, measure: Measure) -> Tensor:
        """Mean gradient of the metric at the site's units: [batch, n_units]."""
        behind = self.sites[self.sites.index(site) + 1 :]
        total = torch.zeros_like(clean)
        for k in range(self.steps):
            x = start = (clean + k / self.steps * moved).requires_grad_()
            for name in behind:
                x = self.net.units_from(name, self.net.pre_activations(name, x))
            count_forward(len(x), len(behind) / len(self.sources))
            count_backward(x, len(behind) / len(self.sources))
            total += torch.autograd.grad(measure(x).sum(), start)[0] / self.steps
        return total

    def _cut(self, site: str, h: Tensor, moved: Tensor) -> Tensor:
        """The sensitivity, 0 where a node's effect is below the threshold; effects are noted."""
        effect = self.parts[site].sums(h * moved)
        self.effects.add(site, effect)
        return h * spread(self.parts[site], (effect.abs() >= self.node_threshold).to(h))

    def _note_logits(self, clean: Tensor, moved: Tensor, measure: Measure) -> None:
        """Effects of the nodes of `logits`, along the line between what they are after the two inputs."""
        with torch.no_grad():
            start, end = (
                self.net.units_from("logits", self.net.pre_activations("logits", x)) for x in (clean, clean + moved)
            )
        total = torch.zeros_like(start)
        for k in range(self.steps):
            units = torch.lerp(start, end, k / self.steps).requires_grad_()
            total += torch.autograd.grad(measure(units).sum(), units)[0] / self.steps
        self.effects.add("logits", self.outputs.sums(total * (end - start)))

    def _local(self, inputs: Units, h: Units, moved: Units, measure: Measure) -> Tensor:
        """Scores where every site reads the given units of the one before it: [batch, edges]."""
        columns = []
        for source, name in zip(self.sources, self.sites[1:], strict=True):
            with torch.no_grad():
                pre = self.net.pre_activations(name, inputs[source])
            units = self.net.units_from(name, pre.requires_grad_())
            aim = measure(units).sum() if name == "logits" else (units * h[name]).sum()
            g = torch.autograd.grad(aim, pre)[0]
            with torch.no_grad():
                block = self.parts[source].sums(self._pull_back(name, g.flatten(1)) * moved[source])
                columns.append(block.transpose(0, 1).flatten(1))
        return torch.cat(columns, 1)
