"""The folder of shared results: whole or not there, checked when taken, never changed by whoever took it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compgraph import store
from compgraph.cli.main import main
from compgraph.errors import StoreError
from compgraph.provenance import Provenance
from compgraph.shared import Shared

ASKED: dict[str, Any] = {"stage": "effective", "code": "abc", "seed": 1}


def make(manifest: Path, content: str = "weights", code: str = "abc") -> Path:
    made_by = Provenance("effective", code=code, versions={})
    with store.create(manifest, "graph", f"{manifest.stem}.graph", made_by) as draft:
        (draft.path / "deep").mkdir(parents=True)
        (draft.path / "deep" / "a").write_text(content)
        draft.summary["n"] = 3
        draft.warn("mind this")
    return manifest


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    cache = Shared(tmp_path / "cache")
    assert cache.put(ASKED, tmp_path / "one", [make(tmp_path / "one" / "net" / "heads.json")])
    return cache


def payload(shared: Shared) -> Path:
    return shared.place(ASKED) / "results" / "net" / "heads.graph" / "deep" / "a"


def test_what_was_put_is_taken_byte_for_byte(shared: Shared, tmp_path: Path) -> None:
    assert shared.take(ASKED, tmp_path / "two") == [tmp_path / "two" / "net" / "heads.json"]
    for name in ("net/heads.json", "net/heads.graph/deep/a"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    store.verify(tmp_path / "two" / "net" / "heads.json")
    assert shared.take({**ASKED, "seed": 2}, tmp_path / "three") is None and not (tmp_path / "three").exists()


def test_writing_into_a_copy_does_not_reach_the_original(shared: Shared, tmp_path: Path) -> None:
    shared.take(ASKED, tmp_path / "two")
    with (tmp_path / "two/net/heads.graph/deep/a").open("r+") as file:
        file.write("X")
    with (tmp_path / "one/net/heads.graph/deep/a").open("r+") as file:
        file.write("Y")
    assert payload(shared).read_text() == "weights"


@pytest.mark.parametrize("damage", ["flip", "cut", "lose", "link", "foreign", "renamed", "torn", "outside"])
def test_a_damaged_entry_is_refused_and_can_be_replaced(shared: Shared, tmp_path: Path, damage: str) -> None:
    entry, file = shared.place(ASKED), payload(shared)
    said = json.loads((entry / "asked.json").read_text())
    if damage == "flip":
        file.write_text("weighty")
    elif damage == "cut":
        file.write_text("w")
    elif damage == "lose":
        file.unlink()
    elif damage == "link":
        file.unlink()
        (tmp_path / "secret").write_text("weights")
        file.symlink_to(tmp_path / "secret")
    elif damage == "foreign":
        make(entry / "results" / "net" / "heads.json", code="other")
    elif damage == "renamed":
        (entry / "asked.json").write_text(json.dumps(said | {"asked": {**ASKED, "seed": 2}}))
    elif damage == "torn":
        (entry / "asked.json").write_text("{")
    else:
        (entry / "asked.json").write_text(json.dumps(said | {"manifests": ["../../../../one/net/heads.json"]}))
    with pytest.raises(StoreError):
        shared.take(ASKED, tmp_path / "two")
    assert not (tmp_path / "two" / "net" / "heads.json").exists()
    assert not shared.put(ASKED, tmp_path / "one", [tmp_path / "one/net/heads.json"])
    assert shared.put(ASKED, tmp_path / "one", [tmp_path / "one/net/heads.json"], replace=True)
    assert shared.take(ASKED, tmp_path / "two")
    assert not list(shared.folder.glob("*/.*"))


def test_the_first_of_two_writers_stays(shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (shared.place(ASKED) / "asked.json").stat().st_ino
    monkeypatch.setattr(Path, "is_dir", lambda path: False if path == shared.place(ASKED) else os.path.isdir(path))
    assert not shared.put(ASKED, tmp_path / "one", [tmp_path / "one/net/heads.json"])  # both found it missing
    assert (shared.place(ASKED) / "asked.json").stat().st_ino == before
    assert not list(shared.folder.glob("*/.*"))


def test_a_read_only_folder_is_read(shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(os, "utime", refuse)
    assert shared.take(ASKED, tmp_path / "two")
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert not shared.put({**ASKED, "seed": 2}, tmp_path / "one", [tmp_path / "one/net/heads.json"])


def test_clean_says_what_is_there_and_empties_it(shared: Shared, tmp_path: Path) -> None:
    def clean(*more: str, answer: str = "n\n") -> str:
        return CliRunner().invoke(main, ["clean", "--cache", str(shared.folder), *more], input=answer).output

    said = clean()
    assert "effective          1" in said and "Remove 1 of 1 entries" in said and "nothing was removed" in said
    assert "nothing to remove" in clean("--unused", "1")
    assert "removed 1 entries" in clean(answer="y\n") and not list(shared.entries())
    assert "there is no folder" in clean("--cache", str(tmp_path / "none"))


def test_entries_say_their_stage_and_size(shared: Shared) -> None:
    (one,) = shared.entries()
    assert one.stage == "effective" and one.size > len("weights") and one.path == shared.place(ASKED)
    (one.path / "asked.json").write_text("torn")
    assert [entry.stage for entry in shared.entries()] == [""]
    (one.path.parent / ".half.partial").mkdir()
    assert shared.leftovers() == [] and len(shared.leftovers(-1)) == 1
