from __future__ import annotations

import re

import numpy as np
import pytest

from compgraph.data.tasks.induction import WORDS, capacity, generate, vocabulary
from compgraph.data.tokenise import task_pairs
from compgraph.errors import DataError


def follower(text: str) -> str:
    """The word after the first occurrence of the last word."""
    words = text.split()
    place = words.index(words[-1])
    assert 0 < place < len(words) - 1
    return words[place + 1]


@pytest.mark.parametrize("kind", ["target", "cue"])
@pytest.mark.parametrize("length", [4, 5, 12])
def test_answers_are_what_followed(kind: str, length: int) -> None:
    for item in generate(200, np.random.default_rng(0), counterfactual=kind, length=length):
        clean, other = item.clean.split(), item.corrupted.split()
        assert len(clean) == length + 1 and len(set(clean)) == length
        assert item.answers == (f" {follower(item.clean)}",)
        assert item.distractors == (f" {follower(item.corrupted)}",)
        # Same words, same first and last one: two have changed places.
        assert sorted(clean) == sorted(other)
        assert sum(a != b for a, b in zip(clean, other, strict=True)) == 2
        assert (clean[0], clean[-1]) == (other[0], other[-1])
        place = clean.index(clean[-1])
        assert (clean[place] == other[place]) is (kind == "target")


def test_every_place_returns() -> None:
    items = generate(500, np.random.default_rng(0), length=6)
    places = {item.clean.split().index(item.clean.split()[-1]) for item in items}
    assert places == {1, 2, 3, 4}


def test_own_words() -> None:
    words = ["ga", "bu", "zo", "mi", "ne"]
    items = generate(capacity(words=words, length=4), np.random.default_rng(0), words=words, length=4)
    assert len({item.clean for item in items}) == 5 * 4 * 3 * 2 * 2
    assert {word for item in items for word in item.clean.split()} == set(words)


def test_only_so_many_words() -> None:
    items = generate(300, np.random.default_rng(0), n_words=15)
    assert {word for item in items for word in item.clean.split()} == set(WORDS[:15])


@pytest.mark.parametrize("options", [{"n_words": 11}, {"words": ["one"] * 20}, {"words": []}])
def test_too_few_words(options: dict) -> None:
    with pytest.raises(DataError, match="distinct words are too few for sequences of 12"):
        generate(3, np.random.default_rng(0), **options)


def test_invented_names() -> None:
    for item in generate(200, np.random.default_rng(0), style="names"):
        name = next(word for word in item.clean.replace(".", "").split() if re.fullmatch("[B-Z][aeiou][a-z]", word))
        initial = item.clean.split()[-1]
        assert name.startswith(initial + item.answers[0])
        assert item.corrupted == item.clean.replace(name, initial + item.distractors[0] + name[-1])


def test_names_have_no_words() -> None:
    with pytest.raises(DataError, match="no word-level vocabulary"):
        vocabulary(style="names")


@pytest.mark.parametrize("style", ["words", "names"])
def test_with_the_tokenizer_of_a_small_pretrained_model(shared, style: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "stories260k")
    pairs, _ = task_pairs("induction", tokenizer, n=64, style=style)
    assert pairs.n == 64 and pairs.corrupted is not None
    for row in range(64):
        # The last token is there once before, followed by the answer; in the counterfactual by the distractor.
        for tokens, target in ((pairs.clean, pairs.answers), (pairs.corrupted, pairs.distractors)):
            real = tokens[row][pairs.mask[row]]
            places = np.flatnonzero(real[:-1] == real[-1])
            assert real[places + 1].tolist() == [target[row, 0]]


def test_default_words_differ() -> None:
    assert len(set(WORDS)) == len(WORDS)
