"""Several tasks in one set of pairs, each item labelled with its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compgraph.data.encoding import tokenizer_of
from compgraph.data.prompts import PromptPairs, concat
from compgraph.data.screening import Report
from compgraph.data.tasks.items import Item, assign_splits
from compgraph.data.token_arrays import Padding
from compgraph.data.tokenise import find_task, relabel, task_pairs
from compgraph.errors import DataError

#: Names of tasks; or label -> options of a task, with ``task`` (its name, if not the label) and ``share``.
Tasks = Sequence[str] | Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Part:
    """One task of a mixture.

    Attributes
    ----------
    label : str
        Its name in ids and task labels.
    name : str
        The task in the catalogue.
    share : float
        Weight against the other parts.
    options : dict
        Options of the task.
    """

    label: str
    name: str
    share: float
    options: dict[str, Any]


def parse_tasks(tasks: Tasks) -> list[Part]:
    """The parts of a mixture, checked.

    Raises
    ------
    DataError
        If there is none, a task is unknown or named twice, or a share is not positive.
    """
    if isinstance(tasks, str):
        raise TypeError("give a list of task names, or a mapping of labels to options, not one string")
    entries = tasks if isinstance(tasks, Mapping) else {name: {} for name in tasks}
    if not entries:
        raise DataError("a mixture needs at least one task")
    if len(entries) < len(tasks):
        raise DataError(f"a task is named twice in {list(tasks)}; give a mapping of different labels to options")
    parts = []
    for label, given in entries.items():
        options = dict(given or {})
        name, share = options.pop("task", label), options.pop("share", 1.0)
        find_task(name)
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not share > 0:
            raise DataError(f"{label}: share = {share!r} must be a number above 0")
        parts.append(Part(label, name, float(share), options))
    return parts


def mixture_pairs(
    tasks: Tasks,
    source: Any,
    n: int = 256,
    seed: int = 0,
    *,
    split: str | None = None,
    test_share: float = 0.2,
    split_seed: int = 0,
    padding: Padding = "right",
    prepend_bos: bool | None = None,
) -> tuple[PromptPairs, Report]:
    """Exactly `n` pairs of several tasks in random order, padded to a common length.

    Parameters
    ----------
    tasks
        Names of tasks, in equal parts, or a mapping from label to options, in which ``share`` weighs a task
        (default 1) and ``task`` names it where the label is another.
    source
        A tokenizer, or a network that carries one.
    n
        Pairs in all; each task gets its share, rounded.
    seed
        Of the items and their order.
    split, test_share, split_seed, padding, prepend_bos
        As for `task_pairs`.

    Returns
    -------
    pairs : PromptPairs
        Its `task` holds the label of each item.
    report : Report
        Of all tasks together.

    Raises
    ------
    DataError
        As `task_pairs`, or if a task would get no item.
    """
    parts = parse_tasks(tasks)
    counts = apportion(n, [part.share for part in parts])
    report, made = Report(), []
    for part, count in zip(parts, counts, strict=True):
        if count == 0:
            raise DataError(f"{part.label}: its share of {n} items is none; raise n or its share")
        pairs, own = task_pairs(
            part.name,
            tokenizer_of(source),
            count,
            seed,
            label=part.label,
            split=split,
            test_share=test_share,
            split_seed=split_seed,
            padding=padding,
            prepend_bos=prepend_bos,
            **part.options,
        )
        made.append(pairs)
        report.merge(own)
    return concat(made, padding).subset(np.random.default_rng(seed).permutation(n)), report


def sample_items(
    tasks: Tasks,
    n: int,
    rng: np.random.Generator,
    *,
    split: str = "train",
    test_share: float = 0.2,
    split_seed: int = 0,
) -> list[Item]:
    """Fresh items for one training batch, in random order, never of the other split.

    Parameters
    ----------
    tasks
        As for `mixture_pairs`.
    n
        Number of items; in tasks with few distinct items some return.
    rng
        Advances with every call.
    split, test_share, split_seed
        Items that `task_pairs` labels otherwise with these values are left out.
    """
    items: list[Item] = []
    parts = parse_tasks(tasks)
    for part, count in zip(parts, apportion(n, [part.share for part in parts]), strict=True):
        items += _sample(part, count, rng, split, test_share, split_seed)
    return [items[index] for index in rng.permutation(len(items))]


def apportion(n: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to `shares` that add up to `n`, by largest remainders."""
    exact = n * np.asarray(shares, float) / sum(shares)
    counts = np.floor(exact).astype(int)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return [int(count) for count in counts]


def _sample(
    part: Part, count: int, rng: np.random.Generator, split: str, test_share: float, split_seed: int
) -> list[Item]:
    task = find_task(part.name)
    most = task.capacity(**part.options)
    share = test_share if split == "test" else 1 - test_share
    items: list[Item] = []
    attempts = 0
    while len(items) < count:
        asked = min(most, int(1.1 * (count - len(items)) / max(share, 0.01)) + 8)
        drawn = task.generate(asked, rng, **part.options)
        taken = assign_splits([item.clean for item in drawn], split_seed, test_share) == split
        items += [item for item, keep in zip(drawn, taken, strict=True) if keep]
        attempts += 1
        if attempts > 100 and not items:
            raise DataError(
                f"{part.label}: none of its items is in the {split} split; change test_share = {test_share}"
            )
    return relabel(items[:count], part.label)
