from __future__ import annotations

import numpy as np
import pytest

from compgraph.data.tasks.ioi import NAMES, generate

COUNTS = {"swap": (1, 2), "abc": (1, 1), "random": (0, 0)}


def names_in(text: str) -> list[str]:
    return [word.strip(".,") for word in text.split() if word.strip(".,") in NAMES]


@pytest.mark.parametrize("kind", COUNTS)
def test_the_answer_is_the_name_that_occurs_once(kind: str) -> None:
    for item in generate(200, np.random.default_rng(0), counterfactual=kind):
        names = names_in(item.clean)
        answer, distractor = item.answers[0].strip(), item.distractors[0].strip()
        assert len(names) == 3
        assert (names.count(answer), names.count(distractor)) == (1, 2)
        changed = names_in(item.corrupted)
        assert (changed.count(distractor), changed.count(answer)) == COUNTS[kind]
        assert len(set(changed)) == (2 if kind == "swap" else 3)


def test_swapping_changes_the_second_mention_only() -> None:
    for item in generate(50, np.random.default_rng(0)):
        clean, other = item.clean.split(), item.corrupted.split()
        changed = [k for k in range(len(clean)) if clean[k] != other[k]]
        assert len(changed) == 1
        assert names_in(item.clean)[:2] == names_in(item.corrupted)[:2]


@pytest.mark.parametrize(("order", "first"), [("abba", False), ("baba", True)])
def test_order(order: str, first: bool) -> None:
    for item in generate(50, np.random.default_rng(0), order=order):
        names = names_in(item.clean)
        assert (names[0] == names[2]) is first
