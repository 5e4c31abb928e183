"""Accuracy with a growing share of regions removed, or alone kept, against random regions of equal sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from compgraph.errors import DataError
from compgraph.evaluation.class_ablation import Order, Rank, class_ablation, random_partition
from compgraph.evaluation.trials.trial import Given, Outcome
from compgraph.partition import Partition
from compgraph.rois.signals import n_regions

STATED = 0.1
"""The share of regions that the verdict is about."""


def run(
    given: Given,
    *,
    shares: Sequence[float],
    order: Order,
    rank: Rank,
    n_random: int,
    n_bootstrap: int,
    baseline: str,
    batch_size: int | None,
    seed: int,
) -> Outcome:
    """Table `accuracy` (`ClassAblation`)."""
    if not given.partitions:
        raise DataError("class ablation needs regions (--input rois.NAME=MANIFEST)")
    if not given.the_attributions.item.size:
        raise DataError("class ablation needs attributions of all examples; these are of none")
    lines: dict[str, Partition | Sequence[Partition]] = dict(given.partitions)
    lines |= _random(given.partitions, n_random, seed)
    found = class_ablation(
        given.net, lines, given.pairs, given.the_attributions, shares=shares, order=order, rank=rank,
        baseline=given.baseline(baseline, given.pairs, seed), n_bootstrap=n_bootstrap, batch_size=batch_size, seed=seed,
    )  # fmt: skip
    table = found.table[found.table["class"] == "all"]
    share = float(shares[int(np.abs(np.array(shares) - STATED).argmin())])
    rows = table[table["share"] == share].set_index(["partition", "mode"])["accuracy"]
    said = "; ".join(f"{name} {rows[name, 'removed']:.2f} and {rows[name, 'kept']:.2f}" for name in lines)
    whole = float(table["model"].iloc[0])
    verdict = f"Accuracy without {share:.0%} of the regions, and with them alone ({whole:.2f} in full): {said}."
    return Outcome({"accuracy": found.table}, verdict.replace("%", " %"), {"sites": found.attributes["sites"]})


def _random(partitions: Mapping[str, Partition], n: int, seed: int) -> dict[str, list[Partition]]:
    """Random regions for each division; divisions with regions of the same sizes share theirs."""
    by_sizes: dict[tuple[tuple[str, tuple[int, ...]], ...], list[str]] = {}
    for name, partition in partitions.items():
        by_sizes.setdefault(_sizes(partition), []).append(name)
    alone = len(by_sizes) == 1
    return {
        "random" if alone else f"random like {', '.join(names)}": [
            random_partition(partitions[names[0]], seed=seed + draw) for draw in range(n)
        ]
        for names in by_sizes.values()
        if n
    }


def _sizes(partition: Partition) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Sizes of the regions of every site that has several."""
    counts = {site: partition.part_sizes(site)[: n_regions(partition, site)] for site in partition.sites}
    return tuple((site, tuple(sorted(sizes.tolist()))) for site, sizes in counts.items() if len(sizes) > 1)
