from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compgraph.data.files import PRESETS, file_pairs, read_items
from compgraph.data.tasks.items import Item
from compgraph.errors import DataError
from tests.data import sample_tokenizers

ROW = {"clean": "one two", "corrupted": "one four", "answer": " three", "distractor": " one"}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def test_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "toy.jsonl", [ROW, ROW | {"answer": [" three", 4], "distractor": 6}])
    assert read_items(path) == [
        Item("toy/000000", "toy", "one two", "one four", (" three",), (" one",)),
        Item("toy/000001", "toy", "one two", "one four", (" three", 4), (6,)),
    ]


def test_a_json_list(tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    path.write_text(json.dumps([ROW, ROW], indent=1))
    assert len(read_items(path)) == 2


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "toy.csv"
    path.write_text('id,clean,corrupted,answers,distractor_ids,task\nx1,"one, two",one four, three| two,6|3,own\n')
    assert read_items(path) == [Item("x1", "own", "one, two", "one four", (" three", " two"), (6, 3))]


def test_own_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "toy.jsonl", [{"q": "one", "a": " two", "bad": " four", "kind": "k", "n": 7}])
    columns = {"clean": "q", "answer": "a", "distractor": "bad", "task": "kind", "id": "n"}
    assert read_items(path, columns) == [Item("7", "k", "one", "", (" two",), (" four",))]


def test_pairs(tmp_path: Path) -> None:
    path = write(tmp_path / "toy.jsonl", [ROW, ROW | {"corrupted": "four"}, ROW, ROW])
    pairs, report = file_pairs(path, sample_tokenizers.closed())
    assert pairs.ids.tolist() == ["toy/000000", "toy/000002", "toy/000003"]
    assert report.rejected == {"clean and corrupted prompt differ in their number of tokens": 1}
    some, _ = file_pairs(path, sample_tokenizers.closed(), n=2, seed=1)
    assert some.n == 2 and some.digest == file_pairs(path, sample_tokenizers.closed(), n=2, seed=1)[0].digest
    with pytest.raises(DataError, match="5 pairs were asked for and the file has 4"):
        file_pairs(path, sample_tokenizers.closed(), n=5)
    with pytest.raises(DataError, match=r"at least 4 usable items .* 3 of 4"):
        file_pairs(path, sample_tokenizers.closed(), n=4)


CASES = [
    ("toy.csv", "", {}, "the file is empty"),
    ("toy.csv", "clean,answer\n", {}, "the file is empty"),
    ("toy.jsonl", "\n\n", {}, "the file is empty"),
    ("toy.json", "[]", {}, "the file is empty"),
    ("toy.txt", "x", {}, "ends in one of .csv, .jsonl, .json, not '.txt'"),
    ("toy.csv", "clean,answer\na,b\na,b,c\n", {}, "line 3: 3 cells where the header has 2"),
    ("toy.csv", 'clean,answer\na,"b\n', {}, "line 2: not valid CSV"),
    ("toy.jsonl", json.dumps(ROW) + "\n{oops\n", {}, r"line 2: not valid JSON \(Expecting .*column 2\)"),
    ("toy.json", '[\n{"clean": "a"},\n]', {}, "line 3: not valid JSON|line 2: not valid JSON"),
    ("toy.jsonl", "3\n", {}, "line 1: '3' is not an object"),
    ("toy.jsonl", '{"question": "a"}\n', {}, "no column for clean; name one of: question"),
    ("toy.jsonl", '{"clean": "a"}\n', {}, "no column for answer or answer_id"),
    ("toy.jsonl", json.dumps(ROW), {"answer": "right"}, "no column 'right' for answer; it has: clean, corrupted"),
    ("toy.jsonl", json.dumps(ROW), {"anwser": "answer"}, "columns has no 'anwser'; valid: preset, clean"),
    ("toy.jsonl", json.dumps(ROW), {"preset": "mib"}, "no preset 'mib'; valid: feature-circuits"),
    ("toy.jsonl", json.dumps(ROW) + '\n{"clean": "a"}\n', {}, "line 2: the column 'answer' for answer is missing"),
    ("toy.jsonl", json.dumps(ROW | {"answer": 1.5}), {}, r"line 1: no answers .*\(1.5 is neither"),
    ("toy.csv", "clean,answer_id\none,three\n", {}, "line 2: no answers can be read"),
    ("toy.csv", "clean,answer,id\na,b,x\nc,d,x\n", {}, "line 3: id 'x' was already given in line 2"),
    ("toy.csv", "clean,corrupted,label\na,b,99\n", {}, r"line 2: no answers .*\(label 99 is not"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "columns", "message"), CASES, ids=[case[3] for case in CASES])
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str, columns: dict, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_items(tmp_path / name, columns)
    assert str(error.value).startswith(str(tmp_path / name))


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_items(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"clean,answer\n\xff\xfe,b\n")
    with pytest.raises(DataError, match="not a UTF-8 text"):
        read_items(tmp_path / "bytes.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        read_items(tmp_path / "folder.csv")


def test_presets_on_rows_like_those_of_their_files(tmp_path: Path) -> None:
    ioi = tmp_path / "ioi.csv"
    ioi.write_text(
        ",clean,corrupted,corrupted_hard,correct_idx,incorrect_idx\n"
        '4,"Then, Ann and Bob met. Bob gave it to","Then, Ann and Bob met. Cid gave it to",'
        '"Then, Ann and Bob met. Ann gave it to",11,12\n'
    )
    item = read_items(ioi)[0]
    assert (item.answers, item.distractors) == ((" Ann",), (" Bob",))
    assert "Cid" in item.corrupted
    hard = read_items(ioi, {"corrupted": "corrupted_hard"})[0]
    assert "Cid" not in hard.corrupted and hard.answers == (" Ann",)
    by_id = read_items(ioi, {"answer_id": "correct_idx", "distractor_id": "incorrect_idx"})[0]
    assert (by_id.answers, by_id.distractors) == ((11,), (12,))


COUNTS = {
    "subject-verb-agreement/simple_test.json": ("feature-circuits", 120),
    "subject-verb-agreement/within_rc_test.json": ("feature-circuits", 2400),
    "eap-ig/ioi_llama.csv": ("eap-ig-ioi", 499),
    "eap-ig/greater_than_data.csv": ("eap-ig-greater-than", 1000),
}


@pytest.mark.parametrize("name", COUNTS)
def test_files_of_other_packages(shared: Path, name: str) -> None:
    path = shared / "data" / "circuit-tasks" / name
    preset, count = COUNTS[name]
    items = read_items(path)
    assert len(items) == count
    assert items == read_items(path, {"preset": preset})
    for item in items:
        assert item.clean != item.corrupted
        assert item.answers and item.distractors and set(item.answers).isdisjoint(item.distractors)
        assert len(item.clean.split()) == len(item.corrupted.split())
    if preset == "eap-ig-ioi":
        for item in items:
            words = [word.strip(".,") for word in item.clean.split()]
            assert (words.count(str(item.answers[0])[1:]), words.count(str(item.distractors[0])[1:])) == (1, 2)
    if preset == "eap-ig-greater-than":
        assert all(len(item.answers) + len(item.distractors) == 100 for item in items)


def test_every_preset_is_recognised_by_its_columns() -> None:
    assert set(PRESETS) == {"feature-circuits", "eap-ig-ioi", "eap-ig-greater-than"}
    marks = [set(preset.marks) for preset in PRESETS.values()]
    assert all(not one <= other for one in marks for other in marks if one is not other)
