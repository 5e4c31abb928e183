"""Every task without the blocks of each task, and with them alone.

Which task a block serves is found on the examples that the graph was made from, what it does on those held out.
"""

from __future__ import annotations

from collections.abc import Sequence

from compgraph.evaluation.block_ablation import Among, block_ablation
from compgraph.evaluation.profiles import Sign
from compgraph.evaluation.separability import task_separability
from compgraph.evaluation.trials.trial import Given, Outcome
from compgraph.evaluation.verdict import p_words

BOUNDED = ("accuracy", "probability", "reciprocal_rank")
"""Metrics between 0 and 1, which need no empty network to be compared."""


def run(
    given: Given,
    *,
    sign: Sign,
    least: float,
    metrics: Sequence[str],
    among: Among,
    n_null: int,
    n_bootstrap: int,
    baseline: str,
    batch_size: int | None,
    seed: int,
) -> Outcome:
    """Tables `tasks` and `selectivity` (`BlockAblation`)."""
    chosen, partition = given.attributions_of("chosen"), given.partition
    serving = task_separability(
        chosen, partition, given.pairs.task, given.blocks, sign=sign, n_permutations=0, seed=seed
    ).serving(least)
    held = given.examples("held-out")
    found = block_ablation(
        given.net, partition, held, given.blocks, serving, metrics=metrics,
        baseline=given.baseline(baseline, held, seed), among=among, n_null=n_null, n_bootstrap=n_bootstrap,
        batch_size=batch_size, seed=seed,
    )  # fmt: skip
    idle = tuple(f"no block serves {task}" for task, blocks in serving.items() if not blocks)
    of = "value" if metrics[0] in BOUNDED else "faithfulness"
    rows = found.selectivity
    rows = rows[(rows["metric"] == metrics[0]) & (rows["of"] == of)].set_index("mode")
    said = [
        f"where they are {mode} {rows.loc[mode, 'value']:.2f}"
        + (f" (random nodes {rows.loc[mode, 'null_mean']:.2f}, {p_words(rows.loc[mode, 'p'])})" if n_null else "")
        for mode in ("removed", "kept")
    ]
    verdict = f"Blocks of a task concern its own {metrics[0].replace('_', ' ')} more than others' by {', '.join(said)}."
    return Outcome({"tasks": found.table, "selectivity": found.selectivity}, verdict, {"serving": serving}, idle)
