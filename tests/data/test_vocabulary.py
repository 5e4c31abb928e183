from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compgraph.data.tokenise import find_task, task_pairs
from compgraph.data.vocabulary import word_tokenizer
from compgraph.errors import DataError
from tests.data import sample_tokenizers


def test_special_tokens() -> None:
    tokenizer = sample_tokenizers.words()
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    ids = tokenizer("The keys near the cabinet")["input_ids"]
    assert ids[0] == 1 and len(ids) == 6
    assert tokenizer("zyzzyva")["input_ids"] == [1, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("year 1732 to 17", "year 17 32 to 17"),
        ("96 + 105 =", "96 + 105 ="),
        ("the park, isn't it", "the park , isn't it"),
        ('load(self):\n    """size\n\n    :param', 'load ( self ) : """ size : param'),
    ],
)
def test_words(text: str, words: str) -> None:
    tokenizer = sample_tokenizers.words()
    pieces = [piece for piece, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    assert pieces == words.split()


def test_a_word_is_the_same_token_everywhere() -> None:
    tokenizer = sample_tokenizers.words()
    first, second = tokenizer("key")["input_ids"], tokenizer("door key")["input_ids"]
    assert first[-1] == second[-1]


@pytest.mark.parametrize("name", sample_tokenizers.TASKS)
def test_no_word_too_many(name: str) -> None:
    """Every word of the vocabulary occurs in some item."""
    options = {"agreement": {"verb": "any", "n_attractors": 2}, "modular_addition": {"modulus": 20}}.get(name, {})
    tokenizer = word_tokenizer({name: options})
    task = find_task(name)
    items = task.generate(min(4000, task.capacity(**options)), np.random.default_rng(0), **options)
    seen: set[int] = set()
    for part in ([item.clean for item in items], [item.corrupted for item in items]):
        seen.update(token for row in tokenizer(part)["input_ids"] for token in row)
    targets = {text for item in items for text in (*item.answers, *item.distractors)}
    seen.update(token for row in tokenizer(sorted(targets))["input_ids"] for token in row)
    assert {tokenizer.convert_ids_to_tokens(k) for k in range(3, len(tokenizer)) if k not in seen} == set()
    assert 2 not in seen


def test_saved_and_opened_like_any_other(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = word_tokenizer(["ioi", "agreement"])
    for name in ("one", "two"):
        word_tokenizer(["ioi", "agreement"]).save_pretrained(tmp_path / name)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert {"tokenizer.json", "tokenizer_config.json"} <= set(files)
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    opened = AutoTokenizer.from_pretrained(tmp_path / "one")
    assert opened.get_vocab() == tokenizer.get_vocab()
    assert (opened.pad_token_id, opened.bos_token_id, opened.unk_token_id) == (0, 1, 2)
    pairs, report = task_pairs("ioi", opened, n=20)
    assert report.n_rejected == 0
    assert pairs.digest == task_pairs("ioi", tokenizer, n=20)[0].digest


def test_the_order_of_the_tasks_does_not_matter() -> None:
    assert word_tokenizer(["ioi", "agreement"]).get_vocab() == word_tokenizer(["agreement", "ioi"]).get_vocab()


def test_options_make_the_vocabulary_smaller() -> None:
    small = word_tokenizer({"induction": {"n_words": 20}, "agreement": {"n_nouns": 5, "n_linkers": 2}})
    assert len(small) < 50 < len(word_tokenizer(["induction", "agreement"]))
    assert task_pairs("induction", small, n=30, n_words=20)[1].n_rejected == 0
    with pytest.raises(DataError, match="induction: n_words = -1"):
        word_tokenizer({"induction": {"n_words": -1}})
