"""Task separability: do different tasks use different blocks?

Take a mixture of tasks. Every example i spreads its attribution over the blocks, x_i(b) >= 0 with sum over b = 1. Of
the T tasks, each counts alike:

    P(b | t) = mean of x_i(b) over the examples of task t
    P(t | b) = P(b | t) / sum over t' of P(b | t')          the share of block b's attribution by task
    P(b)     = mean of P(b | t) over the tasks              the block's weight

    index = sum over b of P(b) (1 - H(P(t | b)) / log T)

1 - H / log T is the block's *specificity*. The index is the mutual information between block and task in units of its
maximum, log T: 0 if and only if all tasks spread alike, 1 if and only if no two share a block.

Finite samples make it larger than 0 where tasks do not differ, and the more so the more blocks there are. Its null
shuffles the tasks over the examples; `adjusted` is (index - null mean) / (1 - null mean), 0 on average under the null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from compgraph.attribution.scores import Attributed
from compgraph.errors import DataError
from compgraph.evaluation.intervals import Floats, band, tail_p
from compgraph.evaluation.profiles import Labelled, Sign, block_profiles, node_blocks, tasks_of
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.partition import Partition
from compgraph.progress import track

if TYPE_CHECKING:
    import pandas as pd

Weigh = Literal["examples", "attribution"]
NULLS_AT_ONCE = 32
"""Permutations that share one matrix product."""


@dataclass(frozen=True)
class Separability:
    """How far tasks use different blocks.

    Attributes
    ----------
    index
        Between 0 (all alike) and 1 (no block shared); NaN with one task.
    adjusted
        Index beyond chance: 0 on average under the null, 1 at most.
    null_mean, null_sd, low, high
        Of the null's indices; `low` and `high` hold 95 % of them.
    p
        (1 + number of nulls >= index) / (R + 1).
    shares
        One row a block and task: block, task, share (P(t | b), NaN for a block without attribution), of_task
        (P(b | t)).
    blocks
        One row a block: block, name (of its node, where blocks are nodes, else the block's number), n_nodes, weight
        (P(b)), specificity, task (of the largest share, "" without attribution), null_mean and p (of the specificity),
        q (p adjusted over blocks, Benjamini & Hochberg 1995).
    attributes
        How it was made: sign, weigh, n_permutations, seed, n_examples, n_silent (examples without any attribution,
        left out), tasks and their numbers of examples.
    reason
        Why the index is NaN, else "".
    """

    index: float
    adjusted: float
    null_mean: float
    null_sd: float
    low: float
    high: float
    p: float
    shares: pd.DataFrame
    blocks: pd.DataFrame
    attributes: dict[str, Any]
    reason: str = ""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, sorted."""
        return tuple(self.attributes["tasks"])

    def to_table(self) -> pd.DataFrame:
        """One row: everything but the tables of shares and blocks."""
        import pandas as pd

        names = ("index", "adjusted", "null_mean", "null_sd", "low", "high", "p", "reason")
        numbers = {name: getattr(self, name) for name in names}
        return pd.DataFrame([numbers | {k: v for k, v in self.attributes.items() if k != "tasks"}])

    def serving(self, least: float = 0.0) -> dict[str, list[int]]:
        """The blocks that serve each task most: task -> numbers of blocks, empty where none does.

        Parameters
        ----------
        least
            Smallest share P(t | b) at which a block counts as serving the task; others serve none.
        """
        top = self.shares.loc[self.shares.groupby("block")["share"].idxmax().dropna()]
        top = top[top["share"] >= least]
        return {task: top.loc[top["task"] == task, "block"].tolist() for task in self.tasks}


def task_separability(
    attributions: Attributed,
    partition: Partition,
    tasks: Sequence[str] | NDArray[Any],
    blocks: Labelled | ArrayLike | None = None,
    *,
    sign: Sign = "abs",
    weigh: Weigh = "examples",
    n_permutations: int = 999,
    seed: int = 0,
) -> Separability:
    """Task separability of blocks of nodes (see above).

    Parameters
    ----------
    attributions
        Of `node_attributions` or `record_attributions`, of the whole mixture.
    partition
        Its nodes.
    tasks
        The task of every example of the data: `pairs.task`.
    blocks
        `BlockModel`, `Communities`, or int [n_nodes] with -1 for nodes in no block; None: every node by itself.
    sign
        `abs`: sizes of node attributions; `support`: only what supports doing well; `against`: only the rest.
    weigh
        `examples`: each counts alike, as above. `attribution`: P(b | t) is the block's share of all of the task's
        attribution, so that examples with more of it count more.
    n_permutations
        Shuffles of the tasks; 0 for no null.
    seed
        Of the shuffles.

    Raises
    ------
    DataError, GraphError
        Words not known, tasks missing, no attribution at all, or blocks that do not fit.

    Notes
    -----
    One pass over the attributions. Memory is that of a chunk, and of a number per example and block.
    """
    labels = node_blocks(partition, blocks)
    profiles = block_profiles(attributions, partition, labels, sign)
    n_blocks = profiles.shape[1]
    names = partition.node_names if blocks is None else [str(block) for block in range(n_blocks)]
    sizes = np.bincount(labels[labels >= 0], minlength=n_blocks)
    found = separability_of(
        profiles, tasks_of(attributions, tasks), names, sizes, weigh=weigh, n_permutations=n_permutations, seed=seed
    )
    found.attributes["sign"] = sign
    return found


def separability_of(
    profiles: Floats,
    tasks: Sequence[str] | NDArray[Any],
    names: Sequence[str] | None = None,
    sizes: NDArray[np.int64] | None = None,
    *,
    weigh: Weigh = "examples",
    n_permutations: int = 999,
    seed: int = 0,
) -> Separability:
    """Task separability of any non-negative numbers [examples, blocks].

    Parameters
    ----------
    profiles
        What each block contributes to each example.
    tasks
        [examples].
    names, sizes
        Of the blocks; by default their numbers, and one node each.
    weigh, n_permutations, seed
        As for `task_separability`.
    """
    if weigh not in ("examples", "attribution"):
        raise DataError(f"weigh {weigh!r} is not known; valid are examples, attribution")
    if n_permutations < 0:
        raise DataError(f"n_permutations is {n_permutations}; it must be at least 0")
    x, labels, known = _checked(profiles, tasks)
    x = x / x.sum(1, keepdims=True) if weigh == "examples" else x / x.sum(1).mean()
    counts = np.bincount(labels, minlength=len(known))
    observed = _spread(x, labels[None], len(known))[0]
    spec, weight = _specificity(observed)
    index, null_index, null_spec = np.array(_index(spec, weight)), np.zeros(0), np.zeros((0, x.shape[1]))
    if len(known) > 1 and n_permutations:
        drawn = [_index_and_specificity(s) for s in _shuffled(x, labels, len(known), n_permutations, seed)]
        null_index, null_spec = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    mean = float(null_index.mean()) if len(null_index) else np.nan
    sd = float(null_index.std(ddof=1)) if len(null_index) > 1 else np.nan
    low, high = (float(end) for end in band(null_index))
    attributes = {
        "weigh": weigh,
        "n_permutations": len(null_index),
        "seed": seed,
        "n_examples": len(x),
        "n_silent": len(profiles) - len(x),
        "tasks": dict(zip(known.tolist(), counts.tolist(), strict=True)),
    }
    return Separability(
        index=float(index),
        # The null mean reaches 1 only where every shuffle separates perfectly: one example a task, none shared.
        adjusted=float((index - mean) / (1 - mean)) if mean < 1 else np.nan,
        null_mean=mean,
        null_sd=sd,
        low=low,
        high=high,
        p=float(tail_p(index, null_index, "above")),
        shares=_shares_table(observed, known),
        blocks=_blocks_table(observed, known, spec, weight, null_spec, names, sizes),
        attributes=attributes,
        reason="" if len(known) > 1 else "there is one task only: nothing to separate",
    )


def _checked(profiles: Floats, tasks: Any) -> tuple[Floats, NDArray[np.int64], NDArray[np.str_]]:
    """Examples with attribution, the number of each one's task, and the names of the tasks."""
    profiles, tasks = np.asarray(profiles, float), np.asarray(tasks, dtype=np.str_)
    if profiles.ndim != 2 or len(profiles) != len(tasks):
        raise DataError(f"separability: {len(tasks)} tasks for profiles of shape {list(profiles.shape)}")
    if not np.isfinite(profiles).all() or (profiles < 0).any():
        raise DataError("separability: profiles must be finite and at least 0")
    loud = profiles.sum(1) > 0
    if missing := sorted(set(tasks.tolist()) - set(tasks[loud].tolist())):
        raise DataError(f"separability: no example of task {missing[0]!r} has any attribution to these blocks")
    if not loud.any():
        raise DataError("separability: there are no examples; at least one with attribution is needed")
    known, labels = np.unique(tasks[loud], return_inverse=True)
    return profiles[loud], labels.astype(np.int64), known


def _spread(x: Floats, labels: NDArray[np.int64], n_tasks: int) -> Floats:
    """P(b | t), [draws, tasks, blocks], for labels [draws, examples]; the columns of x are non-negative."""
    member = (labels[:, None] == np.arange(n_tasks)[:, None]).astype(float)  # [draws, tasks, examples]
    sums = (member.reshape(-1, len(x)) @ x).reshape(len(labels), n_tasks, -1)
    return sums / sums.sum(2, keepdims=True)


def _shuffled(x: Floats, labels: NDArray[np.int64], n_tasks: int, how_many: int, seed: int) -> Iterator[Floats]:
    """P(b | t) under shuffled tasks, several shuffles at a time; shuffle k is the same however many there are."""
    rng = np.random.default_rng(seed)
    starts = range(0, how_many, NULLS_AT_ONCE)
    for start in track(starts, "shuffled tasks", unit="batches"):
        drawn = np.stack([rng.permutation(labels) for _ in range(min(NULLS_AT_ONCE, how_many - start))])
        yield _spread(x, drawn, n_tasks)


def _shares(spread: Floats) -> Floats:
    """P(t | b) [.., tasks, blocks]; NaN for a block without attribution."""
    total = spread.sum(-2, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, spread / total, np.nan)


def _specificity(spread: Floats) -> tuple[Floats, Floats]:
    """(1 - H(P(t | b)) / log T, P(b)), each [.., blocks], from P(b | t) [.., tasks, blocks]; NaN for one task."""
    shares, n_tasks = _shares(spread), spread.shape[-2]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(shares > 0, shares * np.log(shares), np.where(np.isnan(shares), np.nan, 0))
        spec = 1 + terms.sum(-2) / np.log(n_tasks)
    return spec if n_tasks > 1 else np.full_like(spec, np.nan), spread.mean(-2)


def _index(spec: Floats, weight: Floats) -> Floats:
    """Sum over blocks, those without weight counting nothing; rounding does not take it out of [0, 1]."""
    if np.isnan(spec).all():
        return np.full(spec.shape[:-1], np.nan)
    total: Floats = np.clip(np.where(weight > 0, weight * spec, 0).sum(-1), 0, 1)
    return total


def _index_and_specificity(spread: Floats) -> tuple[Floats, Floats]:
    spec, weight = _specificity(spread)
    return _index(spec, weight), spec


def _shares_table(spread: Floats, tasks: NDArray[np.str_]) -> pd.DataFrame:
    import pandas as pd

    n_tasks, n_blocks = spread.shape
    columns = {
        "block": np.repeat(np.arange(n_blocks), n_tasks),
        "task": np.tile(tasks.astype(object), n_blocks),
        "share": _shares(spread).T.ravel(),
        "of_task": spread.T.ravel(),
    }
    return pd.DataFrame(columns)


def _blocks_table(
    spread: Floats,
    tasks: NDArray[np.str_],
    spec: Floats,
    weight: Floats,
    nulls: Floats,
    names: Sequence[str] | None,
    sizes: NDArray[np.int64] | None,
) -> pd.DataFrame:
    import pandas as pd

    n = spread.shape[1]
    p = tail_p(spec, nulls, "above")
    columns = {
        "block": np.arange(n),
        "name": [str(block) for block in range(n)] if names is None else list(names),
        "n_nodes": np.ones(n, np.int64) if sizes is None else sizes,
        "weight": weight,
        "specificity": spec,
        "task": np.where(weight > 0, tasks[spread.argmax(0)].astype(object), ""),
        "null_mean": nulls.mean(0) if len(nulls) else np.full(n, np.nan),
        "p": p,
        "q": benjamini_hochberg(p),
    }
    return pd.DataFrame(columns)
