"""Held-out examples: a division by ids, task by task, that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.data.holding_out import examples_for, held_out
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError


def pairs(n: int = 30) -> PromptPairs:
    tokens = np.arange(2 * n).reshape(n, 2)
    task = np.array(["a", "b", "b"])[np.arange(n) % 3]
    return PromptPairs(tokens, tokens + 1, tokens[:, :1], tokens[:, 1:], ids=[f"x/{k}" for k in range(n)], task=task)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
def test_of_every_task_the_same_share(share: float) -> None:
    found, data = held_out(pairs(), share), pairs()
    for task, n in (("a", 10), ("b", 20)):
        assert found[data.task == task].sum() == int(share * n)


def test_neither_order_nor_company_changes_the_side_of_an_example() -> None:
    data = pairs()
    whole = dict(zip(data.ids, held_out(data, 0.5), strict=True))
    order = np.random.default_rng(0).permutation(30)
    mixed = data.subset(order)
    assert dict(zip(mixed.ids, held_out(mixed, 0.5), strict=True)) == whole
    alone = data.subset(np.flatnonzero(data.task == "b"))
    assert all(whole[name] == side for name, side in zip(alone.ids, held_out(alone, 0.5), strict=True))


def test_the_two_sides_are_all() -> None:
    data = pairs()
    sides = [set(examples_for(data, 0.4, which).ids) for which in ("held-out", "chosen")]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == set(data.ids)
    assert examples_for(data, 0.4, "all").n == examples_for(data, 0, "held-out").n == 30


def test_refuses() -> None:
    with pytest.raises(DataError, match=r"held_out is 1\.0"):
        held_out(pairs(), 1.0)
    with pytest.raises(DataError, match=r"held_out is 0\.5: with 1 examples of 1 tasks nothing is left on one side"):
        held_out(pairs().subset([0]), 0.5)
