"""Whether tasks use different blocks."""

from __future__ import annotations

from compgraph.evaluation.profiles import Sign
from compgraph.evaluation.separability import Weigh, task_separability
from compgraph.evaluation.trials.trial import Given, Outcome
from compgraph.evaluation.verdict import p_words


def run(given: Given, *, sign: Sign, weigh: Weigh, n_permutations: int, seed: int) -> Outcome:
    """Tables `shares`, `blocks` and `index` (`Separability`)."""
    found = task_separability(
        given.the_attributions, given.partition, given.pairs.task, given.blocks, sign=sign, weigh=weigh,
        n_permutations=n_permutations, seed=seed,
    )  # fmt: skip
    tables = {"shares": found.shares, "blocks": found.blocks, "index": found.to_table()}
    what = ("node" if given.blocks is None else "block") + ("" if len(found.blocks) == 1 else "s")
    if found.reason:
        return Outcome(tables, f"Separability is undefined: {found.reason}.", notes=(found.reason,))
    said = f"{len(found.tasks)} tasks over {len(found.blocks)} {what}: separability {found.index:.3f}"
    if n_permutations:
        apart = int((found.blocks["q"] <= 0.05).sum())
        said += (
            f", {found.null_mean:.3f} where tasks are shuffled ({p_words(found.p)}); {apart} of {len(found.blocks)}"
            f" {what} more specific than chance"
        )
    return Outcome(tables, said + ".", {"index": found.index, "adjusted": found.adjusted, "p": found.p})
