"""Gradients averaged over the clean and the baseline run.

Like `eap`, with the gradient at v's input averaged over the clean run and the run whose input is the baseline's
(the corrupted prompt): the trapezoid rule with two points along the path between the two (`clean-corrupted` of
the EAP-IG package; conventions of design.md, section 9). Two forward and two backward passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.passes import GradientPass, PassContext
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
) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`."""
    return attribute(
        net,
        pairs,
        partition,
        both_ends,
        method="clean-corrupted",
        metric=metric,
        baseline=baseline,
        split_qkv=split_qkv,
        batch_size=batch_size,
    )


def both_ends(context: PassContext) -> Iterator[GradientPass]:
    """The clean run and the run from the baseline's input."""
    first = context.first_site
    yield GradientPass(0.5)
    yield GradientPass(0.5, {first: lambda _: context.baseline[first]})
