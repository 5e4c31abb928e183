"""Edge attribution patching: the gradient at the clean run.

Score of u -> v: change of u's write (baseline - clean) times the gradient of the metric at v's input in the
clean run, summed over positions, averaged over examples (Nanda 2023; Syed et al. 2023, arXiv 2310.10348;
conventions of design.md, section 9). A first-order estimate of the metric's change when the edge alone is
ablated: positive means that ablating the edge raises the metric.

Two corrections of AtP* (Kramár et al. 2024, arXiv 2403.00745), both for transformers:

- `qk_fix`: edges into queries and keys are scored by the exact change of the attention pattern
  (`compgraph.connectivity.effective.qk_fix`);
- `grad_drop`: mean absolute score over backward passes that skip a layer each
  (`compgraph.connectivity.effective.grad_drop`).

Cost: a forward and backward pass, and forward passes for the baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.grad_drop import GradDropScorer
from compgraph.connectivity.effective.passes import GradientPass, PassContext, Scorer
from compgraph.connectivity.effective.qk_fix import PatternScorer
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
    qk_fix: bool = False,
    grad_drop: bool = False,
) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    qk_fix, grad_drop
        See above; scores are then not signed (`grad_drop`).

    Raises
    ------
    DataError
        A metric that compares with the clean run: its gradient there is zero, and so would every score be.
    ModelError, GraphError
        A correction that the network or the partition does not allow.
    """
    check_metric(metric, "eap")
    scorer: Scorer | None = PatternScorer(net, partition, split_qkv) if qk_fix else None
    dropping = GradDropScorer(net, partition, split_qkv, scorer) if grad_drop else None
    used = {"qk_fix": qk_fix, "grad_drop": grad_drop}
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
        scorer=dropping or scorer,
        fold=None if dropping is None else dropping.fold,
        attributes={name: True for name, value in used.items() if value},
    )


def check_metric(metric: str, method: str) -> None:
    """Refuse a metric whose gradient in the clean run is zero."""
    if metric in NEEDS_REFERENCE:
        raise DataError(
            f"metric {metric!r} is at its minimum in the clean run, so that {method} would score every edge 0"
        )


def clean_gradient(context: PassContext) -> Iterator[GradientPass]:
    """The clean run alone."""
    yield GradientPass()
