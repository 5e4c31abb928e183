from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compgraph.data.prompts import PromptPairs, concat
from compgraph.errors import DataError

CLEAN = [[1, 2, 3], [4, 5, 0]]
MASK = np.array([[True, True, True], [True, True, False]])


def make(**changes: Any) -> PromptPairs:
    given: dict[str, Any] = {
        "clean": np.array(CLEAN),
        "corrupted": np.array([[1, 9, 3], [7, 5, 0]]),
        "answers": np.array([[10, 11], [12, -1]]),
        "distractors": [13, 14],
        "mask": MASK,
        "ids": ["a", "b"],
        "task": ["one", "two"],
        "split": ["train", "test"],
    }
    return PromptPairs(**(given | changes))


def assert_same(one: PromptPairs, other: PromptPairs) -> None:
    for name in ("clean", "corrupted", "mask", "answers", "distractors", "positions", "ids", "task", "split"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        assert a is None or (np.array_equal(a, b) and a.dtype.kind == b.dtype.kind), name


def test_arrays_alone_are_enough() -> None:
    clean = np.arange(6).reshape(2, 3)
    pairs = PromptPairs(clean, clean + 10, np.array([3, 4]), np.array([5, 6]), np.array([2, 1]))
    assert (pairs.n, len(pairs), pairs.length) == (2, 2, 3)
    assert pairs.mask.all() and pairs.mask.shape == (2, 3)
    assert pairs.answers is not None and pairs.answers.tolist() == [[3], [4]]
    assert pairs.ids.tolist() == ["item/000000", "item/000001"]
    assert pairs.task.tolist() == ["prompts"] * 2 and pairs.split.tolist() == ["train"] * 2


def test_lists_and_torch_tensors_serve() -> None:
    torch = pytest.importorskip("torch")
    assert PromptPairs(CLEAN).clean.dtype == np.int64
    assert PromptPairs(torch.tensor(CLEAN), torch.tensor(CLEAN) + 1).n == 2
    assert PromptPairs(np.array(CLEAN, np.int32)).clean.dtype == np.int64


def test_the_scored_position_is_the_last_token_by_default() -> None:
    assert make().positions.tolist() == [2, 1]
    left = PromptPairs([[0, 4, 5]], mask=np.array([[False, True, True]]))
    assert left.positions.tolist() == [2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean": [[1, 2], [3, 4, 5]]}, "item 0: the clean prompt has 2 tokens|clean: item 1 has 3 tokens"),
        ({"clean": np.array([[1.0, 2.0, 3.0]] * 2)}, "clean: got an array of float64 .* integers"),
        ({"clean": np.zeros((0, 3), int)}, "at least one item and one token"),
        ({"clean": np.array([[1, -2, 3], [4, 5, 0]])}, "clean: item 0 holds a negative token id"),
        ({"corrupted": np.zeros((2, 4), int)}, r"corrupted has shape \[2, 4\] and clean \[2, 3\]"),
        ({"answers": [[1]]}, "answers: 1 rows for 2 items"),
        ({"answers": [[1], [-1]]}, r"answers: item 1 has \[-1\]; give at least one"),
        ({"distractors": [[3], [-7]]}, "distractors: item 1"),
        ({"distractors": [11, 14]}, "item 'a': one token is both an answer and a distractor"),
        ({"positions": [2, 2]}, r"item 'b': position 2 is not one of its tokens \(0 to 1\)"),
        ({"positions": [3, 1]}, "item 'a': position 3"),
        ({"positions": [1]}, "give 2 integers"),
        ({"mask": np.ones((2, 4), bool)}, r"mask: got bool of shape \[2, 4\]"),
        ({"mask": np.ones((2, 3), int)}, "it must be bool"),
        ({"mask": np.array([[True, False, True], [True, True, True]])}, "mask: item 0 .* unbroken run"),
        ({"mask": np.array([[True, True, True], [False] * 3])}, "mask: item 1"),
        ({"ids": ["a", "a"]}, "'a' names more than one item"),
        ({"ids": ["a"]}, "ids: 1 values for 2 items"),
        ({"split": "dev"}, "split: 'dev' is not one of 'train', 'test'"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(**changes)


def test_prompts_of_unequal_length_name_the_first_item() -> None:
    with pytest.raises(DataError, match="item 1: the clean prompt has 2 tokens and the corrupted one 3"):
        PromptPairs([[1, 2], [3, 4]], [[1, 2], [3, 4, 5]])
    with pytest.raises(DataError, match="clean: item 1 has 3 tokens and item 0 has 2"):
        PromptPairs([[1, 2], [3, 4, 5]])


def test_subsets() -> None:
    pairs = make()
    assert_same(pairs.subset([0, 1]), pairs)
    swapped = pairs.subset([1, 0])
    assert swapped.ids.tolist() == ["b", "a"] and swapped.positions.tolist() == [1, 2]
    assert pairs.subset(np.array([False, True])).ids.tolist() == ["b"]
    assert pairs.subset(slice(0, 1)).ids.tolist() == ["a"]
    assert pairs.select(split="test").ids.tolist() == ["b"]
    assert pairs.select(task="one", split="train").ids.tolist() == ["a"]
    assert pairs.tasks == ["one", "two"]
    with pytest.raises(DataError, match="no item has task 'three'; this set of 2 holds: one, two"):
        pairs.select(task="three")
    with pytest.raises(DataError, match="no item has task 'two'"):
        pairs.select(split="train", task="two")


def test_batches() -> None:
    pairs = PromptPairs(np.arange(14).reshape(7, 2))
    sizes = [batch.n for batch in pairs.batches(3)]
    assert sizes == [3, 3, 1]
    assert np.array_equal(np.concatenate([batch.clean for batch in pairs.batches(3)]), pairs.clean)
    with pytest.raises(ValueError, match="at least one"):
        list(pairs.batches(0))


@pytest.mark.parametrize("changes", [{}, {"corrupted": None}, {"answers": None, "distractors": None}])
def test_saved_and_loaded(tmp_path: Path, changes: dict[str, Any]) -> None:
    pairs = make(**changes)
    pairs.save(tmp_path / "one")
    loaded = PromptPairs.load(tmp_path / "one")
    assert_same(loaded, pairs)
    assert loaded.digest == pairs.digest
    pairs.save(tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


@pytest.mark.parametrize("name", ["items.parquet", "clean.npy", "mask.npy"])
def test_missing_and_torn_files(tmp_path: Path, name: str) -> None:
    make().save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a readable folder of prompt pairs"):
        PromptPairs.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match="not a readable folder of prompt pairs"):
        PromptPairs.load(tmp_path)


def test_pickled_arrays_are_not_opened(tmp_path: Path) -> None:
    make().save(tmp_path)
    np.save(tmp_path / "clean.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        PromptPairs.load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"clean": np.array([[1, 2, 4], [4, 5, 0]])},
        {"corrupted": None},
        {"answers": np.array([[10], [12]])},
        {"positions": [1, 1]},
        {"ids": ["a", "c"]},
        {"split": "train"},
    ],
)
def test_the_digest_sees_every_change(changes: dict[str, Any]) -> None:
    assert make().digest == make().digest
    assert make(**changes).digest != make().digest


@pytest.mark.parametrize("side", ["right", "left"])
def test_concat_pads(side: Any) -> None:
    short = PromptPairs([[1, 2]], [[1, 3]], [[5, 6]], [7], ids=["short"])
    long = PromptPairs([[1, 2, 3, 4]], [[1, 2, 9, 4]], [5], [[7, 8]], ids=["long"], split="test")
    both = concat([short, long], side)
    row = [1, 2, 0, 0] if side == "right" else [0, 0, 1, 2]
    assert both.clean.tolist() == [row, [1, 2, 3, 4]]
    assert both.answers is not None and both.answers.tolist() == [[5, 6], [5, -1]]
    assert both.distractors is not None and both.distractors.tolist() == [[7, -1], [7, 8]]
    assert both.clean[np.arange(2), both.positions].tolist() == [2, 4]
    assert both.mask.sum(axis=1).tolist() == [2, 4]
    assert both.split.tolist() == ["train", "test"]


def test_concat_refuses_what_does_not_go_together() -> None:
    one, other = PromptPairs([[1]], [[2]], ids=["x"]), PromptPairs([[1]], ids=["y"])
    with pytest.raises(DataError, match="the part with item 'y' has no corrupted"):
        concat([one, other])
    with pytest.raises(DataError, match="'x' names more than one item"):
        concat([one, one])
    with pytest.raises(DataError, match="no prompt pairs"):
        concat([])
