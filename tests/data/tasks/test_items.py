from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from compgraph.data.tasks.items import (
    Item,
    assign_splits,
    draw_arrangements,
    draw_distinct,
    option,
    read_options,
    skip,
    skip_both,
)
from compgraph.errors import DataError


@dataclass(frozen=True)
class Options:
    size: int = option(3, "how big", 1, 9)
    style: str = option("plain", "how it looks", choices=("plain", "fancy"))
    words: Sequence[str] | None = option(None, "words")


def test_items_are_values() -> None:
    one = Item("a/0", "a", "x", "y", (" b",), (" c",))
    assert one == Item("a/0", "a", "x", "y", (" b",), (" c",))


def test_options_keep_defaults_and_take_given_values() -> None:
    options = read_options(Options, "toy", {"size": 9, "words": ["one"]})
    assert (options.size, options.style, options.words) == (9, "plain", ["one"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sise": 3}, "no option 'sise'; did you mean 'size'"),
        ({"size": 0}, "size = 0 must be between 1 and 9"),
        ({"size": 10}, "size = 10 must be between 1 and 9"),
        ({"size": 2.0}, "size = 2.0 must be of type int"),
        ({"size": True}, "size = True must be of type int"),
        ({"style": "bare"}, "style = 'bare' is not one of plain, fancy"),
        ({"words": "one"}, "words = 'one' must be a list of words"),
        ({"words": [1]}, r"words = \[1\] must be a list of words"),
    ],
)
def test_wrong_options_are_named(given: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_options(Options, "toy", given)


@pytest.mark.parametrize("n", [1, 10, 59, 60])
def test_draws_do_not_repeat(n: int) -> None:
    rows = draw_distinct(np.random.default_rng(0), [3, 4, 5], n, "toy")
    assert rows.shape == (n, 3)
    assert len(np.unique(rows, axis=0)) == n
    assert (rows >= 0).all() and (rows < [3, 4, 5]).all()


def test_draws_reach_every_digit_equally() -> None:
    rows = draw_distinct(np.random.default_rng(1), [4, 50, 50], 4000, "toy")
    counts = np.bincount(rows[:, 0], minlength=4)
    assert counts.min() > 900 and counts.max() < 1100


def test_draws_of_huge_spaces() -> None:
    rows = draw_distinct(np.random.default_rng(0), [10**6] * 6, 100, "toy")
    assert len(np.unique(rows, axis=0)) == 100


def test_too_many_draws_say_how_many_there_are() -> None:
    with pytest.raises(DataError, match=r"toy: there are 12 distinct items .* and 13 were asked for"):
        draw_distinct(np.random.default_rng(0), [3, 4], 13, "toy")
    with pytest.raises(DataError, match="at least 1"):
        draw_distinct(np.random.default_rng(0), [3, 4], 0, "toy")


@pytest.mark.parametrize(("n_words", "length", "n"), [(5, 3, 60), (5, 3, 7), (8, 4, 300), (200, 4, 300)])
def test_arrangements_are_distinct_and_of_distinct_words(n_words: int, length: int, n: int) -> None:
    rows = draw_arrangements(np.random.default_rng(0), n_words, length, n, "toy")
    assert rows.shape == (n, length)
    assert len(np.unique(rows, axis=0)) == n
    assert all(len(set(row)) == length for row in rows.tolist())
    assert rows.min() >= 0 and rows.max() < n_words


def test_arrangements_are_counted() -> None:
    with pytest.raises(DataError, match=str(math.perm(5, 3))):
        draw_arrangements(np.random.default_rng(0), 5, 3, 61, "toy")


def test_skipping_leaves_out_what_is_taken() -> None:
    digits = np.arange(4)
    assert skip(digits, np.full(4, 2)).tolist() == [0, 1, 3, 4]
    assert skip_both(digits, np.full(4, 3), np.full(4, 1)).tolist() == [0, 2, 4, 5]


def test_splits_belong_to_the_text() -> None:
    texts = [f"text {k}" for k in range(4000)]
    split = assign_splits(texts, 0, 0.25)
    assert assign_splits(texts[::-1], 0, 0.25)[::-1].tolist() == split.tolist()
    assert abs((split == "test").mean() - 0.25) < 0.03
    assert (assign_splits(texts, 1, 0.25) != split).any()
    # A larger share only moves texts from train to test.
    assert not ((assign_splits(texts, 0, 0.5) == "train") & (split == "test")).any()
    assert set(assign_splits(texts, 0, 0.0)) == {"train"}
    assert set(assign_splits(texts, 0, 1.0)) == {"test"}


def test_share_out_of_range() -> None:
    with pytest.raises(DataError, match=r"test_share = 1.5"):
        assign_splits(["a"], 0, 1.5)
