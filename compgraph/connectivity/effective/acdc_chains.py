"""Many circuits of a chain that differ in what one destination reads, run as one batch.

While ACDC tests the edges into a site, everything before it is as in the whole graph; from the site on each trial has
its own values, which are as many examples more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline, Units
from compgraph.ablation.chain_runner import ChainBase, ChainRunner
from compgraph.connectivity.effective.edge_layout import Group
from compgraph.data.batches import Batch


@dataclass
class State:
    """A batch ready for trials: the baseline run, and the units of every source in the whole graph."""

    base: ChainBase
    whole: Units


class ChainTrials(ChainRunner):
    """Trials of ACDC on a chain."""

    from_target, alone = True, False

    def trial_bytes(self, time: int) -> int:
        """Memory that one example of one circuit takes."""
        return self.bytes_per_example(time)

    def state_bytes(self, time: int) -> int:
        """Memory that the state of one example takes."""
        units = sum(site.n_units for site in self.net.architecture.sites)
        return 2 * units * torch.finfo(self.net.dtype).bits // 8

    def state(self, batch: Batch, baseline: Baseline) -> State:
        """Run baseline and whole graph once for all trials."""
        base = self.baseline(batch, baseline)
        x = self.net.input_units(batch.clean)
        whole = {self.sources[0]: x}
        for source, site in zip(self.sources, self.sources[1:], strict=False):
            every = torch.ones(self.n_parts[site], self.n_parts[source], dtype=torch.bool, device=x.device)
            x = whole[site] = self.net.units_from(site, self._pre(base.units, source, site, x, every, 1))
        return State(base, whole)

    def trials(self, state: State, kept: Mapping[str, Tensor], group: Group, rows: Tensor) -> Tensor:
        """Logits [trials, batch, classes] of circuits that keep `kept`, but read `rows` in the tested group.

        Parameters
        ----------
        kept
            Site -> bool [1, parts, source parts].
        rows
            bool [trials, source parts].
        """
        n, base = len(rows), state.base.units
        start = self.sites.index(group.site)
        source = self.sources[start - 1]
        masks = kept[group.site].expand(n, -1, -1).clone()
        masks[:, group.part] = rows
        x = state.whole[source]
        values = torch.cat([self._pre(base, source, group.site, x, mask, 1) for mask in masks])
        x = self.net.units_from(group.site, values)
        for source, site in zip(self.sources[start:], self.sites[start + 1 :], strict=True):
            x = self.net.units_from(site, self._pre(base, source, site, x, kept[site][0], n))
        return x.reshape(n, -1, x.shape[-1])

    def _pre(self, base: Units, source: str, site: str, x: Tensor, mask: Tensor, n: int) -> Tensor:
        """Pre-activations of a site whose parts read their kept sources, for n runs of the batch."""
        old = base[source].repeat(n, 1)
        dead = torch.from_numpy(self.labels[source] < 0).to(x.device)
        pre = self.net.pre_activations(site, base[source])
        pre = pre.repeat(n, *(1,) * (pre.dim() - 1))
        return pre + self._read(source, site, (x - old).masked_fill(dead, 0), mask).reshape(pre.shape)
