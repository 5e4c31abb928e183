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
from pathlib import Path

from compgraph.connectivity.blockwise.score_matrix import ScoreMatrix
from compgraph.connectivity.effective.grad_drop import GradDropScorer, example_by_example
from compgraph.connectivity.effective.large import all_or_strongest
from compgraph.connectivity.effective.passes import GradientPass, PassContext, Scorer
from compgraph.connectivity.effective.qk_fix import PatternScorer
from compgraph.connectivity.effective.setting import Setting
from compgraph.graph import ComputationalGraph


def compute(
    setting: Setting,
    *,
    qk_fix: bool = False,
    grad_drop: bool = False,
    keep: int = 0,
    keep_overall: int = 0,
    matrix: ScoreMatrix | str | Path | None = None,
) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    qk_fix, grad_drop
        See above; scores are then not signed (`grad_drop`).
    keep, keep_overall, matrix
        Where only the strongest edges are wanted, or all in a file; see `compgraph.connectivity.effective.large`.

    Raises
    ------
    ModelError, GraphError
        A correction that the network or the partition does not allow.
    """
    ends = setting.net, setting.partition, setting.split_qkv
    scorer: Scorer | None = PatternScorer(*ends) if qk_fix else None
    dropping = GradDropScorer(*ends, scorer, setting.recompute) if grad_drop else None
    if dropping is not None:
        setting = example_by_example(setting, dropping.inner)
    used = {"qk_fix": qk_fix, "grad_drop": grad_drop}
    return all_or_strongest(
        setting,
        clean_gradient,
        method="eap",
        keep=keep,
        keep_overall=keep_overall,
        matrix=matrix,
        scorer=dropping or scorer,
        fold=None if dropping is None else dropping.fold,
        attributes={name: True for name, value in used.items() if value},
    )


def clean_gradient(context: PassContext) -> Iterator[GradientPass]:
    """The clean run alone."""
    yield GradientPass()
