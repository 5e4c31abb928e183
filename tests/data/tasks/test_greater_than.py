from __future__ import annotations

import re

import numpy as np
import pytest

from compgraph.data.tasks.greater_than import continuations, generate
from compgraph.errors import DataError


@pytest.mark.parametrize("n_templates", [1, 4])
def test_answers_are_all_later_years(n_templates: int) -> None:
    for item in generate(200, np.random.default_rng(0), n_templates=n_templates):
        start = re.search(r"(\d\d)(\d\d)\b", item.clean)
        assert start is not None
        century, year = start.groups()
        assert item.clean.endswith(f" {century}")
        assert [int(end) for end in item.answers] == list(range(int(year) + 1, 100))
        assert [int(end) for end in item.distractors] == list(range(int(year) + 1))
        assert item.corrupted == item.clean.replace(century + year, century + "01")
        assert all(len(str(end)) == 2 for end in item.answers + item.distractors)


def test_continuations() -> None:
    after, before = continuations(97)
    assert after == ("98", "99") and len(before) == 98 and before[:2] == ("00", "01")


def test_centuries_in_the_wrong_order() -> None:
    with pytest.raises(DataError, match="last_century = 12 must not be below first_century = 15"):
        generate(3, np.random.default_rng(0), first_century=15, last_century=12)
