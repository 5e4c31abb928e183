"""Gradients averaged over the clean and the baseline run.

Like `eap`, with the gradient at v's input averaged over the clean run and the run whose input is the baseline's
(the corrupted prompt): the trapezoid rule with two points along the path between the two (`clean-corrupted` of
the EAP-IG package; conventions of design.md, section 9). Two forward and two backward passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from compgraph.connectivity.blockwise.score_matrix import ScoreMatrix
from compgraph.connectivity.effective.large import all_or_strongest
from compgraph.connectivity.effective.passes import GradientPass, PassContext
from compgraph.connectivity.effective.setting import Setting
from compgraph.graph import ComputationalGraph


def compute(
    setting: Setting, *, keep: int = 0, keep_overall: int = 0, matrix: ScoreMatrix | str | Path | None = None
) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    keep, keep_overall, matrix
        Where only the strongest edges are wanted, or all in a file; see `compgraph.connectivity.effective.large`.
    """
    return all_or_strongest(
        setting, both_ends, method="clean-corrupted", keep=keep, keep_overall=keep_overall, matrix=matrix
    )


def both_ends(context: PassContext) -> Iterator[GradientPass]:
    """The clean run and the run from the baseline's input."""
    first = context.first_site
    yield GradientPass(0.5)
    yield GradientPass(0.5, {first: lambda _: context.baseline[first]})
