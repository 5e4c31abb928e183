from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compgraph.data.tasks import ioi
from compgraph.data.tasks.items import Item, assign_splits
from compgraph.data.tokenise import find_task, load_task, relabel, sequences, task_pairs, tokenise
from compgraph.errors import DataError
from tests.data import sample_tokenizers


def item(number: int, clean: str = "one two", corrupted: str = "one four") -> Item:
    return Item(f"toy/{number}", "toy", clean, corrupted, (" three",), (" one",))


@pytest.mark.parametrize("padding", ["right", "left"])
def test_pairs(padding: Any) -> None:
    items = [item(0, "one", "two"), item(1, "one two three", "one two four")]
    pairs, report = tokenise(items, sample_tokenizers.closed(), padding=padding)
    # This tokenizer has no padding token: its last one fills the gap, and the mask says so.
    short = [1, 3] if padding == "right" else [2, 2, 1, 3]
    real = pairs.mask[0]
    assert pairs.clean[0][real].tolist() == [1, 3]
    assert pairs.clean[0][: len(short)].tolist() == short
    assert pairs.clean[1].tolist() == [1, 3, 4, 5]
    assert pairs.corrupted is not None and pairs.corrupted[1].tolist() == [1, 3, 4, 6]
    assert pairs.clean[[0, 1], pairs.positions].tolist() == [3, 5]
    assert pairs.answers is not None and pairs.answers.tolist() == [[5], [5]]
    assert pairs.distractors is not None and pairs.distractors.tolist() == [[3], [3]]
    assert pairs.ids.tolist() == ["toy/0", "toy/1"] and pairs.tasks == ["toy"]
    assert report.n_accepted == 2


def test_no_counterfactuals_and_no_distractors() -> None:
    items = [replace(item(0), corrupted="", distractors=())]
    pairs, _ = tokenise(items, sample_tokenizers.closed())
    assert pairs.corrupted is None and pairs.distractors is None


def test_rejected_items_are_dropped_or_refused() -> None:
    items = [item(0), item(1, corrupted="one two three"), item(2)]
    pairs, report = tokenise(items, sample_tokenizers.closed())
    assert pairs.ids.tolist() == ["toy/0", "toy/2"] and report.n_rejected == 1
    with pytest.raises(DataError, match=r"item 'toy/1' cannot be used because clean and corrupted .* 'one two'"):
        tokenise(items, sample_tokenizers.closed(), on_reject="error")
    with pytest.raises(DataError, match=r"toy: at least 3 usable items .* 2 of 3 items kept; dropped 1 because"):
        tokenise(items, sample_tokenizers.closed(), min_items=3)
    with pytest.raises(DataError, match=r"0 of 1 items kept; dropped 1 because clean and .* 'one two' -> ' three'"):
        tokenise(items[1:2], sample_tokenizers.closed())
    with pytest.raises(DataError, match="no items"):
        tokenise([], sample_tokenizers.closed())


def test_unpadded_and_padded_tokens_agree() -> None:
    items = ioi.generate(200, np.random.default_rng(0))
    tokenizer = sample_tokenizers.byte_level()
    pairs, _ = tokenise(items, tokenizer)
    texts = {item.id: item for item in items}
    for row in range(0, pairs.n, 7):
        expected = tokenizer(texts[str(pairs.ids[row])].clean)["input_ids"]
        assert pairs.clean[row][pairs.mask[row]].tolist() == expected


def test_same_seed_same_pairs() -> None:
    one = load_task("ioi", sample_tokenizers.words(), n=50, seed=3)
    assert one.digest == load_task("ioi", sample_tokenizers.words(), n=50, seed=3).digest
    assert one.digest != load_task("ioi", sample_tokenizers.words(), n=50, seed=4).digest
    assert one.ids[0] == "ioi/000000" and one.tasks == ["ioi"]


def test_splits_do_not_mix() -> None:
    words = sample_tokenizers.words()
    sets = {
        split: load_task("modular_addition", words, n=n, split=split, modulus=23, seed=seed)
        for split, n, seed in (("train", 300, 1), ("test", 60, 2))
    }
    prompts = {split: {tuple(row) for row in pairs.clean.tolist()} for split, pairs in sets.items()}
    assert len(prompts["train"]) == 300 and not prompts["train"] & prompts["test"]
    assert all(set(pairs.split) == {split} for split, pairs in sets.items())
    both = load_task("modular_addition", words, n=529, modulus=23)
    test = {tuple(row) for row in both.select(split="test").clean.tolist()}
    assert prompts["test"] <= test and abs(len(test) / 529 - 0.2) < 0.07


def test_a_split_that_is_too_small() -> None:
    with pytest.raises(DataError, match=r"60 items of the test split were asked for and .* can be had"):
        load_task("modular_addition", sample_tokenizers.words(), n=60, split="test", modulus=11)
    with pytest.raises(DataError, match="split = 'dev' is not one of train, test"):
        load_task("ioi", sample_tokenizers.words(), split="dev")


def test_more_is_made_until_enough_are_usable() -> None:
    # Only six names of the sixty are words of this tokenizer: about one item in a hundred is usable.
    from compgraph.data.vocabulary import word_tokenizer

    tokenizer = word_tokenizer({"ioi": {"n_names": 6}})
    pairs, report = task_pairs("ioi", tokenizer, n=40)
    assert pairs.n == 40 and report.n_rejected > 400
    assert set(report.rejected) == {"the prompt holds an unknown word"}


def test_a_tokenizer_that_cannot() -> None:
    with pytest.raises(DataError, match=r"ioi: 8 items were asked for and 0 can be had: .* an unknown word"):
        load_task("ioi", sample_tokenizers.closed(), n=8)


def test_words_come_from_the_tokenizer() -> None:
    pairs = load_task("induction", sample_tokenizers.closed(), n=12, length=4)
    assert pairs.clean.min() == 1 and pairs.clean[:, 1:].min() == 3 and pairs.clean.max() == 6
    with pytest.raises(DataError, match="4 distinct words are too few for sequences of 5"):
        load_task("induction", sample_tokenizers.closed(), n=12, length=5)


def test_networks_may_carry_the_tokenizer() -> None:
    class Net:
        tokenizer = sample_tokenizers.words()

    assert load_task("ioi", Net(), n=5).n == 5


def test_names_of_tasks() -> None:
    assert find_task("ioi") is ioi
    with pytest.raises(DataError, match=r"no task 'aoi'; did you mean 'ioi'.*valid: ioi, greater_than"):
        load_task("aoi", sample_tokenizers.words())
    renamed = relabel(ioi.generate(2, np.random.default_rng(0)), "names")
    assert [(item.id, item.task) for item in renamed] == [("names/000000", "names"), ("names/000001", "names")]


def test_split_labels_are_those_of_the_texts() -> None:
    items = ioi.generate(100, np.random.default_rng(0))
    pairs, _ = tokenise(items, sample_tokenizers.words(), test_share=0.4, split_seed=7)
    assert pairs.split.tolist() == assign_splits([item.clean for item in items], 7, 0.4).tolist()


@pytest.mark.parametrize("name", sample_tokenizers.TASKS)
def test_training_sequences(name: str) -> None:
    words = sample_tokenizers.words()
    items = find_task(name).generate(80, np.random.default_rng(0))
    batch = sequences(items, words, np.random.default_rng(1))
    pairs, _ = tokenise(items, words)
    rows = np.arange(80)
    assert np.array_equal(batch.positions, pairs.positions)
    # The token after the scored position is one of the answers; up to there it is the clean prompt.
    assert (batch.tokens[rows, batch.positions + 1][:, None] == pairs.answers).any(axis=1).all()
    assert np.array_equal(batch.tokens[:, : pairs.length][pairs.mask], pairs.clean[pairs.mask])
    assert (batch.mask.sum(axis=1) == batch.positions + 2).all()


def test_training_sequences_use_every_answer() -> None:
    items = find_task("greater_than").generate(400, np.random.default_rng(0))
    words = sample_tokenizers.words()
    batch = sequences(items, words, np.random.default_rng(1))
    ends = [int(words.decode([row[at + 1]])) for row, at in zip(batch.tokens, batch.positions, strict=True)]
    share = [(end - int(item.answers[0])) / len(item.answers) for end, item in zip(ends, items, strict=True)]
    assert 0.4 < float(np.mean(share)) < 0.6
