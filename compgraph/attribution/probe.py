"""One pass of a network over a batch whose units, at chosen sites, a metric is differentiated by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.data.batches import Batch
from compgraph.errors import DataError
from compgraph.metrics import Metric, needs_reference
from compgraph.models.network import Network


@dataclass(frozen=True)
class Probe:
    """A batch, ready to be differentiated.

    Attributes
    ----------
    net
        Transformer or chain; its weights need no gradient.
    batch
        The examples.
    sites
        Names of the sites whose units are attributed to.
    measure
        Metric of the logits [batch, classes], [batch].
    """

    net: Network
    batch: Batch
    sites: tuple[str, ...]
    measure: Callable[[Tensor], Tensor]

    def gradients(self, sites: Sequence[str], start: Mapping[str, Tensor] | None = None) -> tuple[Units, Units]:
        """Units of sites, and the gradient of each example's metric by them: one forward and backward pass.

        Nothing before the first of the sites is differentiated.

        Parameters
        ----------
        sites
            Where gradients are taken.
        start
            Site -> units that replace its own in this run; what follows is recomputed.

        Returns
        -------
        units, gradients
            Site -> [batch, time, n_units], for images [batch, n_units].

        Raises
        ------
        DataError
            The metric does not depend on the logits.
        """
        held: Units = {}
        edit = {site: partial(_hold, held, site, (start or {}).get(site)) for site in sites}
        batch = self.batch
        with torch.enable_grad():
            run = self.net.run(batch.clean, batch.mask, positions=batch.positions, edit=edit)
            value = self.measure(run.logits)
        if not value.requires_grad:
            raise DataError("attributions: the metric is constant in the logits, so that it has no gradient")
        found = torch.autograd.grad(value.sum(), [held[site] for site in sites])
        return {site: held[site].detach() for site in sites}, dict(zip(sites, found, strict=True))


def _hold(held: Units, site: str, given: Tensor | None, units: Tensor) -> Tensor:
    """Keep what passes a site; where nothing before it is differentiated it becomes a leaf of the graph."""
    value = units if given is None else given
    held[site] = value if value.requires_grad else value.detach().requires_grad_()
    return held[site]


def make_probe(net: Network, batch: Batch, sites: Sequence[str], metric: Metric, name: str) -> Probe:
    """Make a probe; `name` is the metric's, and tells whether it compares with the clean run."""
    targets = batch.targets
    if needs_reference(name):
        with torch.no_grad():
            targets = replace(targets, reference=net.run(batch.clean, batch.mask, positions=batch.positions).logits)
    return Probe(net, batch, tuple(sites), lambda logits: metric(logits, targets))
