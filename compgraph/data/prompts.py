"""Pairs of clean and corrupted prompts as token arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from compgraph.data.token_arrays import (
    BoolArray,
    IntArray,
    Padding,
    StrArray,
    check_labels,
    check_mask,
    check_pair_lengths,
    check_positions,
    check_strings,
    check_targets,
    check_tokens,
)
from compgraph.errors import DataError, StoreError

Rows = ArrayLike | Sequence[Sequence[int]]
SPLITS = ("train", "test")
_ARRAYS = ("clean", "corrupted", "mask", "answers", "distractors")


class PromptPairs:
    """Prompts with their counterfactuals and the tokens to tell apart, one row an item.

    Parameters
    ----------
    clean : array of int [n, t]
        Token ids.
    corrupted : array of int [n, t], optional
        Token ids of the counterfactuals; same shape and same padding as `clean`.
    answers : array of int [n, a] or [n], optional
        Tokens that count as right after the clean prompt, padded with -1.
    distractors : array of int [n, d] or [n], optional
        Tokens that count as wrong, padded with -1.
    positions : array of int [n], optional
        The index whose logits are scored; by default that of the last real token.
    mask : array of bool [n, t], optional
        True for real tokens, which must be contiguous in each row; by default all are real.
    ids, task, split : array of str [n], optional
        Unique names of the items, the task of each, and ``"train"`` or ``"test"``. By default
        ``"item/000000"`` and so on, ``"prompts"`` and ``"train"``. A single string for `task` or `split`
        serves all items.

    Raises
    ------
    DataError
        If shapes, lengths or values do not fit; the message names the first item at fault.
    """

    def __init__(
        self,
        clean: Rows,
        corrupted: Rows | None = None,
        answers: Rows | None = None,
        distractors: Rows | None = None,
        positions: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
        ids: Sequence[str] | StrArray | None = None,
        task: str | Sequence[str] | StrArray | None = None,
        split: str | Sequence[str] | StrArray | None = None,
    ) -> None:
        if corrupted is not None:
            check_pair_lengths(clean, corrupted)
        self.clean: IntArray = check_tokens("clean", clean)
        self.corrupted: IntArray | None = None if corrupted is None else check_tokens("corrupted", corrupted)
        n, t = self.clean.shape
        self.mask: BoolArray = np.ones((n, t), bool) if mask is None else check_mask(mask, (n, t))
        self.answers: IntArray | None = None if answers is None else check_targets("answers", answers, n)
        self.distractors: IntArray | None = (
            None if distractors is None else check_targets("distractors", distractors, n)
        )
        self.ids: StrArray = check_strings("ids", ids, n, "item/")
        self.task: StrArray = check_labels("task", "prompts" if task is None else task, n)
        self.split: StrArray = check_labels("split", "train" if split is None else split, n)
        last = t - 1 - np.argmax(self.mask[:, ::-1], axis=1)
        self.positions: IntArray = last if positions is None else check_positions(positions, self.mask, self.ids)
        self._check()

    def _check(self) -> None:
        if self.corrupted is not None and self.corrupted.shape != self.clean.shape:
            raise DataError(
                f"corrupted has shape {list(self.corrupted.shape)} and clean {list(self.clean.shape)}; "
                "the two must have the same number of items and tokens"
            )
        names, counts = np.unique(self.ids, return_counts=True)
        if names.size < self.n:
            raise DataError(f"ids: {str(names[counts > 1][0])!r} names more than one item; ids must be unique")
        strange = ~np.isin(self.split, SPLITS)
        if strange.any():
            raise DataError(f"split: {str(self.split[strange][0])!r} is not one of 'train', 'test'")
        if self.answers is not None and self.distractors is not None:
            shared = _overlap(self.answers, self.distractors)
            if shared.any():
                raise DataError(f"item {self._first(shared)}: one token is both an answer and a distractor")

    def _first(self, wrong: BoolArray) -> str:
        return repr(str(self.ids[int(np.argmax(wrong))]))

    @property
    def n(self) -> int:
        """Number of items."""
        return int(self.clean.shape[0])

    @property
    def length(self) -> int:
        """Number of token positions, padding included."""
        return int(self.clean.shape[1])

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that occur, sorted."""
        return [str(name) for name in np.unique(self.task)]

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        pair = "with" if self.corrupted is not None else "without"
        return f"PromptPairs({self.n} items of {self.length} tokens, {pair} counterfactuals, tasks {self.tasks})"

    def subset(self, index: ArrayLike | slice) -> PromptPairs:
        """Items in the order of `index` (integers, a boolean array [n] or a slice)."""
        rows = index if isinstance(index, slice) else np.asarray(index)

        def take(values: Any) -> Any:
            return None if values is None else values[rows]

        return PromptPairs(
            self.clean[rows],
            take(self.corrupted),
            take(self.answers),
            take(self.distractors),
            self.positions[rows],
            mask=self.mask[rows],
            ids=self.ids[rows],
            task=self.task[rows],
            split=self.split[rows],
        )

    def select(self, split: str | None = None, task: str | None = None) -> PromptPairs:
        """Items of one split, of one task, or both.

        Raises
        ------
        DataError
            If no item is left; the message says which values occur.
        """
        chosen = np.ones(self.n, bool)
        for name, wanted, values in (("split", split, self.split), ("task", task, self.task)):
            if wanted is None:
                continue
            chosen &= values == wanted
            if not chosen.any():
                present = ", ".join(sorted({str(value) for value in values}))
                raise DataError(f"no item has {name} {wanted!r}; this set of {self.n} holds: {present}")
        return self.subset(chosen)

    def batches(self, size: int) -> Iterator[PromptPairs]:
        """Consecutive batches of at most `size` items."""
        if size < 1:
            raise ValueError(f"a batch needs at least one item, not {size}")
        for start in range(0, self.n, size):
            yield self.subset(slice(start, start + size))

    @property
    def digest(self) -> str:
        """SHA-256 over the shapes and values of all arrays, ids and labels."""
        total = hashlib.sha256()
        for name in (*_ARRAYS, "positions"):
            values = getattr(self, name)
            shape = None if values is None else list(values.shape)
            total.update(json.dumps([name, shape]).encode())
            if values is not None:
                total.update(np.ascontiguousarray(values).tobytes())
        for name in ("ids", "task", "split"):
            total.update(json.dumps([name, getattr(self, name).tolist()]).encode())
        return f"sha256:{total.hexdigest()}"

    def save(self, folder: str | Path) -> None:
        """Write ``items.parquet`` (id, task, split, position) and a ``.npy`` file per array into `folder`."""
        import pandas as pd

        from compgraph.tables import write_table

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame({"id": self.ids, "task": self.task, "split": self.split, "position": self.positions})
        write_table(table, target / "items.parquet")
        for name in _ARRAYS:
            values = getattr(self, name)
            if values is not None:
                np.save(target / f"{name}.npy", values, allow_pickle=False)

    @classmethod
    def load(cls, folder: str | Path) -> PromptPairs:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            If a file is missing, damaged, or does not fit the others.
        """
        from compgraph.arrays import read_array
        from compgraph.tables import read_table

        source = Path(folder)
        arrays: dict[str, Any] = {}
        try:
            table = read_table(source / "items.parquet")
            for name in _ARRAYS:
                path = source / f"{name}.npy"
                needed = name in ("clean", "mask")
                arrays[name] = read_array(path) if needed or path.exists() else None
            columns = {name: table[name].to_numpy() for name in ("id", "task", "split", "position")}
        except (StoreError, OSError, ValueError, KeyError) as error:
            raise DataError(f"{source}: not a readable folder of prompt pairs ({error})") from error
        return cls(
            arrays["clean"],
            arrays["corrupted"],
            arrays["answers"],
            arrays["distractors"],
            columns["position"],
            mask=arrays["mask"],
            ids=columns["id"].astype(str),
            task=columns["task"].astype(str),
            split=columns["split"].astype(str),
        )


def concat(parts: Sequence[PromptPairs], padding: Padding = "right") -> PromptPairs:
    """One set of pairs from several, padded to the longest on the given side.

    Parameters
    ----------
    parts
        At least one; all with, or all without, each of corrupted prompts, answers and distractors.
    padding
        Where the shorter parts get their padding.

    Raises
    ------
    DataError
        If the parts differ in what they have, or share an id.
    """
    if not parts:
        raise DataError("there are no prompt pairs to put together")
    joined: dict[str, Any] = {}
    length = max(part.length for part in parts)
    for name in _ARRAYS:
        values = [getattr(part, name) for part in parts]
        absent = [value is None for value in values]
        if any(absent):
            if not all(absent):
                part = parts[absent.index(True)]
                raise DataError(f"the part with item {str(part.ids[0])!r} has no {name} and another part has")
            joined[name] = None
        elif name in ("answers", "distractors"):
            width = max(value.shape[1] for value in values)
            joined[name] = np.concatenate([_widen(value, width, "right", -1) for value in values])
        else:
            joined[name] = np.concatenate([_widen(value, length, padding, 0) for value in values])
    shift = [length - part.length if padding == "left" else 0 for part in parts]
    return PromptPairs(
        joined["clean"],
        joined["corrupted"],
        joined["answers"],
        joined["distractors"],
        np.concatenate([part.positions + by for part, by in zip(parts, shift, strict=True)]),
        mask=joined["mask"],
        ids=np.concatenate([part.ids for part in parts]),
        task=np.concatenate([part.task for part in parts]),
        split=np.concatenate([part.split for part in parts]),
    )


def _widen(values: Any, width: int, side: Padding, fill: int) -> Any:
    gap = width - values.shape[1]
    return np.pad(values, ((0, 0), (gap, 0) if side == "left" else (0, gap)), constant_values=fill)


def _overlap(answers: IntArray, distractors: IntArray) -> BoolArray:
    """Items [n] with a token on both sides; column by column, so that memory stays n times d."""
    shared = np.zeros(len(answers), bool)
    for column in answers.T:
        shared |= (column >= 0) & (distractors == column[:, None]).any(axis=1)
    return shared
