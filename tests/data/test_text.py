from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from compgraph.data.text import cut_windows, text_pairs
from compgraph.errors import DataError, MissingDependency
from tests.data import sample_tokenizers

CLOSED = sample_tokenizers.closed
NUMBERS = "one two three four\n" * 30


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "story.txt"
    path.write_text(NUMBERS)
    return path


def test_windows_follow_the_text(story: Path) -> None:
    pairs = text_pairs(story, CLOSED(), length=6)
    # Five words after the first token: 120 words make 24 windows.
    assert pairs.clean.shape == (24, 6)
    assert (pairs.clean[:, 0] == 1).all()
    assert pairs.clean[:, 1:].ravel().tolist() == [3, 4, 5, 6] * 30
    assert pairs.corrupted is None and pairs.answers is None and pairs.distractors is None
    assert pairs.ids.tolist() == [f"story:{k:06d}" for k in range(24)]
    assert pairs.tasks == ["story"] and (pairs.positions == 5).all() and pairs.mask.all()
    assert set(pairs.split) == {"train", "test"}


def test_some_windows(story: Path) -> None:
    all_windows = text_pairs(story, CLOSED(), length=6)
    some = text_pairs(story, CLOSED(), length=6, n=7, seed=2)
    assert some.n == 7 and some.ids.tolist() == sorted(some.ids.tolist())
    rows = [all_windows.ids.tolist().index(name) for name in some.ids]
    assert np.array_equal(some.clean, all_windows.clean[rows])
    assert some.split.tolist() == all_windows.split[rows].tolist()
    assert text_pairs(story, CLOSED(), length=6, n=7, seed=3).ids.tolist() != some.ids.tolist()


def test_blocks_join_without_a_seam(story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = text_pairs(story, CLOSED(), length=7).clean
    monkeypatch.setattr("compgraph.data.text.BLOCK", 40)
    assert np.array_equal(text_pairs(story, CLOSED(), length=7).clean, whole)


def test_documents_are_parted() -> None:
    rows = cut_windows(["one two", "three", "four one"], CLOSED(), 4)
    assert rows.tolist() == [[1, 3, 4, 2], [1, 5, 2, 6]]
    assert cut_windows(["one two", "three four"], CLOSED(), 3, separate=False).tolist() == [[1, 3, 4], [1, 5, 6]]


def test_only_as_much_is_read_as_needed() -> None:
    def endless():
        while True:
            yield "one two three four"

    assert cut_windows(endless(), CLOSED(), 6, limit=9).shape == (9, 6)


def test_texts_that_do_not_serve(story: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shorter than one window of 500 tokens"):
        text_pairs(story, CLOSED(), length=500)
    with pytest.raises(DataError, match="99 windows of 6 tokens were asked for and the text has 24"):
        text_pairs(story, CLOSED(), length=6, n=99)
    with pytest.raises(DataError, match="length = 1 leaves no room for text; it must be at least 2"):
        text_pairs(story, CLOSED(), length=1)
    with pytest.raises(DataError, match="there is no such file"):
        text_pairs(tmp_path / "none.txt", CLOSED())
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DataError, match="shorter than one window"):
        text_pairs(tmp_path / "empty.txt", CLOSED())
    (tmp_path / "bytes.txt").write_bytes(b"one two\xff\xfe three" * 50)
    with pytest.raises(DataError, match="not a UTF-8 text"):
        text_pairs(tmp_path / "bytes.txt", CLOSED())


def test_datasets_need_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependency, match=r"'someone/stories' .* pip install datasets"):
        text_pairs("someone/stories", CLOSED())


def test_datasets_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def load_dataset(name, config, **options):
        asked.update(name=name, config=config, **options)
        return ({"text": "one two three", "label": k} for k in range(1000))

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    pairs = text_pairs("someone/stories", CLOSED(), length=5, n=3, part="test", revision="main")
    assert asked == {
        "name": "someone/stories", "config": None, "split": "test", "revision": "main", "streaming": True
    }  # fmt: skip
    assert pairs.n == 3 and pairs.tasks == ["stories"]
    assert {tuple(row) for row in pairs.clean.tolist()} == {(1, 3, 4, 5, 2)}
    with pytest.raises(DataError, match="has no column 'body'; it has: text, label"):
        text_pairs("someone/stories", CLOSED(), length=5, n=3, column="body")

    def missing(*_, **__):
        raise FileNotFoundError("no dataset of that name\nand more")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=missing))
    with pytest.raises(DataError, match=r"cannot be opened: no dataset of that name$"):
        text_pairs("someone/stories", CLOSED(), length=5, n=3)
