from __future__ import annotations

import os
from pathlib import Path

import pytest

from compgraph.reruns import files
from compgraph.reruns.files import Digests, digest_of_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("a.txt", "one"), ("b/c.txt", "two")):
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (1e9, 1e9))
    return tmp_path / "from"


def paths(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*.txt"))


def test_bytes_and_names_count_and_the_folder_does_not(folder: Path) -> None:
    before = digest_of_files(paths(folder))
    (folder / "a.txt").touch()
    folder.rename(folder.with_name("to"))
    assert digest_of_files(paths(folder.with_name("to"))) == before
    (folder.with_name("to") / "a.txt").write_text("0ne")
    assert digest_of_files(paths(folder.with_name("to"))) != before
    assert digest_of_files([]) is None


def test_a_file_is_read_again_if_its_date_is_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = files.bytes_digest
    monkeypatch.setattr(files, "bytes_digest", lambda path: read.append(path.name) or real(path))
    record = folder.parent / "cache" / "files.json"
    for _ in range(2):
        known = Digests(record)
        digest = digest_of_files(paths(folder), known)
        known.keep()
    assert read == ["a.txt", "c.txt"]
    (folder / "a.txt").write_text("0ne")
    os.utime(folder / "a.txt", (5e8, 5e8))  # older than before, and of the same size
    assert digest_of_files(paths(folder), Digests(record)) != digest
    assert read == ["a.txt", "c.txt", "a.txt"]
    record.write_text("{")
    assert digest_of_files(paths(folder), Digests(record)) is not None


def test_what_has_just_been_written_is_not_remembered(folder: Path) -> None:
    (folder / "a.txt").write_text("new")
    record = folder.parent / "files.json"
    known = Digests(record)
    digest_of_files(paths(folder), known)
    known.keep()
    assert "a.txt" not in record.read_text() and "c.txt" in record.read_text()
