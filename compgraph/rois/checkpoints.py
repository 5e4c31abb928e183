"""Whether regions of one checkpoint are those of the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.communities.agreement import compare_partitions
from compgraph.errors import DataError
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.partition import DEAD, Partition
from compgraph.rois.signals import n_regions
from compgraph.rois.stability import labels_divided

if TYPE_CHECKING:
    import pandas as pd

SHORT = {"adjusted_rand": "ari", "adjusted_mutual_information": "ami", "variation_of_information": "vi"}
"""Measures of agreement, and their names in tables of regions."""
NEXT, LAST = "next", "last"
COLUMNS = (
    "site", "first", "second", "against", "n_first", "n_second", "n_units", "measure", "value", "null_mean", "null_sd",
    "z", "p", "q",
)  # fmt: skip


def roi_agreement(
    partitions: Mapping[str, Partition],
    sites: Sequence[str] | None = None,
    *,
    n_permutations: int = 199,
    seed: int = 0,
) -> pd.DataFrame:
    """How much regions of neighbouring checkpoints agree, and those of each checkpoint with the last one's.

    Parameters
    ----------
    partitions
        Checkpoint -> its regions, in the order of training; the same division at each of them.
    sites
        Which are compared; None for those that all checkpoints have and one of them at least divides.
    n_permutations, seed
        Relabellings of units behind the null: two divisions of the same sizes that have nothing to do with each other.

    Returns
    -------
    DataFrame
        One row a site, pair of checkpoints and measure: site, first, second (checkpoints), against (`next`: of
        neighbours, `last`: with the last one; the last pair is both), n_first, n_second (regions), n_units (alive at
        both), measure (`ari`: adjusted Rand index; `ami`: adjusted mutual information; `vi`: variation of information,
        nats, 0 for equal divisions), value, null_mean, null_sd, z, p (one-sided, for more agreement than by chance;
        NaN without permutations), q (p adjusted over the rows of a measure and `against`).

    Raises
    ------
    DataError
        Fewer than two checkpoints, a site that one of them lacks, sites with different numbers of units.
    """
    import pandas as pd

    names = list(partitions)
    if len(names) < 2:
        raise DataError(f"rois: neighbouring checkpoints are compared, and there are {len(names)}; give at least 2")
    chosen = _sites(partitions) if sites is None else list(sites)
    _check(partitions, chosen)
    pairs = [(a, b, NEXT) for a, b in pairwise(names)]
    pairs += [(a, names[-1], LAST) for a in names[:-1]]
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    rows = []
    for site in chosen:
        for a, b, against in pairs:
            if (site, a, b) not in found:
                found[site, a, b] = _compared(partitions[a], partitions[b], site, n_permutations, seed)
            rows += [{"site": site, "first": a, "second": b, "against": against, **row} for row in found[site, a, b]]
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    adjusted = table.groupby(["measure", "against"], sort=False)["p"].transform(
        lambda p: benjamini_hochberg(p.to_numpy(np.float64))
    )
    return table.assign(q=adjusted.astype(np.float64))


def _sites(partitions: Mapping[str, Partition]) -> list[str]:
    first, *others = partitions.values()
    shared = [site for site in first.sites if all(site in one.labels for one in others)]
    return [site for site in shared if any(n_regions(one, site) > 1 for one in partitions.values())]


def _check(partitions: Mapping[str, Partition], sites: Sequence[str]) -> None:
    for site in sites:
        sizes = {name: len(one.labels[site]) if site in one.labels else 0 for name, one in partitions.items()}
        if lacking := [name for name, size in sizes.items() if not size]:
            raise DataError(f"rois: the division of checkpoint {lacking[0]!r} has no site {site!r}")
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise DataError(f"rois: site {site!r} has different numbers of units at these checkpoints: {listed}")


def _compared(
    first: Partition, second: Partition, site: str, n_permutations: int, seed: int
) -> list[dict[str, Any]]:
    a, b = labels_divided(first, site), labels_divided(second, site)
    live = (a != DEAD) & (b != DEAD)
    about = {"n_first": n_regions(first, site), "n_second": n_regions(second, site), "n_units": int(live.sum())}
    table = compare_partitions(a, b, n_permutations=max(1, n_permutations), seed=seed)
    if not n_permutations:
        table[["null_mean", "null_sd", "z", "p"]] = np.nan
    kept = table[table["measure"].isin(SHORT)].drop(columns="n_permutations")
    return [about | row | {"measure": SHORT[row["measure"]]} for row in kept.to_dict("records")]
