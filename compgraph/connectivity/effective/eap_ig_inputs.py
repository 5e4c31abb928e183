"""Edge attribution patching with integrated gradients along the input.

Like `eap`, with the gradient at v's input averaged over m runs whose token embedding (pixels of an image) is

    baseline + (k / m) (clean - baseline),   k = 0 … m - 1

(Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806; conventions of design.md, section 9). As m grows the scores
of all edges out of the input sum to the change of the metric from the clean to the baseline run. One clean
forward pass and m forward and backward passes; with `grad_drop` (`compgraph.connectivity.effective.grad_drop`) one
backward pass more for every layer but one, and scores that are not signed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.grad_drop import GradDropScorer
from compgraph.connectivity.effective.passes import GradientPass, PassContext
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.partition import Partition


def compute(
    net: Network,
    pairs: Any,
    partition: Partition,
    *,
    metric: str = "logit_difference",
    baseline: str = "counterfactual",
    split_qkv: bool = True,
    batch_size: int | None = None,
    seed: int = 0,
    steps: int = 5,
    grad_drop: bool = False,
) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    steps
        m, at least 1.
    grad_drop
        See above.
    """
    if steps < 1:
        raise DataError(f"eap-ig-inputs: steps is {steps}; it must be at least 1")
    dropping = GradDropScorer(net, partition, split_qkv) if grad_drop else None
    return attribute(
        net,
        pairs,
        partition,
        partial(along_the_input, steps=steps),
        method="eap-ig-inputs",
        metric=metric,
        baseline=baseline,
        split_qkv=split_qkv,
        batch_size=batch_size,
        scorer=dropping,
        fold=None if dropping is None else dropping.fold,
        attributes={"grad_drop": True} if grad_drop else None,
    )


def along_the_input(context: PassContext, steps: int) -> Iterator[GradientPass]:
    """Runs from inputs between the baseline's and the clean one."""
    first = context.first_site
    start = context.baseline[first]

    def between(units: Tensor, share: float) -> Tensor:
        return torch.lerp(start, units, share)

    for k in range(steps):
        yield GradientPass(1 / steps, {first: partial(between, share=k / steps)})
