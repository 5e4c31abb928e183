"""What holds for every task."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from compgraph.data.tasks.items import Item
from compgraph.data.tokenise import find_task, task_pairs
from compgraph.data.vocabulary import word_tokenizer
from compgraph.errors import DataError
from tests.data import sample_tokenizers

# Every task with its defaults, and with each of its choices.
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in sample_tokenizers.TASKS),
    *(("ioi", {"counterfactual": kind}) for kind in ("abc", "random")),
    *(("ioi", {"order": order}) for order in ("abba", "baba")),
    ("ioi", {"n_names": 6, "n_templates": 1, "n_places": 1, "n_things": 1}),
    ("greater_than", {"n_templates": 4, "first_century": 16, "n_nouns": 3}),
    ("agreement", {"n_attractors": 0}),
    ("agreement", {"structure": "relative"}),
    ("agreement", {"structure": "mixed", "n_attractors": 2}),
    *(("agreement", {"attractor_number": kind, "verb": "any"}) for kind in ("opposite", "same")),
    ("induction", {"counterfactual": "cue", "length": 4, "n_words": 5}),
    ("induction", {"length": 9, "n_words": 20}),
    *(("modular_addition", {"counterfactual": kind, "modulus": 9}) for kind in ("first", "second", "both")),
    ("gendered_pronoun", {"style": "tag"}),
    ("gendered_pronoun", {"n_names": 5, "n_fillers": 2, "n_templates": 2}),
    ("docstring", {"counterfactual": "replace", "n_arguments": 6}),
]  # fmt: skip
IDS = [" ".join([name, *(f"{key}={value}" for key, value in options.items())]) for name, options in CASES]


def make(name: str, options: dict[str, Any], n: int = 60, seed: int = 0) -> list[Item]:
    return find_task(name).generate(n, np.random.default_rng(seed), **options)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_items(name: str, options: dict[str, Any]) -> None:
    items = make(name, options)
    assert len(items) == 60
    assert len({(item.clean, item.answers) for item in items}) == 60
    assert [item.id for item in items] == [f"{name}/{k:06d}" for k in range(60)]
    assert {item.task for item in items} == {name}
    for item in items:
        assert item.clean != item.corrupted
        assert item.answers and item.distractors
        assert set(item.answers).isdisjoint(item.distractors)
        assert not re.search(r"[{}]", item.clean + item.corrupted)
        assert item.clean == item.clean.rstrip()
    assert make(name, options) == items
    assert make(name, options, seed=1) != items


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_every_item_serves_a_word_level_tokenizer(name: str, options: dict[str, Any]) -> None:
    pairs, report = task_pairs(name, word_tokenizer({name: options}), n=60, **options)
    assert report.n_rejected == 0 and pairs.n == 60
    assert pairs.corrupted is not None
    # The counterfactual differs at real tokens only, and somewhere.
    differs = pairs.clean != pairs.corrupted
    assert differs.any(axis=1).all()
    assert not differs[~pairs.mask].any()


# Left out: greater_than, since so small a BPE makes whole years of what it was trained on.
@pytest.mark.parametrize("name", [name for name in sample_tokenizers.TASKS if name != "greater_than"])
def test_byte_level_bpe(name: str) -> None:
    tokenizer = sample_tokenizers.byte_level()
    pairs, report = task_pairs(name, tokenizer, n=40)
    assert pairs.n == report.n_accepted == 40
    for row in range(40):
        text = tokenizer.decode(pairs.clean[row][pairs.mask[row]])
        answer = tokenizer.decode([pairs.answers[row, 0]])
        whole = tokenizer(text + answer)["input_ids"]
        assert whole == [*pairs.clean[row][pairs.mask[row]], pairs.answers[row, 0]]


SMALL = [case for case in CASES if find_task(case[0]).capacity(**case[1]) <= 3000]


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_capacity_is_what_can_be_made(name: str, options: dict[str, Any]) -> None:
    capacity = find_task(name).capacity(**options)
    items = make(name, options, n=capacity)
    assert len({(item.clean, item.answers) for item in items}) == capacity
    with pytest.raises(DataError, match=f"{name}: there are {capacity} distinct items"):
        make(name, options, n=capacity + 1)


def test_every_task_but_one_has_a_small_case() -> None:
    # Arrangements for the names of arguments cannot be made few without own words.
    assert {name for name, _ in SMALL} == set(sample_tokenizers.TASKS) - {"docstring"}


@pytest.mark.parametrize("name", sample_tokenizers.TASKS)
def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: there is no option 'nonsense'; .*valid: "):
        make(name, {"nonsense": 1})
