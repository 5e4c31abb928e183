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
from pathlib import Path

import torch
from torch import Tensor

from compgraph.connectivity.blockwise.score_matrix import ScoreMatrix
from compgraph.connectivity.effective.grad_drop import GradDropScorer, example_by_example
from compgraph.connectivity.effective.large import all_or_strongest
from compgraph.connectivity.effective.passes import GradientPass, PassContext
from compgraph.connectivity.effective.setting import Setting
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph


def compute(
    setting: Setting,
    *,
    steps: int = 5,
    grad_drop: bool = False,
    keep: int = 0,
    keep_overall: int = 0,
    matrix: ScoreMatrix | str | Path | None = None,
) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    steps
        m, at least 1.
    grad_drop
        See above.
    keep, keep_overall, matrix
        Where only the strongest edges are wanted, or all in a file; see `compgraph.connectivity.effective.large`.
    """
    if steps < 1:
        raise DataError(f"eap-ig-inputs: steps is {steps}; it must be at least 1")
    ends = setting.net, setting.partition, setting.split_qkv
    dropping = GradDropScorer(*ends, recompute=setting.recompute) if grad_drop else None
    if dropping is not None:
        setting = example_by_example(setting, dropping.inner)
    return all_or_strongest(
        setting,
        partial(along_the_input, steps=steps),
        method="eap-ig-inputs",
        keep=keep,
        keep_overall=keep_overall,
        matrix=matrix,
        scorer=dropping,
        fold=None if dropping is None else dropping.fold,
        attributes={"steps": steps} | ({"grad_drop": True} if grad_drop else {}),
    )


def along_the_input(context: PassContext, steps: int) -> Iterator[GradientPass]:
    """Runs from inputs between the baseline's and the clean one."""
    first = context.first_site
    start = context.baseline[first]
    del context  # the units of all other sites with it

    def between(units: Tensor, share: float) -> Tensor:
        return torch.lerp(start, units, share)

    for k in range(steps):
        yield GradientPass(1 / steps, {first: partial(between, share=k / steps)})
