"""Trials of ACDC on a transformer with dictionaries, each a run of its circuit from the start.

A feature depends on all that its site computes, so the shortcuts of `acdc_streams` do not hold; cost: one run of the
graph a trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from compgraph.ablation.baselines import Baseline
from compgraph.ablation.feature_runner import FeatureRunner
from compgraph.connectivity.effective.edge_layout import Group
from compgraph.data.batches import Batch
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.errors import GraphError
from compgraph.partition import Partition


@dataclass
class State:
    """A batch ready for trials: the baseline run, and whether it is consistent (`Baseline`)."""

    base: Any
    consistent: bool


class FeatureTrials(FeatureRunner):
    """Trials of ACDC on a transformer with dictionaries.

    Raises
    ------
    GraphError
        A partition that divides an attention site otherwise than by whole heads.
    """

    def __init__(self, net: FeatureTransformer, partition: Partition) -> None:
        super().__init__(net, partition)
        if self.fine:
            raise GraphError(
                f"acdc: the partition divides {next(iter(self.fine))} into features or parts of heads; it serves "
                "partitions that leave attention in modules, or in heads where it has no dictionary"
            )

    def tied(self, site: str) -> bool:
        """Whether a post-norm makes the write of every part of a site depend on all of them."""
        return site != "embed" and self.net.decoder(site)[2] is not None

    def trial_bytes(self, time: int) -> int:
        """Memory that one example of one circuit takes."""
        numbers = 4 * self.partition.n_nodes * time * self.net.spec.d_model + 3 * self.net.spec.vocabulary
        return numbers * self.net.weights.embedding.element_size()

    def state_bytes(self, time: int) -> int:
        """Memory that the state of one example takes."""
        units = sum(site.n_units for site in self.net.architecture.node_sites[:-1])
        streams = 3 * len(self.sites) * self.net.spec.d_model
        return (2 * units + streams) * time * self.net.weights.embedding.element_size()

    def state(self, batch: Batch, baseline: Baseline) -> State:
        """Run the baseline once for all trials."""
        return State(self.baseline(batch, baseline), baseline.consistent)

    def trials(self, state: State, kept: Mapping[str, Tensor], group: Group, rows: Tensor) -> Tensor:
        """Logits [trials, batch, classes] of circuits that keep `kept`, but read `rows` in the tested group.

        Parameters
        ----------
        kept
            Site -> bool [channels, parts, sources read].
        rows
            bool [trials, sources read].
        """
        whole = {site: self._padded(one) for site, one in kept.items()}
        circuits = []
        for row in rows:
            tested = kept[group.site].clone()
            channels = slice(None) if group.channel is None else group.channel
            tested[channels, group.part] = row
            circuits.append({**whole, group.site: self._padded(tested)})
        return self.run_plan(state.base, self.prepare(circuits, state.consistent))

    def _padded(self, mask: Tensor) -> Tensor:
        """Masks over the sources that a site reads as masks over all nodes; the sources read come first."""
        out = mask.new_zeros(*mask.shape[:-1], self.partition.n_nodes)
        out[..., : mask.shape[-1]] = mask
        return out
