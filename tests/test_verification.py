from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from compgraph import store
from compgraph.disk import lock, remove_leftover
from compgraph.errors import StoreError
from compgraph.provenance import Provenance
from compgraph.released import release
from compgraph.verification import open_whole, settle_dates, survey, verify_tree


def make(path: Path, text: str, **inputs: store.Result | str) -> store.Result:
    digests = {role: made if isinstance(made, str) else made.digest for role, made in inputs.items()}
    provenance = Provenance("effective", inputs=digests)
    with store.create(path, kind="test", payload=path.stem + ".txt", provenance=provenance) as draft:
        draft.path.write_text(text, encoding="utf-8")
    return store.open(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A model, a graph made of it, a table made of the graph, and one beside them."""
    root = tmp_path / "results"
    model = make(root / "net" / "model.json", "weights", weights="sha256:elsewhere")
    graph = make(root / "net" / "data" / "graph@effective.heads.json", "edges", model=model)
    make(root / "net" / "data" / "table.json", "rows", graph=graph)
    make(root / "net" / "data" / "other.json", "nothing to do with it")
    (root / "logs").mkdir()
    (root / "logs" / "run.log").write_text("…")
    (root / ".run.lock").touch()
    return root


def found(root: Path, **options: object) -> dict[str, str]:
    return {one.path.name: one.state for one in verify_tree(root, **options).findings}  # type: ignore[arg-type]


def test_a_whole_folder_has_nothing_against_it(root: Path) -> None:
    tree = verify_tree(root)
    assert tree.sound and not tree.findings
    names = [path.name for path in tree.results]
    assert names == ["graph@effective.heads.json", "other.json", "table.json", "model.json"]


def test_changed_bytes_are_torn_and_all_that_follows_is_stale(root: Path) -> None:
    payload = root / "net" / "data" / "graph@effective.heads.txt"
    payload.write_text("edgez")
    assert found(root) == {"graph@effective.heads.json": "torn", "table.json": "stale"}
    assert found(root, fast=True) == {}
    payload.write_text("more edges")
    assert found(root, fast=True) == {"graph@effective.heads.json": "torn", "table.json": "stale"}


def test_an_input_made_anew_makes_its_readers_stale_at_any_remove(root: Path) -> None:
    make(root / "net" / "model.json", "other weights", weights="sha256:elsewhere")
    assert found(root) == {"graph@effective.heads.json": "stale", "table.json": "stale"}
    make(root / "net" / "model.json", "weights", weights="sha256:elsewhere")
    assert found(root) == {}


def test_what_the_study_does_not_ask_for_is_orphaned(root: Path) -> None:
    wanted = [root / "net" / "model.json", root / "net" / "data" / "graph@effective.heads.json"]
    assert found(root, wanted=wanted) == {"table.json": "orphaned", "other.json": "orphaned"}


def test_what_no_manifest_names(root: Path) -> None:
    (root / "net" / "data" / "table.json").unlink()
    (root / "net" / "notes").mkdir()
    (root / "net" / "notes" / "a.txt").write_text("mine")
    (root / "net" / "data" / "graph@effective.heads.txt.partial").write_text("half")
    (root / "net" / "data" / "other.json").write_text("{")
    assert found(root) == {
        "table.txt": "unknown",
        "notes": "unknown",
        "graph@effective.heads.txt.partial": "leftover",
        "other.json": "torn",
    }


def test_what_is_put_away_is_neither_torn_nor_missed(tmp_path: Path) -> None:
    buffer = tmp_path / "net" / "activations.json"
    provenance = Provenance("activations")
    with store.create(buffer, kind="activations", payload="activations.txt", provenance=provenance) as made:
        made.path.write_text("rows", encoding="utf-8")
    make(tmp_path / "net" / "table.json", "numbers", activations=store.open(buffer))
    buffer.with_suffix(".txt").unlink()
    tree = verify_tree(tmp_path)
    assert tree.sound and [(one.path, one.state) for one in tree.findings] == [(buffer, "put away")]
    asked = verify_tree(tmp_path, wanted=[tmp_path / "net" / "table.json"])
    assert [one.path for one in asked.of("orphaned")] == [buffer]


def test_what_a_run_let_go_is_put_away(tmp_path: Path) -> None:
    buffer = tmp_path / "net" / "activations.json"
    with store.create(buffer, "activations", "activations.txt", Provenance("activations")) as made:
        made.path.write_text("rows", encoding="utf-8")
    release(store.open(buffer))
    (found,) = verify_tree(tmp_path).findings
    assert found.state == "put away" and "run.keep" in found.reason


def test_only_what_was_written_is_opened_as_whole(root: Path) -> None:
    manifest = root / "net" / "model.json"
    payload = root / "net" / "model.txt"
    before = payload.stat()
    assert open_whole(manifest).digest == store.open(manifest).digest
    payload.write_text("weightz")
    with pytest.raises(StoreError, match="damaged"):
        open_whole(manifest)
    os.utime(payload, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert open_whole(manifest), "sizes and dates are as they were"
    with pytest.raises(StoreError, match="damaged"):
        open_whole(manifest, every_byte=True)


def test_dates_of_the_future_become_today(root: Path) -> None:
    early, late = root / "net" / "model.json", root / "net" / "data" / "table.json"
    before = time.time()
    os.utime(early, (before - 100, before - 100))
    os.utime(late, (before + 1e6, before + 1e6))
    assert settle_dates([early, late, root / "none"]) == 1
    assert early.stat().st_mtime == pytest.approx(before - 100)
    assert before - 1 < late.stat().st_mtime <= time.time()


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no results folder"):
        survey(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("graph@effective.heads.graph.partial", ".graph@effective.heads.graph.partial.lock"),
        ("graph@effective.heads.graph.old", ".graph@effective.heads.json.lock"),
        (".graph@effective.heads.json.tmp", ".graph@effective.heads.json.lock"),
        (".graph@effective.heads.json.lock", ".graph@effective.heads.json.lock"),
    ],
)
def test_a_leftover_goes_unless_a_living_writer_holds_it(tmp_path: Path, name: str, held: str) -> None:
    leftover = tmp_path / name
    leftover.write_text("half")
    with lock(tmp_path / held):
        assert not remove_leftover(leftover)
        assert leftover.exists()
    leftover.write_text("half")
    assert remove_leftover(leftover)
    assert not list(tmp_path.iterdir())


def test_a_discarded_result_leaves_nothing(root: Path) -> None:
    store.discard(store.open(root / "net" / "model.json"))
    assert not list((root / "net").glob("model*"))
    assert found(root) == {"graph@effective.heads.json": "stale", "table.json": "stale"}
