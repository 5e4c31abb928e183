"""Edge attribution patching with integrated gradients along activations.

For each of the token embedding, all heads of a layer, and each MLP in turn, that site's write is replaced by
(k / m) clean + (1 - k / m) baseline, k = 1 … m, everything else clean; the gradient at every destination is
averaged over all of these m (2 L + 1) runs (EAP-IG package; conventions of design.md, section 9). The runs with
k = m are the clean run, which is made once. Cost: 1 + (m - 1)(2 L + 1) forward and backward passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from compgraph.ablation.baselines import WRITE
from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.passes import GradientPass, PassContext
from compgraph.connectivity.effective.setting import Setting
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.models.transformer import Transformer
from compgraph.patterns import SUFFIX


def compute(setting: Setting, *, steps: int = 5) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    steps
        m, at least 1.
    """
    if steps < 1:
        raise DataError(f"eap-ig-activations: steps is {steps}; it must be at least 1")
    return attribute(setting, partial(along_every_write, steps=steps), method="eap-ig-activations")


def along_every_write(context: PassContext, steps: int) -> Iterator[GradientPass]:
    """The clean run, then runs with one site's write between its baseline and its clean value."""
    sites = [site for site in context.baseline if not site.endswith(SUFFIX)]  # patterns write nothing
    runs = steps * len(sites)
    yield GradientPass(len(sites) / runs)
    for site in sites:
        target, start = _write(context, site)
        for k in range(1, steps):
            yield GradientPass(1 / runs, {target: partial(_between, start=start, share=k / steps)})


def _write(context: PassContext, site: str) -> tuple[str, Tensor]:
    """Where to edit, and the baseline's value there: a write of a transformer's site, else its units."""
    units, net = context.baseline[site], context.net
    if not isinstance(net, Transformer) or site == context.first_site or site.endswith(WRITE):
        return site, units
    with torch.no_grad():
        return f"{site}/write", net.write(site, units, silent=site in context.silent)


def _between(clean: Tensor, start: Tensor, share: float) -> Tensor:
    return torch.lerp(start, clean, share)
