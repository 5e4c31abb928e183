from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compgraph import store
from compgraph.errors import StoreError
from compgraph.provenance import Provenance

MADE = Provenance("test", {"a": 1}, seed=3, inputs={"model": "0"}, code="c0de", versions={"compgraph": "1"})


ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(store.__file__).parents[1])}


def make_folder(manifest: Path, texts: dict[str, str], **options) -> store.Result:
    with store.create(manifest, "thing", "x.data", MADE, **options) as draft:
        for name, text in texts.items():
            (draft.path / name).parent.mkdir(parents=True, exist_ok=True)
            (draft.path / name).write_text(text)
        draft.summary = {"count": np.int64(len(texts))}
    return store.open(manifest)


def make_zarr(path: Path, **options) -> None:
    import zarr

    group = zarr.create_group(path)
    array = group.create_array("a/b", shape=(5, 3), chunks=(2, 3), dtype="float32", **options)
    array[:] = np.arange(15).reshape(5, 3)
    group.create_array("scalar", shape=(), dtype="int32")[...] = 4


def refused(message: str, error: type[BaseException] = StoreError):
    return pytest.raises(error, match=message)


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_folder_round_trip(tmp_path):
    result = make_folder(tmp_path / "deep" / "x.json", {"one": "1", "sub/two": "22"})
    assert result.path == tmp_path / "deep" / "x.data"
    assert (result.path / "sub/two").read_text() == "22"
    assert result.kind == "thing" and result.summary == {"count": 2} and result.parameters == {"a": 1}
    assert result.provenance == MADE and result.size == 3
    assert store.verify(result.manifest_path).digest == result.digest
    assert left(tmp_path / "deep") == {"x.json", "x.data"}


def test_file_round_trip_and_summary_only(tmp_path):
    with store.create(tmp_path / "t.json", "table", "t.parquet", MADE) as draft:
        store.write_table(pd.DataFrame({"a": [1, 2], "b": ["x", None]}), draft.path)
        draft.warn("mind the gap")
    result = store.open(tmp_path / "t.json", kind="table")
    assert store.read_table(result.path)["a"].tolist() == [1, 2] and result.warnings == ["mind the gap"]
    with store.create(tmp_path / "s.json", "note", None, MADE) as draft:
        draft.summary = {"undefined": float("nan"), "x": 1.5}
    note = store.verify(tmp_path / "s.json")
    assert note.summary == {"undefined": "nan", "x": 1.5} and note.path == tmp_path / "s.json"
    assert left(tmp_path) == {"t.json", "t.parquet", "s.json"}


def test_same_content_gives_the_same_bytes(tmp_path):
    first = make_folder(tmp_path / "a" / "x.json", {"one": "1", "two": "2"})
    second = make_folder(tmp_path / "b" / "x.json", {"two": "2", "one": "1"})
    assert first.manifest_path.read_bytes() == second.manifest_path.read_bytes()
    third = make_folder(tmp_path / "b" / "x.json", {"two": "2", "one": "I"})
    assert third.digest != first.digest


def test_a_failed_attempt_leaves_the_old_result(tmp_path):
    old = make_folder(tmp_path / "x.json", {"one": "1"})
    with refused("boom", RuntimeError), store.create(tmp_path / "x.json", "thing", "x.data", MADE) as draft:
        draft.path.mkdir()
        (draft.path / "one").write_text("half")
        raise RuntimeError("boom")
    assert left(tmp_path) == {"x.json", "x.data"}
    assert store.verify(old.manifest_path).digest == old.digest


def test_a_resumable_attempt_survives_and_is_handed_back(tmp_path):
    arguments = (tmp_path / "x.json", "thing", "x.data", MADE)
    with pytest.raises(KeyboardInterrupt), store.create(*arguments, resume=True) as draft:
        assert not draft.resumed
        draft.path.mkdir()
        (draft.path / "one").write_text("1")
        raise KeyboardInterrupt
    with pytest.raises(StoreError, match="interrupted"):
        store.open(tmp_path / "x.json")
    with store.create(*arguments, resume=True) as draft:
        assert draft.resumed and (draft.path / "one").read_text() == "1"
    assert store.verify(tmp_path / "x.json").manifest["files"].keys() == {"one"}


def test_two_writers_of_one_resumable_result(tmp_path):
    with store.create(tmp_path / "x.json", "thing", "x.data", MADE, True) as draft:
        with pytest.raises(StoreError, match=rf"is being written by process {os.getpid()} on "):
            make_folder(tmp_path / "x.json", {"one": "2"}, resume=True)
        draft.path.mkdir()
        (draft.path / "one").write_text("1")
    assert (tmp_path / "x.data" / "one").read_text() == "1"


def test_two_writers_the_last_wins_whole(tmp_path):
    barrier = threading.Barrier(4)

    def write(text: str) -> None:
        with store.create(tmp_path / "x.json", "thing", "x.data", MADE) as draft:
            draft.path.mkdir()
            for name in "abcdef":
                (draft.path / name).write_text(text)
            barrier.wait()

    threads = [threading.Thread(target=write, args=(str(i) * 9,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.verify(tmp_path / "x.json")
    assert len({path.read_text() for path in (tmp_path / "x.data").iterdir()}) == 1
    assert left(tmp_path) == {"x.json", "x.data"}


@pytest.mark.parametrize(
    ("damage", "where", "message"),
    [
        (lambda f: (f / "x.data/one").unlink(), "open", r"x\.data/one is missing"),
        (lambda f: (f / "x.data/one").write_text("12345678"), "open", "has 8 bytes instead of the 3"),
        (lambda f: (f / "x.data/one").write_text("124"), "verify", r"x\.data/one is damaged"),
        (lambda f: (f / "x.data/new").write_text("1"), "verify", "does not know: new"),
        (lambda f: (f / "x.data").rename(f / "y.data"), "open", r"x\.data is missing"),
        (lambda f: (f / "x.json").unlink(), "open", "run the stage that makes it first"),
        (lambda f: (f / "x.json").write_text('{"form'), "open", "torn"),
        (lambda f: (f / "x.json").write_bytes(b"\xff\xfe"), "open", "cannot read"),
        (lambda f: (f / "x.json").write_text("[1]"), "open", "is not a manifest of compgraph"),
        (lambda f: edit(f, format=99), "open", "in results format 99, and this version reads 1: .*by compgraph 1"),
        (lambda f: edit(f, summary=None), "open", "summary is None"),
        (lambda f: edit(f, payload="../x.data"), "open", "outside its folder"),
        (lambda f: edit(f, payload="/etc"), "open", "outside its folder"),
        (lambda f: edit(f, files={"../x.json": {"size": 1, "crc32c": ""}}), "open", "outside its payload"),
        (lambda f: edit(f, files={"one": {"crc32c": ""}}), "open", "no size and crc32c for one"),
        (lambda f: edit(f, digest="sha256:00"), "verify", "has been edited"),
    ],
)
def test_damage_is_named(tmp_path, damage, where, message):
    make_folder(tmp_path / "x.json", {"one": "123", "two": "2"})
    damage(tmp_path)
    with pytest.raises(StoreError, match=message):
        getattr(store, where)(tmp_path / "x.json")


def edit(folder: Path, **changes) -> None:
    manifest = json.loads((folder / "x.json").read_text())
    (folder / "x.json").write_text(json.dumps(manifest | changes))


def test_kind_and_single_files(tmp_path):
    result = make_folder(tmp_path / "x.json", {"one": "123", "two": "2"})
    with pytest.raises(StoreError, match="of kind 'thing'; expected 'graph'"):
        store.open(tmp_path / "x.json", kind="graph")
    (result.path / "two").write_text("3")
    result.check("one")
    with pytest.raises(StoreError, match="two is damaged"):
        result.check("one", "two")


@pytest.mark.parametrize("name", ["../x", "/x", ""])
def test_a_payload_stays_in_its_folder(tmp_path, name):
    with refused("not a name inside", ValueError), store.create(tmp_path / "x.json", "t", name, MADE):
        pass


def test_zarr_payload_is_whole_or_refused(tmp_path):
    with store.create(tmp_path / "x.json", "z", "x.zarr", MADE) as draft:
        make_zarr(draft.path)
    store.verify(tmp_path / "x.json")
    with (
        refused("chunk a/b/c/1/0 is missing"),
        store.create(tmp_path / "x.json", "z", "x.zarr", MADE) as draft,
    ):
        make_zarr(draft.path)
        (draft.path / "a/b/c/1/0").unlink()
    with (
        refused(r"belongs to no chunk: a/b/c/1/0\.x\.partial"),
        store.create(tmp_path / "x.json", "z", "x.zarr", MADE) as draft,
    ):
        make_zarr(draft.path)
        (draft.path / "a/b/c/1/0.x.partial").touch()
    store.verify(tmp_path / "x.json")


V2_NAMES = {"chunk_key_encoding": {"name": "v2", "separator": "."}}


@pytest.mark.parametrize("options", [{"shards": (4, 3)}, V2_NAMES])
def test_zarr_layouts_are_understood(tmp_path, options):
    with store.create(tmp_path / "x.json", "z", "x.zarr", MADE) as draft:
        make_zarr(draft.path, **options)
    assert store.verify(tmp_path / "x.json").kind == "z"


def test_nothing_written_links_and_old_zarr_are_refused(tmp_path):
    with refused("nothing was written"), store.create(tmp_path / "x.json", "t", "x", MADE):
        pass
    with refused("empty"), store.create(tmp_path / "x.json", "t", "x", MADE) as draft:
        draft.path.mkdir()
    with refused("symbolic link"), store.create(tmp_path / "x.json", "t", "x", MADE) as draft:
        draft.path.mkdir()
        (draft.path / "link").symlink_to("/etc/hosts")
    with refused("Zarr format 2"), store.create(tmp_path / "x.json", "t", "x", MADE) as draft:
        draft.path.mkdir()
        (draft.path / ".zarray").write_text("{}")
    assert left(tmp_path) == set()


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from compgraph import store
    from compgraph.provenance import Provenance

    def die_before(point):
        # The n-th of the calls that change what lies on the disk is the last moment.
        count = 0

        def counted(function):
            def wrapped(*arguments, **options):
                nonlocal count
                count += 1
                if count == point:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)
            return wrapped

        for name in ("rename", "replace", "unlink", "fsync"):
            setattr(os, name, counted(getattr(os, name)))
        manifest = Path(sys.argv[1], str(point), "x.json")
        with store.create(manifest, "thing", "x.data", Provenance("s", versions={})) as draft:
            draft.path.mkdir()
            for name in "ab":
                (draft.path / name).write_text("new")

    for point in range(1, 30):
        child = os.fork()
        if child == 0:
            die_before(point)
            os._exit(0)
        print(os.waitpid(child, 0)[1])
"""


def test_a_kill_at_any_moment_leaves_old_new_or_nothing(tmp_path):
    """Old and new results differ in sizes, so that `open` alone would betray a mixture."""
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    old = [make_folder(tmp_path / str(i) / "x.json", {"a": "o", "b": "o", "c": "o"}) for i in range(1, 30)]
    ended = subprocess.run(
        [sys.executable, script, tmp_path], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    statuses = [int(line) for line in ended.stdout.split()]
    killed = statuses.count(signal.SIGKILL)
    assert statuses == [signal.SIGKILL] * killed + [0] * (29 - killed) and 8 < killed < 29
    seen = []
    for before in old:
        try:
            after = store.verify(before.manifest_path)
            seen.append("old" if after.digest == before.digest else "new")
        except StoreError as error:
            assert "there is no result" in str(error)
            seen.append("none")
        folder = before.manifest_path.parent
        make_folder(folder / "x.json", {"a": "last"})  # and the next attempt is not hindered
        assert left(folder) == {"x.json", "x.data"}
    assert seen == sorted(seen, key=["old", "none", "new"].index)
    assert set(seen[:killed]) == {"old", "none", "new"}


def fail(number: int):
    def write(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    return write


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, r"the disk is full: cannot write .*x\.data\.partial \(.* free\)"),
        (errno.EACCES, "no permission to write .*x"),
        (errno.EROFS, "no permission to write .*x"),
    ],
)
@pytest.mark.parametrize("place", ["body", "flush", "manifest"])
def test_system_errors_in_one_sentence(tmp_path, monkeypatch, number, message, place):
    old = make_folder(tmp_path / "x.json", {"one": "1"})
    target = {"body": "write_text", "flush": "fsync", "manifest": "open"}[place]
    owner = {"body": Path, "flush": os, "manifest": Path}[place]
    real = Path.open

    def fail_on_manifest(path, *arguments, **options):
        return fail(number)() if path.suffix == ".tmp" else real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, target, fail_on_manifest if place == "manifest" else fail(number))
        with pytest.raises(StoreError, match=message):
            make_folder(tmp_path / "x.json", {"one": "2"})
    assert store.verify(tmp_path / "x.json").digest == old.digest
    assert left(tmp_path) == {"x.json", "x.data"}


@pytest.mark.parametrize("text", ["100 requested and 7 written", "I/O error: No space left on device (28)"])
def test_full_disk_as_other_libraries_tell_it(tmp_path, text):
    with refused("the disk is full"), store.create(tmp_path / "x.json", "t", "x", MADE):
        raise OSError(text)


def test_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(OSError, match="odd"), store.create(tmp_path / "x.json", "t", "x", MADE):
        raise OSError(errno.EIO, "odd")


def test_a_folder_that_may_not_be_written():
    forbidden = Path("/sys/kernel")
    if not forbidden.is_dir():
        pytest.skip("needs a folder that even root may not write to (/sys)")
    with pytest.raises(StoreError, match="no permission to write /sys/kernel"):
        make_folder(forbidden / "x.json", {"one": "1"})


def test_space(tmp_path):
    store.require_space(tmp_path / "not" / "yet", 1, "a buffer")
    with pytest.raises(StoreError, match=r"a buffer needs about 1000000\.0 TB, and only .* are free"):
        store.require_space(tmp_path, 10**18, "a buffer")
    sizes = [store.format_bytes(size) for size in (0, 999, 1500, 99_960, 2.5e9, 3e15)]
    assert sizes == ["0 bytes", "999 bytes", "1.5 kB", "100 kB", "2.5 GB", "3000.0 TB"]


def test_tables(tmp_path):
    table = pd.DataFrame({"name": pd.Categorical(["b", "a", "b"]), "x": [1.0, np.nan, 3.0]}, index=[5, 6, 7])
    paths = [tmp_path / "run=1" / "t.parquet", tmp_path / "u.parquet"]
    paths[0].parent.mkdir()
    for path in paths:
        store.write_table(table, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    pd.testing.assert_frame_equal(store.read_table(paths[0]), table.reset_index(drop=True))
    data = bytearray(paths[0].read_bytes())
    data[60] ^= 1
    paths[0].write_bytes(data)
    with pytest.raises(StoreError, match="is not a readable table"):
        store.read_table(paths[0])
    with pytest.raises(StoreError, match="there is no table"):
        store.read_table(tmp_path / "none.parquet")


def test_importing_needs_no_heavy_library():
    code = "import sys, compgraph.store; print({'torch', 'pandas', 'zarr', 'numpy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("link", ["x.graph", "x.graph/deep", "x.graph/deep/a"])
def test_a_result_that_leads_elsewhere_is_not_read(tmp_path, link):
    with store.create(tmp_path / "in" / "x.json", "graph", "x.graph", Provenance("effective", versions={})) as draft:
        (draft.path / "deep").mkdir(parents=True)
        (draft.path / "deep" / "a").write_text("secret")
    (tmp_path / "in" / link).rename(tmp_path / "elsewhere")
    (tmp_path / "in" / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a symbolic link"):
        store.open(tmp_path / "in" / "x.json", lazy=True)
    (tmp_path / "in").rename(tmp_path / "moved")  # a folder above it may be a link
    (tmp_path / "moved" / link).unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "moved" / link)
    (tmp_path / "in").symlink_to(tmp_path / "moved")
    store.open(tmp_path / "in" / "x.json")
