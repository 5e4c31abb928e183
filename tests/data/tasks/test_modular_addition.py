from __future__ import annotations

import re

import numpy as np
import pytest

from compgraph.data.tasks.modular_addition import generate


def summands(text: str) -> list[int]:
    match = re.fullmatch(r"(\d+) \+ (\d+) =", text)
    assert match is not None
    return [int(number) for number in match.groups()]


@pytest.mark.parametrize(("kind", "changed"), [("first", {0}), ("second", {1}), ("both", {0, 1})])
@pytest.mark.parametrize("modulus", [3, 7, 113])
def test_sums(kind: str, changed: set[int], modulus: int) -> None:
    items = generate(min(200, modulus**2), np.random.default_rng(0), modulus=modulus, counterfactual=kind)
    seen = set()
    for item in items:
        clean, other = summands(item.clean), summands(item.corrupted)
        assert item.answers == (f" {sum(clean) % modulus}",)
        assert item.distractors == (f" {sum(other) % modulus}",)
        assert item.answers != item.distractors
        moved = {k for k in (0, 1) if clean[k] != other[k]}
        assert moved <= changed and moved
        seen |= moved
    assert seen == changed


def test_all_pairs() -> None:
    items = generate(49, np.random.default_rng(0), modulus=7)
    assert {tuple(summands(item.clean)) for item in items} == {(a, b) for a in range(7) for b in range(7)}
