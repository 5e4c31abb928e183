"""Edge attribution patching: the gradient at the clean run.

Score of u -> v: change of u's write (baseline - clean) times the gradient of the metric at v's input in the
clean run, summed over positions, averaged over examples (Nanda 2023; Syed et al. 2023, arXiv 2310.10348;
conventions of design.md, section 9). A first-order estimate of the metric's change when the edge alone is
ablated: positive means that ablating the edge raises the metric.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.passes import GradientPass, PassContext
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import NEEDS_REFERENCE
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
    """See `compgraph.effective_connectivity`.

    Raises
    ------
    DataError
        A metric that compares with the clean run: its gradient there is zero, and so would every score be.
    """
    if metric in NEEDS_REFERENCE:
        raise DataError(f"metric {metric!r} is at its minimum in the clean run, so that eap would score every edge 0")
    return attribute(
        net,
        pairs,
        partition,
        clean_gradient,
        method="eap",
        metric=metric,
        baseline=baseline,
        split_qkv=split_qkv,
        batch_size=batch_size,
    )


def clean_gradient(context: PassContext) -> Iterator[GradientPass]:
    """The clean run alone."""
    yield GradientPass()
