"""How much two partitions of the same nodes agree, and what labels look like.

A label of -1 says that a node belongs to no part; such nodes are left out of every comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Labels = npt.NDArray[np.int32]
Counts = npt.NDArray[np.float64]


def adjusted_rand(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Adjusted Rand index of two partitions (Hubert & Arabie 1985).

    1 for equal partitions, 0 on average for independent ones with the same part sizes.

    Parameters
    ----------
    first, second
        Labels, int [n]; nodes labelled -1 in either are left out.

    Raises
    ------
    ValueError
        If the two have different lengths.
    """
    table = contingency(first, second)
    together = _pairs(table).sum()
    rows, columns = _pairs(table.sum(axis=1)).sum(), _pairs(table.sum(axis=0)).sum()
    every = _pairs(table.sum())
    expected = rows * columns / every if every else 0.0
    most = (rows + columns) / 2
    # Both partitions are one part, or both all singletons: they are equal.
    return 1.0 if most == expected else float((together - expected) / (most - expected))


def adjusted_mutual_information(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Mutual information of two partitions, adjusted for chance, over the mean entropy (Vinh et al. 2010).

    Parameters as for `adjusted_rand`.
    """
    from sklearn.metrics import adjusted_mutual_info_score

    a, b = _common(first, second)
    return float(adjusted_mutual_info_score(a, b)) if len(a) else 1.0


def variation_of_information(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """H(first | second) + H(second | first) in nats (Meila 2007): a metric, 0 for equal partitions.

    Parameters as for `adjusted_rand`.
    """
    share = contingency(first, second)
    total = share.sum()
    if not total:
        return 0.0
    share = share / total
    joint = _entropy(share.ravel())
    return max(0.0, 2 * joint - _entropy(share.sum(axis=1)) - _entropy(share.sum(axis=0)))


def element_centric(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Element-centric similarity of two partitions (Gates, Wood, Hetrick & Ahn 2019): 1 for equal ones, above 0.

    A node's affinity to others is that of a random walk inside its part; the similarity is 1 minus half the
    distance of its two affinities, averaged over nodes. For partitions that is the mean over nodes of
    |overlap of its two parts| / |the larger of them|, whatever the walk's restarts. Not adjusted for chance.

    Parameters as for `adjusted_rand`.
    """
    table = contingency(first, second)
    total = table.sum()
    if not total:
        return 1.0
    larger = np.maximum(table.sum(axis=1)[:, None], table.sum(axis=0)[None, :])
    return float((table * table / larger).sum() / total)


MEASURES: dict[str, Callable[[npt.ArrayLike, npt.ArrayLike], float]] = {
    "adjusted_rand": adjusted_rand,
    "adjusted_mutual_information": adjusted_mutual_information,
    "variation_of_information": variation_of_information,
    "element_centric": element_centric,
}
"""Measures of agreement by name; the variation of information is a distance."""


def compare_partitions(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    within: npt.ArrayLike | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Agreement of two partitions, each measure against relabelled nodes.

    Parameters
    ----------
    first, second
        Labels, int [n]; nodes labelled -1 in either are left out.
    within
        int [n]; nodes change places only with nodes of the same value. For partitions of a layered graph: the
        levels, since two partitions that both follow depth agree for that reason alone.
    n_permutations
        Relabellings of `second`, at least 1.
    seed
        Of the relabellings.

    Returns
    -------
    DataFrame
        One row a measure: measure, value, null_mean, null_sd, z, p (one-sided, for more agreement than by chance:
        (1 + #{as much}) / (R + 1)), n_permutations. z is NaN where no relabelling changes anything.
    """
    import pandas as pd

    if n_permutations < 1:
        raise ValueError(f"n_permutations must be at least 1, not {n_permutations}")
    a, b = _common(first, second)
    strata = np.zeros(len(np.asarray(first)), np.int64) if within is None else np.asarray(within)
    if strata.shape != np.asarray(first).shape:
        raise ValueError(f"within must have one value a node, not shape {strata.shape}")
    strata = strata[(np.asarray(first) >= 0) & (np.asarray(second) >= 0)]
    rng = np.random.default_rng(seed)
    home = np.argsort(strata, kind="stable")
    drawn = []
    for _ in range(n_permutations):
        moved = np.empty_like(b)
        moved[home] = b[np.lexsort((rng.random(len(b)), strata))]
        drawn.append([measure(a, moved) for measure in MEASURES.values()])
    rows = [
        {"measure": name, "value": measure(a, b), **_against(measure(a, b), np.array(nulls), name)}
        for (name, measure), nulls in zip(MEASURES.items(), zip(*drawn, strict=True), strict=True)
    ]
    return pd.DataFrame(rows).assign(n_permutations=n_permutations)


def _against(value: float, nulls: Counts, name: str) -> dict[str, float]:
    spread = float(nulls.std(ddof=1)) if len(nulls) > 1 else float("nan")
    sign = -1 if name == "variation_of_information" else 1
    as_much = int((sign * nulls >= sign * value - 1e-12).sum())
    z = (value - float(nulls.mean())) / spread if spread > 1e-12 else float("nan")
    return {"null_mean": float(nulls.mean()), "null_sd": spread, "z": z, "p": (1 + as_much) / (len(nulls) + 1)}


def mean_agreement(partitions: Sequence[npt.ArrayLike]) -> float:
    """Mean adjusted Rand index over all pairs of partitions; NaN for fewer than two."""
    values = [adjusted_rand(a, b) for a, b in combinations(partitions, 2)]
    return float(np.mean(values)) if values else float("nan")


def contingency(first: npt.ArrayLike, second: npt.ArrayLike) -> Counts:
    """Number of nodes in each part of `first` (rows) and of `second` (columns)."""
    a, b = _common(first, second)
    rows, a = np.unique(a, return_inverse=True)
    columns, b = np.unique(b, return_inverse=True)
    table = np.zeros((len(rows), len(columns)))
    np.add.at(table, (a, b), 1)
    return table


def canonical(labels: npt.ArrayLike) -> Labels:
    """The same partition with parts numbered by their first node; -1 stays -1."""
    given = np.asarray(labels)
    result = np.full(given.shape, -1, dtype=np.int32)
    live = given >= 0
    _, first, inverse = np.unique(given[live], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    result[live] = rank[inverse]
    return result


def n_parts(labels: npt.ArrayLike) -> int:
    """Number of parts, -1 not counted."""
    given = np.asarray(labels)
    return len(np.unique(given[given >= 0]))


def _common(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"two partitions of the same nodes are needed, not of shapes {a.shape} and {b.shape}")
    live = (a >= 0) & (b >= 0)
    return a[live], b[live]


def _pairs(counts: npt.ArrayLike) -> Counts:
    values = np.asarray(counts, dtype=np.float64)
    return values * (values - 1) / 2


def _entropy(share: Counts) -> float:
    positive = share[share > 0]
    return float(-(positive * np.log(positive)).sum())
