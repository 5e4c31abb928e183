"""Conductance-based edge attribution patching (CEAP).

With runs k = 0 … m whose input embedding is baseline + (k / m)(clean - baseline),

    score(u -> v) = sum over k = 0 … m - 1 of  < write_u(k) - write_u(k + 1),  gradient at v's input in run k >

the conductance of the edge: where `eap-ig-inputs` multiplies the mean gradient with the whole change of the write,
each piece of the write's realised path meets the gradient at its own end. The pieces add up to the change of the
write from clean to baseline, and so, as m grows, the scores out of the input *and* the scores into the logits each
sum to the change of the metric (Wu, Tonin & Cevher 2026, arXiv 2606.16920).

What is known of the definition: second-hand, from a tutorial [2]; no repository was found, and that the gradient
is the one at the baseline's end of each piece (the left point) is unverified. Checked here: both sums above, with an
error that falls like 1 / m, which any point of the piece would give. m = 1 is the change of the write times the
gradient in the run from the baseline's input [D]. Under the zero baseline the path ends in the run from a zero
embedding, whose writes are not zero.

Cost: m forward and backward passes and 2 forward passes (clean and baseline).

**Resampling variance** (`resamples`): the paper's is the mean of the 6 pairwise Jaccard indices of the circuits of 4
disjoint samples of 1,000 examples, at equal size [2]. Here the examples are dealt into so many samples of equal
size at random; see `compgraph.connectivity.effective.resampling`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.passes import GradientPass, PassContext
from compgraph.connectivity.effective.resampling import Resamples
from compgraph.connectivity.effective.setting import Setting
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph


def compute(setting: Setting, *, steps: int = 5, resamples: int = 0) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    steps
        m, at least 1.
    resamples
        Disjoint samples whose circuits are compared, at least 2; 0 for none. `seed` deals the examples. Adds the
        column `resample_std` and the attribute `resampling`.

    Raises
    ------
    DataError
        No steps; a number of samples that the data cannot fill.
    """
    if steps < 1:
        raise DataError(f"ceap: steps is {steps}; it must be at least 1")
    samples = Resamples(setting.pairs.n, resamples, setting.seed, "ceap") if resamples else None
    observe = None if samples is None else samples.add
    graph = attribute(setting, partial(along_the_path, steps=steps), method="ceap", observe=observe)
    return graph if samples is None else samples.annotate(graph)


def along_the_path(context: PassContext, steps: int) -> Iterator[GradientPass]:
    """Runs from the input nearest the clean one down to the baseline's, each with the piece of the path above it."""
    net, batch, first = context.net, context.batch, context.first_site
    start = context.baseline[first]
    with torch.no_grad():
        clean = net.run(batch.clean, batch.mask, capture=list(context.baseline), positions=batch.positions).units
    piece = _Piece(clean)
    for k in reversed(range(steps)):
        yield GradientPass(1.0, {first: partial(_between, start=start, share=k / steps)}, piece)


class _Piece:
    """From the units of the run above to those of this one."""

    def __init__(self, above: Units) -> None:
        self.above = above

    def __call__(self, units: Units) -> tuple[Units, Units]:
        ends = self.above, units
        self.above = units
        return ends


def _between(units: Tensor, start: Tensor, share: float) -> Tensor:
    return torch.lerp(start, units, share)
