"""Where two datasets differ in their correlations, tested by permuting items between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.memory import check_bytes
from compgraph.connectivity.functional.moments import SILENT
from compgraph.connectivity.functional.pairs import graph_of_pairs, judged, upper
from compgraph.connectivity.functional.recordings import Pool, Recording
from compgraph.connectivity.functional.setting import Setting, check_two
from compgraph.connectivity.functional.signals import Matrix
from compgraph.connectivity.functional.significance import ALMOST_ONE
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.progress import track


def functional_contrast(
    a: Recording | Sequence[Recording],
    b: Recording | Sequence[Recording],
    partition: Partition,
    *,
    n_permutations: int = 999,
    seed: int = 0,
    **options: Any,
) -> ComputationalGraph:
    """Difference of correlations between two datasets.

    Parameters
    ----------
    a, b
        Buffers of one network over two datasets.
    partition
        The nodes. A signal is the mean of its units, standardised over both datasets together.
    n_permutations
        Random divisions of all items into two groups of the datasets' numbers of items. Rows of one item stay together,
        so that their dependence does no harm.
    seed
        Of the divisions.
    options
        `sites`, `positions`, `confounds`, `winsorise`, `level`, `correction`, `threshold`, as for
        `functional_connectivity`.

    Returns
    -------
    ComputationalGraph
        Weight r_a - r_b, with the columns `r_a`, `r_b`, `p` (two-sided, of the difference of Fisher's z) and
        `p_adjusted`. With R permutations no p is below 1 / (R + 1).

    Raises
    ------
    DataError
        Too few items or rows, signals that do not fit into memory, or what `functional_connectivity` refuses.

    Notes
    -----
    Exchangeable items are the null: the datasets differ in nothing. A difference in mean is no difference here, since
    every group is centred on its own mean.
    """
    return compute(Setting(a, partition, **options), against=b, n_permutations=n_permutations, seed=seed)


def compute(
    setting: Setting,
    *,
    against: Recording | Sequence[Recording] | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> ComputationalGraph:
    """The same as a method of `compgraph.functional_connectivity`: its buffers less those of `against`.

    Raises
    ------
    DataError
        There is nothing to compare with; what `functional_contrast` refuses.
    """
    if against is None:
        raise DataError("functional: a contrast needs against, the buffers of the other dataset")
    if setting.part == "between":
        raise DataError("functional: a contrast permutes items; part 'between' has none")
    if n_permutations < 1:
        raise DataError(f"functional: n_permutations is {n_permutations}; it must be at least 1")
    first = Pool.of(setting.buffers).buffers
    setting = replace(setting, buffers=[*first, *Pool.of(against).buffers])
    prepared = setting.prepare()
    signals = prepared.signals
    what = f"permuting the signals of {len(signals.nodes)} nodes over {signals.n_rows} rows needs"
    check_bytes(3 * signals.n_rows * len(signals.nodes) * 8, what, "use a coarser partition or fewer sites")
    values = signals.all()
    in_first = signals.pool.column("buffer")[signals.row_numbers] < len(first)
    _, item = np.unique(prepared.item, return_inverse=True)
    owner = np.zeros(int(item.max()) + 1, dtype=bool)
    owner[item[in_first]] = True
    if min(owner.sum(), (~owner).sum()) < 2:
        raise DataError(
            f"functional: the datasets have {int(owner.sum())} and {int((~owner).sum())} items; a contrast needs at "
            "least 2 in both"
        )
    varies = np.minimum(values[in_first].var(axis=0), values[~in_first].var(axis=0)) > SILENT * signals.scale**2
    check_two(signals.nodes[varies], prepared.sites, "signals in both datasets")
    values = values[:, varies]
    source, target = upper(values.shape[1])
    r = [_correlations(values[group])[source, target] for group in (in_first, ~in_first)]
    observed = np.abs(_fisher(r[0]) - _fisher(r[1]))
    p = _permuted(values, item, owner, (source, target), observed, n_permutations, seed)
    adjusted, found = judged(setting, p)
    about = {
        "n_permutations": n_permutations,
        "seed": seed,
        "rows_of_each": [int(in_first.sum()), int((~in_first).sum())],
        "items_of_each": [int(owner.sum()), int((~owner).sum())],
    } | found
    columns: dict[str, npt.NDArray[Any]] = {"r_a": r[0], "r_b": r[1], "p": p, "p_adjusted": adjusted}
    return graph_of_pairs(
        prepared,
        "contrast",
        signals.nodes[varies],
        source,
        target,
        r[0] - r[1],
        columns,
        about | {"samples": "items"},
    )


def _permuted(
    values: Matrix,
    item: npt.NDArray[np.int64],
    owner: npt.NDArray[np.bool_],
    pairs: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    observed: Matrix,
    n_permutations: int,
    seed: int,
) -> Matrix:
    """p of each pair: how often a random division of the items differs as much as the datasets do."""
    reached = np.ones(len(observed))
    rng = np.random.default_rng(seed)
    for _ in track(range(n_permutations), "permutations"):
        group = rng.permutation(owner)[item]
        first, second = (_fisher(_correlations(values[rows])[pairs]) for rows in (group, ~group))
        reached += np.abs(first - second) >= observed - 1e-12
    return reached / (n_permutations + 1)


def _correlations(values: Matrix) -> Matrix:
    centred = values - values.mean(axis=0)
    norm = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    norm[norm == 0] = np.inf
    centred /= norm
    products: Matrix = centred.T @ centred
    return products


def _fisher(r: Matrix) -> Matrix:
    z: Matrix = np.arctanh(np.clip(r, -ALMOST_ONE, ALMOST_ONE))
    return z
