"""What the tasks share: the item, options with their limits, and drawing without repetition."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from compgraph.errors import DataError

IntArray = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt, its counterfactual and what may follow.

    Attributes
    ----------
    id : str
        Unique within a set, such as ``"ioi/000012"``.
    task : str
        Name of the task.
    clean, corrupted : str
        Prompts without the answer; `corrupted` is empty where there is no counterfactual.
    answers, distractors : tuple of str or int
        Right and wrong continuations of the clean prompt, with their leading space where one belongs. An
        integer is a token id as it stands.
    """

    id: str
    task: str
    clean: str
    corrupted: str
    answers: tuple[str | int, ...]
    distractors: tuple[str | int, ...]


def option(
    default: Any,
    help: str,
    minimum: int | None = None,
    maximum: int | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """Field of a task's ``Options`` with its meaning and limits."""
    limits = {"help": help, "minimum": minimum, "maximum": maximum, "choices": tuple(choices)}
    return field(default=default, metadata=limits)


def read_options(cls: type[T], task: str, given: Mapping[str, Any]) -> T:
    """Checked options of a task.

    Raises
    ------
    DataError
        For an unknown name, a value of the wrong type or outside its limits.
    """
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise DataError(f"{task}: there is no option {name!r}; {hint}valid: {', '.join(sorted(known))}")
        _check_option(f"{task}: {name}", value, known[name].default, known[name].metadata)
    return cls(**given)


def _check_option(where: str, value: Any, default: Any, limits: Mapping[str, Any]) -> None:
    if default is None or isinstance(default, tuple):
        words = isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value)
        if not (words or (value is None and default is None)):
            raise DataError(f"{where} = {value!r} must be a list of words")
        return
    if type(value) is not type(default):
        raise DataError(f"{where} = {value!r} must be of type {type(default).__name__}, such as {default!r}")
    if limits["choices"] and value not in limits["choices"]:
        raise DataError(f"{where} = {value!r} is not one of {', '.join(limits['choices'])}")
    low, high = limits["minimum"], limits["maximum"]
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"between {low} and {high}" if high is not None else f"at least {low}"
        raise DataError(f"{where} = {value!r} must be {span}")


def check_count(task: str, n: int, capacity: int) -> None:
    """Refuse to make more items than there are.

    Raises
    ------
    DataError
        If `n` is below 1 or above `capacity`.
    """
    if n < 1:
        raise DataError(f"{task}: {n} items were asked for; ask for at least 1")
    if n > capacity:
        raise DataError(
            f"{task}: there are {capacity} distinct items with these options and {n} were asked for; "
            f"ask for at most {capacity} or widen the options"
        )


def draw_distinct(rng: np.random.Generator, radices: Sequence[int], n: int, task: str) -> IntArray:
    """Distinct rows of digits, uniformly without repetition.

    Parameters
    ----------
    rng
        Source of randomness.
    radices
        Number of values of each digit [k].
    n
        Number of rows.
    task
        Named in the error.

    Returns
    -------
    array of int [n, k]
        In random order.

    Raises
    ------
    DataError
        If there are fewer than `n` distinct rows.
    """
    capacity = math.prod(radices)
    check_count(task, n, capacity)
    if capacity <= 2 * n:
        order = rng.permutation(capacity)[:n]
        return np.stack(np.unravel_index(order, tuple(radices)), axis=1).astype(np.int64)
    return _collect(lambda m: rng.integers(0, np.asarray(radices), size=(m, len(radices))), n)


def draw_arrangements(rng: np.random.Generator, n_words: int, length: int, n: int, task: str) -> IntArray:
    """Distinct ordered choices of `length` different words out of `n_words`, uniformly.

    Returns
    -------
    array of int [n, length]
        Indices of words, in random order of rows.

    Raises
    ------
    DataError
        If there are fewer than `n` of them.
    """
    capacity = math.perm(n_words, length)
    check_count(task, n, capacity)
    if capacity <= 2 * n:
        every = np.array(list(itertools.permutations(range(n_words), length)), dtype=np.int64)
        chosen: IntArray = every[rng.permutation(capacity)[:n]]
        return chosen
    if n_words < length**2:
        return _collect(lambda m: np.argsort(rng.random((m, n_words)), axis=1)[:, :length], n)
    return _collect(lambda m: _without_repeats(rng.integers(0, n_words, (m, length))), n)


def _without_repeats(rows: IntArray) -> IntArray:
    ordered = np.sort(rows, axis=1)
    distinct: IntArray = rows[(ordered[:, 1:] != ordered[:, :-1]).all(axis=1)]
    return distinct


def _collect(draw: Any, n: int) -> IntArray:
    """First `n` distinct rows of repeated draws; at most half of all there are, so this ends soon."""
    rows = draw(n)
    while True:
        _, first = np.unique(rows, axis=0, return_index=True)
        if len(first) >= n:
            return np.asarray(rows[np.sort(first)[:n]], dtype=np.int64)
        rows = np.concatenate([rows[np.sort(first)], draw(2 * (n - len(first)) + 8)])


def skip(digit: IntArray, taken: IntArray) -> IntArray:
    """Digits of a range from which `taken` was removed, as indices of the whole range."""
    return digit + (digit >= taken)


def skip_both(digit: IntArray, one: IntArray, other: IntArray) -> IntArray:
    """As `skip`, with two different values removed."""
    return skip(skip(digit, np.minimum(one, other)), np.maximum(one, other))


def assign_splits(texts: Sequence[str], seed: int, test_share: float) -> NDArray[np.str_]:
    """``"train"`` or ``"test"`` for each text, by a hash of seed and text.

    The same text lands in the same split however many items are made and in whichever order, so nothing that
    was trained on is ever tested. The share of test items is `test_share` on average.
    """
    if not 0.0 <= test_share <= 1.0:
        raise DataError(f"test_share = {test_share!r} must be between 0 and 1")
    limit = int(test_share * 2**64)
    salt = f"{seed}\0".encode()

    def number(text: str) -> int:
        return int.from_bytes(hashlib.blake2b(salt + text.encode(), digest_size=8).digest(), "big")

    return np.array(["test" if number(text) < limit else "train" for text in texts], dtype="<U5")
