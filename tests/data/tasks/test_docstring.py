from __future__ import annotations

import re

import numpy as np
import pytest

from compgraph.data.tasks.docstring import ARGUMENTS, WORDS, generate
from compgraph.errors import DataError


def signature(text: str) -> list[str]:
    match = re.match(r"def \w+\(self, (.*)\):\n", text)
    assert match is not None
    return match[1].split(", ")


@pytest.mark.parametrize("kind", ["swap", "replace"])
@pytest.mark.parametrize("n_arguments", [4, 6])
def test_the_answer_is_the_third_argument(kind: str, n_arguments: int) -> None:
    for item in generate(100, np.random.default_rng(0), counterfactual=kind, n_arguments=n_arguments):
        names, others = signature(item.clean), signature(item.corrupted)
        documented = re.findall(r":param (\w+):", item.clean)
        assert len(set(names)) == n_arguments
        assert documented == names[:2] and item.clean.endswith("    :param")
        assert item.answers == (f" {names[2]}",)
        assert item.distractors == (f" {others[2]}",)
        assert item.clean.split("\n")[1:] == item.corrupted.split("\n")[1:]
        if kind == "swap":
            assert [others[k] for k in (2, 3)] == [names[k] for k in (3, 2)]
        else:
            assert others[2] not in names and others[:2] + others[3:] == names[:2] + names[3:]


def test_arguments_are_not_among_the_other_words() -> None:
    assert not set(ARGUMENTS) & set(WORDS)
    assert len(set(ARGUMENTS)) == len(ARGUMENTS)


def test_too_few_words() -> None:
    with pytest.raises(DataError, match="4 distinct words are too few for 4 arguments and one to spare"):
        generate(3, np.random.default_rng(0), words=["a", "b", "c", "d"])
