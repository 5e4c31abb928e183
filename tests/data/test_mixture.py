from __future__ import annotations

import numpy as np
import pytest

from compgraph.data.mixture import apportion, mixture_pairs, parse_tasks, sample_items
from compgraph.data.tasks.items import assign_splits
from compgraph.errors import DataError
from tests.data import sample_tokenizers

MIXTURE = {
    "ioi": {"share": 2},
    "short": {"task": "induction", "length": 6},
    "long": {"task": "induction", "length": 15},
}


@pytest.mark.parametrize(
    ("n", "shares", "counts"),
    [(10, [1, 1], [5, 5]), (10, [1, 1, 1], [4, 3, 3]), (7, [2, 1], [5, 2]), (1, [1, 3], [0, 1]), (3, [1.5], [3])],
)
def test_apportion(n, shares, counts) -> None:
    assert apportion(n, shares) == counts


def test_labels_shares_and_order() -> None:
    pairs, report = mixture_pairs(MIXTURE, sample_tokenizers.words(), n=80)
    assert {name: int((pairs.task == name).sum()) for name in pairs.tasks} == {"ioi": 40, "long": 20, "short": 20}
    assert all(id_.startswith(f"{task}/") for id_, task in zip(pairs.ids, pairs.task, strict=True))
    assert report.n_accepted == 80
    assert (pairs.mask.sum(axis=1)[pairs.task == "short"] == 8).all()
    # In random order, not one task after another.
    assert 20 < (pairs.task[1:] != pairs.task[:-1]).sum() < 79
    again, _ = mixture_pairs(MIXTURE, sample_tokenizers.words(), n=80)
    assert again.digest == pairs.digest
    other, _ = mixture_pairs(MIXTURE, sample_tokenizers.words(), n=80, seed=1)
    assert other.digest != pairs.digest


def test_left_padding_and_splits() -> None:
    pairs, _ = mixture_pairs(["ioi", "agreement"], sample_tokenizers.words(), n=30, padding="left", split="test")
    assert pairs.mask[:, -1].all() and (pairs.positions == pairs.length - 1).all()
    assert set(pairs.split) == {"test"}


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "at least one task"),
        (["ioi", "ioi"], "named twice"),
        (["aoi"], "no task 'aoi'"),
        ({"ioi": {"share": 0}}, "ioi: share = 0 must be a number above 0"),
        ({"names": {"share": 1}}, "no task 'names'"),
    ],
)
def test_wrong_mixtures(tasks, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_tasks(tasks)


def test_one_name_is_not_a_list() -> None:
    with pytest.raises(TypeError, match="not one string"):
        parse_tasks("ioi")


def test_a_share_too_small_for_one_item() -> None:
    with pytest.raises(DataError, match="agreement: its share of 5 items is none"):
        mixture_pairs({"ioi": {"share": 100}, "agreement": {}}, sample_tokenizers.words(), n=5)


def test_fresh_items_keep_off_the_test_split() -> None:
    rng = np.random.default_rng(0)
    first, second = (sample_items(MIXTURE, 100, rng) for _ in range(2))
    assert first != second
    assert sample_items(MIXTURE, 100, np.random.default_rng(0)) == first
    assert [sum(item.task == label for item in first) for label in MIXTURE] == [50, 25, 25]
    assert set(assign_splits([item.clean for item in first + second], 0, 0.2)) == {"train"}
    test = sample_items(MIXTURE, 40, rng, split="test")
    assert set(assign_splits([item.clean for item in test], 0, 0.2)) == {"test"}


def test_small_tasks_return() -> None:
    tasks = {"modular_addition": {"modulus": 5}}
    items = sample_items(tasks, 200, np.random.default_rng(0))
    assert len(items) == 200 and len({item.clean for item in items}) <= 25
    with pytest.raises(DataError, match="modular_addition: none of its items is in the test split"):
        sample_items(tasks, 3, np.random.default_rng(0), split="test", test_share=0.0)
