"""Blocks that keep their number from one checkpoint to the next, and the flows between them.

Two partitions of the same nodes name their blocks independently. Neighbouring checkpoints are matched one to one so
that the largest number of nodes keeps its block (the assignment problem; Kuhn 1955). Labels dealt out at random
overlap too, so a matched block keeps its number only where its overlap is above chance; otherwise one block has ended
and another has begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import Labels, adjusted_rand, canonical

if TYPE_CHECKING:
    import pandas as pd

NONE = -1
"""Label of a node that is in no block."""
LEVEL = 0.05
"""Largest p at which two partitions count as alike."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AlignedBlocks:
    """Blocks over time: the same number is the same block.

    Attributes
    ----------
    labels
        int32 [T, n]; -1 where a node is in no block.
    flows
        One row for each pair of blocks of neighbouring partitions that share nodes: a, b (places in the sequence,
        b = a + 1), block_a, block_b, n (nodes they share). A node that is in no block has block -1.
    steps
        One row a pair of neighbours: a, b, overlap (share of the common nodes that keep their matched block),
        null_mean, null_low, null_high (of the overlap, labels dealt out anew; the central 95 %), p (one-sided), ari
        (adjusted Rand index), kept, born, ended (blocks).
    """

    labels: Labels
    flows: pd.DataFrame
    steps: pd.DataFrame


def align_blocks(
    partitions: Sequence[npt.ArrayLike],
    *,
    within: npt.ArrayLike | None = None,
    n_permutations: int = 199,
    seed: int = 0,
) -> AlignedBlocks:
    """Number the blocks of a sequence of partitions alike.

    Parameters
    ----------
    partitions
        Labels of the same n nodes, int [n] each, in order of time; -1 for a node in no block.
    within
        int [n]; the null deals labels out anew among nodes of the same value (levels, say).
    n_permutations
        Relabellings of each pair of neighbours, at least 19 (with fewer no p is 0.05).
    seed
        Of the relabellings.

    Notes
    -----
    A block keeps its number if the two partitions overlap more than relabelled ones (p <= 0.05) or are equal, and its
    own overlap (Jaccard index with its match) is above the mean of the relabelled ones.

    Raises
    ------
    ValueError
        No partition, different lengths, labels below -1, or too few permutations.
    """
    import pandas as pd

    given = _checked(partitions, n_permutations)
    strata = np.zeros(given.shape[1], np.int64) if within is None else np.asarray(within)
    if strata.shape != given.shape[1:]:
        raise ValueError(f"within must have one value a node ({given.shape[1]}), not shape {strata.shape}")
    rng = np.random.default_rng(seed)
    labels = given.copy()
    following = int(labels[0].max(initial=NONE)) + 1
    rows = []
    for at in range(1, len(given)):
        kept, row = _match(labels[at - 1], given[at], strata, n_permutations, rng)
        renamed = np.full(int(given[at].max(initial=NONE)) + 1, NONE, np.int32)
        for new in range(len(renamed)):
            renamed[new] = kept.get(new, following)
            following += new not in kept
        inside = given[at] != NONE
        labels[at, inside] = renamed[given[at][inside]]
        rows.append({"a": at - 1, "b": at, **row})
    return AlignedBlocks(labels, _flows(labels), pd.DataFrame(rows, columns=STEP_COLUMNS))


STEP_COLUMNS = (
    "a", "b", "overlap", "null_mean", "null_low", "null_high", "p", "ari", "kept", "born", "ended",
)  # fmt: skip


def _checked(partitions: Sequence[npt.ArrayLike], n_permutations: int) -> Labels:
    given = [np.asarray(labels) for labels in partitions]
    if not given:
        raise ValueError("align_blocks needs at least one partition")
    if any(labels.ndim != 1 or labels.shape != given[0].shape for labels in given):
        raise ValueError(f"partitions must be of the same nodes, not of shapes {[labels.shape for labels in given]}")
    if any((labels < NONE).any() for labels in given):
        raise ValueError("labels must be -1 (in no block) or a block's number")
    if n_permutations < 19:
        raise ValueError(f"n_permutations must be at least 19, not {n_permutations}")
    return np.stack([canonical(labels) for labels in given])


def _match(
    old: Labels, new: Labels, strata: npt.NDArray[np.int64], n_permutations: int, rng: np.random.Generator
) -> tuple[dict[int, int], dict[str, float]]:
    """New block -> old number, for blocks that are kept; and the row of this pair."""
    common = (old != NONE) & (new != NONE)
    names, a = np.unique(old[common], return_inverse=True)
    numbers, b = np.unique(new[common], return_inverse=True)
    total = int(common.sum())
    pairs, table = _assigned(a, b, len(names), len(numbers))
    overlap = sum(int(table[r, c]) for r, c in pairs) / max(1, total)
    null = np.zeros(n_permutations)
    chance = np.zeros(len(names))
    order = np.argsort(strata[common], kind="stable")
    for k in range(n_permutations):
        moved = np.empty_like(b)
        moved[order] = b[np.lexsort((rng.random(total), strata[common]))]
        drawn, drawn_table = _assigned(a, moved, len(names), len(numbers))
        null[k] = sum(int(drawn_table[r, c]) for r, c in drawn) / max(1, total)
        for r, c in drawn:
            chance[r] += _jaccard(drawn_table, r, c) / n_permutations
    p = (1 + int((null >= overlap - 1e-12).sum())) / (n_permutations + 1)
    equal = overlap == 1.0 and len(names) == len(numbers) and total > 0
    kept = {
        int(numbers[c]): int(names[r])
        for r, c in pairs
        if equal or (p <= LEVEL and table[r, c] and _jaccard(table, r, c) > chance[r])
    }
    n_old, n_new = len(np.unique(old[old != NONE])), len(np.unique(new[new != NONE]))
    low, high = np.quantile(null, [0.025, 0.975])
    row = {
        "overlap": overlap, "null_mean": float(null.mean()), "null_low": float(low), "null_high": float(high), "p": p,
        "ari": adjusted_rand(old, new), "kept": len(kept), "born": n_new - len(kept), "ended": n_old - len(kept),
    }  # fmt: skip
    return kept, row


def _assigned(
    a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], rows: int, columns: int
) -> tuple[list[tuple[int, int]], Counts]:
    """Pairs of blocks of the assignment that shares the most nodes, and how many each pair shares [rows, columns]."""
    from scipy.optimize import linear_sum_assignment

    table = np.bincount(a * columns + b, minlength=rows * columns).reshape(rows, columns)
    return list(zip(*(ends.tolist() for ends in linear_sum_assignment(table, maximize=True)), strict=True)), table


def _jaccard(table: Counts, row: int, column: int) -> float:
    shared = int(table[row, column])
    return shared / (int(table[row].sum()) + int(table[:, column].sum()) - shared)


def _flows(labels: Labels) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for at in range(1, len(labels)):
        ends, counts = np.unique(labels[at - 1 : at + 1], axis=1, return_counts=True)
        rows += [(at - 1, at, int(x), int(y), int(n)) for (x, y), n in zip(ends.T, counts, strict=True)]
    return pd.DataFrame(rows, columns=["a", "b", "block_a", "block_b", "n"])
