"""Every class or task without the regions of one, or with them alone, for several divisions into regions.

Which one a region serves is found on some of the examples, what it does on the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from compgraph.attribution.some import SomeItems
from compgraph.data.holding_out import held_out as rows_held_out
from compgraph.errors import DataError
from compgraph.evaluation.block_ablation import Among, block_ablation
from compgraph.evaluation.class_ablation import divided_sites
from compgraph.evaluation.profiles import NONE, Labels, Sign
from compgraph.evaluation.separability import task_separability
from compgraph.evaluation.trials.block_ablation import BOUNDED
from compgraph.evaluation.trials.trial import Given, Outcome
from compgraph.partition import Partition
from compgraph.rois.signals import n_regions


def run(
    given: Given,
    *,
    held_out: float,
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
    """Tables `tasks` and `selectivity` (`BlockAblation`), with the column `partition`.

    The same sites are ablated whatever the division: those that one of them divides.
    """
    if not given.partitions:
        raise DataError("region ablation needs regions (--input rois.NAME=MANIFEST)")
    pairs = given.pairs
    out = rows_held_out(pairs, held_out)
    chosen = SomeItems(given.the_attributions, ~out) if held_out else given.the_attributions
    held = pairs.subset(np.flatnonzero(out)) if held_out else pairs
    sites = divided_sites(given.net, list(given.partitions.values()), given.the_attributions)
    made = given.baseline(baseline, held, seed)
    found: dict[str, list[pd.DataFrame]] = {"tasks": [], "selectivity": []}
    idle, servings = [], {}
    for name, partition in given.partitions.items():
        regions = _regions(partition, sites)
        serving = task_separability(
            chosen, partition, pairs.task, regions, sign=sign, n_permutations=0, seed=seed
        ).serving(least)
        one = block_ablation(
            given.net, partition, held, regions, serving, metrics=metrics, baseline=made, among=among, n_null=n_null,
            n_bootstrap=n_bootstrap, batch_size=batch_size, seed=seed,
        )  # fmt: skip
        found["tasks"].append(one.table.assign(partition=name))
        found["selectivity"].append(one.selectivity.assign(partition=name))
        idle += [f"no region of {name} serves {task}" for task, own in serving.items() if not own]
        servings[name] = {task: len(own) for task, own in serving.items()}
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}
    summary = {"sites": sites, "regions_serving": servings}
    return Outcome(tables, _verdict(tables["selectivity"], metrics[0]), summary, tuple(idle))


def _regions(partition: Partition, sites: Sequence[str]) -> Labels:
    """The number of every region at one of some sites, by itself; -1 for all other nodes."""
    labels = np.full(partition.n_nodes, NONE)
    for site in sites:
        first = partition.node_slice(site).start
        regions = np.arange(first, first + n_regions(partition, site))
        labels[regions] = regions
    inside = labels != NONE
    labels[inside] = np.arange(inside.sum())
    return labels


def _verdict(selectivity: pd.DataFrame, metric: str) -> str:
    of = "value" if metric in BOUNDED else "faithfulness"
    rows = selectivity[(selectivity["metric"] == metric) & (selectivity["of"] == of)]
    values = rows.set_index(["partition", "mode"])["value"]
    said = "; ".join(
        f"{name} {values[name, 'removed']:.2f} and {values[name, 'kept']:.2f}"
        for name in rows["partition"].drop_duplicates()
    )
    what = metric.replace("_", " ")
    return f"Regions of a class concern its own {what} more than others', removed and alone kept: {said}."
