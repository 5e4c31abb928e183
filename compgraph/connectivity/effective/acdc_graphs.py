"""Trials of ACDC that are runs of their circuits from the start, by edge ablation.

For dictionaries, where a feature depends on all that its site computes, and parts finer than heads, whose patterns are
nodes: the shortcuts of `acdc_streams` do not hold there. Cost: one run of the graph a trial, less what the circuits of
one batch share (`compgraph.ablation.plan`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline
from compgraph.ablation.sweeps import runner_for
from compgraph.ablation.unit_runner import UnitRunner
from compgraph.connectivity.effective.edge_layout import EdgeLayout, Group
from compgraph.data.batches import Batch
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.models.network import Network
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.patterns import SUFFIX, with_patterns


@dataclass
class State:
    """A batch ready for trials: the baseline run, and whether it is consistent (`Baseline`)."""

    base: Any
    consistent: bool


class GraphTrials:
    """Trials of ACDC on a transformer with any partition.

    Attributes
    ----------
    alone
        Whether circuits run one after the other, as those between single units do, so that what lies behind a wrong
        guess would be wasted.
    """

    from_target = False

    def __init__(self, net: Transformer, partition: Partition, layout: EdgeLayout) -> None:
        self.net, self.layout = net, layout
        self.runner = runner_for(net, partition, "exact")
        self.sites = [site.name for site in net.architecture.node_sites]
        self.sources = self.sites[:-1]
        self.alone = isinstance(self.runner, UnitRunner)

    def tied(self, site: str) -> bool:
        """Whether a post-norm makes the write of every part of a site depend on all of them."""
        return site != "embed" and self.net.decoder(site)[2] is not None

    def trial_bytes(self, time: int) -> int:
        """Memory that one example of one circuit takes."""
        whole = torch.ones(self.layout.n_edges, dtype=torch.bool)
        kept = {site: self._table(site, one) for site, one in self.layout.weights(whole.to(self.net.device)).items()}
        return self.runner.bytes_of(self.runner.prepare([kept], False), time)

    def state_bytes(self, time: int) -> int:
        """Memory that the state of one example takes."""
        spec, sites = self.net.spec, self.net.architecture.node_sites
        patterns = sum(block.served is not None for block in self.layout.blocks) * spec.n_heads * time
        numbers = 2 * sum(site.n_units for site in sites[:-1]) + 3 * len(sites) * spec.d_model + patterns
        return numbers * time * self.net.weights.embedding.element_size()

    def state(self, batch: Batch, baseline: Baseline) -> State:
        """Run the baseline once for all trials."""
        return State(self.runner.baseline(batch, baseline), baseline.consistent)

    def trials(self, state: State, kept: Mapping[str, Tensor], group: Group, rows: Tensor) -> Tensor:
        """Logits [trials, batch, classes] of circuits that keep `kept`, but read `rows` in the tested group.

        Parameters
        ----------
        kept
            Site -> bool [channels, parts, nodes read].
        rows
            bool [trials, sources of the group].
        """
        whole = {site: self._table(site, one) for site, one in kept.items()}
        circuits = []
        for row in rows:
            tested = kept[group.site].clone()
            channels = slice(None) if group.channel is None else group.channel
            tested[channels, group.part, group.columns] = row
            circuits.append({**whole, group.site: self._table(group.site, tested)})
        return self.runner.run_plan(state.base, self.runner.prepare(circuits, state.consistent))

    def _table(self, site: str, mask: Tensor) -> Tensor:
        """Kept edges over the nodes that a site reads as kept edges over all nodes."""
        (block,) = (block for block in self.layout.blocks if block.site == site)
        out = mask.new_zeros(*mask.shape[:-1], self.layout.refined.n_nodes)
        out[..., block.reads] = mask
        return out


def needs_graphs(net: Network, partition: Partition) -> bool:
    """Whether a network and partition are among those that the faster trials do not serve."""
    if not isinstance(net, Transformer):
        return False
    refined = with_patterns(net, partition)[1]
    return isinstance(net, FeatureTransformer) or any(site.endswith(SUFFIX) for site in refined.sites)
