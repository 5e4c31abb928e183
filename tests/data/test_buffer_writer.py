"""Interrupted recordings: whatever happens, the bytes in the end are those of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from compgraph import store
from compgraph.data.buffer_writer import write_buffer
from compgraph.data.buffers import open_buffer
from compgraph.data.prompts import PromptPairs
from compgraph.errors import StoreError
from tests.data.fake_networks import TokenNetwork, content, cut, flip, prompts, save


def interrupt(folder: Path, net: TokenNetwork, pairs: PromptPairs, after: int, **options) -> None:
    """Stop after some forward passes, as an error or Ctrl-C would."""
    run, left = net.run, [after]

    def failing(*arguments, **keywords):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return run(*arguments, **keywords)

    net.run = failing
    with pytest.raises(KeyboardInterrupt):
        save(folder, net, pairs, **options)
    net.run = run
    net.calls.clear()


@pytest.mark.parametrize("padding", [None, "left"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_interrupted_buffer_goes_on_and_ends_the_same(tmp_path, padding, batch_size):
    net, pairs = TokenNetwork(), prompts(padding=padding)
    options = {"sites": ["mlp.*"], "dtype": "bfloat16", "compress": ["mlp.1"], "batch_size": batch_size}
    save(tmp_path / "calm", net, pairs, **options)
    passes = len(net.calls)
    for after in sorted({0, 1, passes // 3, passes // 2, passes - 1}):
        folder = tmp_path / str(after)
        interrupt(folder, net, pairs, after, **options)
        save(folder, net, pairs, **options)
        assert content(folder) == content(tmp_path / "calm")
        assert len(net.calls) <= passes - after + 20 // batch_size + 1  # at most a chunk is repeated


def test_a_damaged_partial_chunk_is_written_again(tmp_path):
    net, pairs = TokenNetwork(), prompts()
    save(tmp_path / "calm", net, pairs, sites="mlp.*")
    for damage in (flip, cut, os.unlink):
        interrupt(tmp_path / "torn", net, pairs, 5, sites="mlp.*")
        damage(tmp_path / "torn/b.zarr.partial/units/mlp.0/c/0/0")
        (tmp_path / "torn/b.zarr.partial/units/mlp.0/c/0/0.0f.partial").touch()
        save(tmp_path / "torn", net, pairs, sites="mlp.*")
        assert content(tmp_path / "torn") == content(tmp_path / "calm")
        shutil.rmtree(tmp_path / "torn")


def test_another_network_data_or_parameters_begin_afresh(tmp_path):
    pairs, changed = prompts(), prompts()
    changed.clean[0, 0] += 1
    other = TokenNetwork()
    other.digest = "sha256:other"
    for net, data, options in [
        (other, pairs, {}),
        (TokenNetwork(), changed, {}),
        (TokenNetwork(), pairs, {"side": "corrupted"}),
    ]:
        interrupt(tmp_path / "x", TokenNetwork(), pairs, 5, sites="mlp.*")
        net.calls.clear()
        save(tmp_path / "x", net, data, sites="mlp.*", **options)
        assert len(net.calls) == 6
        save(tmp_path / "y", net, data, sites="mlp.*", **options)
        assert content(tmp_path / "x") == content(tmp_path / "y")
        shutil.rmtree(tmp_path / "x")


@pytest.mark.parametrize("litter", ["file", "folder", "torn"])
def test_what_is_no_buffer_is_replaced(tmp_path, litter):
    path = tmp_path / "b.zarr"
    if litter == "file":
        path.write_text("x")
    else:
        path.mkdir()
        (path / "zarr.json").write_text("{" if litter == "torn" else '{"zarr_format": 3, "node_type": "group"}')
    summary = write_buffer(TokenNetwork(), prompts(), path, sites="embed")
    assert summary["units"] == {"embed": 6} and summary["rows"] == 138


KILLED = """
    import os, signal, sys
    import torch
    torch.set_num_threads(1)
    from tests.data.fake_networks import TokenNetwork, prompts, save
    from pathlib import Path
    from compgraph.data.buffer_chunks import RawSink
    from zarr.storage import LocalStore

    set_, append = LocalStore.set, RawSink.append

    def die_at(point):
        count = 0

        async def counted(self, key, value):
            nonlocal count
            count += 1
            if count == point:  # half of a chunk is on the disk under its temporary name
                path = Path(self.root) / (key + ".0a.partial")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(value.to_bytes()[:20])
                os.kill(os.getpid(), signal.SIGKILL)
            await set_(self, key, value)

        def appended(self, rows):
            nonlocal count
            count += 1
            append(self, rows)
            if count == point:  # in the middle of a chunk
                os.kill(os.getpid(), signal.SIGKILL)

        LocalStore.set, RawSink.append = counted, appended
        save(Path(sys.argv[1], str(point)), TokenNetwork(), prompts(padding="left"))
        return count

    for point in map(int, sys.argv[2:]):  # a process each, but one import of torch
        child = os.fork()
        if child == 0:
            print(die_at(point), flush=True)
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)
"""


def test_kill_at_several_moments(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    environment = os.environ | {"PYTHONPATH": str(Path(store.__file__).parents[1]), "OMP_NUM_THREADS": "1"}

    def run(*points: int) -> list[int]:
        """What the processes printed (the number of writes, if they lived) and how they ended."""
        command = [sys.executable, script, tmp_path, *map(str, points)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [int(line) for line in done.stdout.split()]

    total, status = run(0)
    assert status == 0
    points = [3, *(total * k // 7 for k in range(1, 7)), total - 2]
    assert run(*points) == [signal.SIGKILL] * len(points)
    for point in points:
        folder = tmp_path / str(point)
        with pytest.raises(StoreError, match="interrupted"):
            open_buffer(folder / "b.json")
        save(folder, TokenNetwork(), prompts(padding="left"))
        assert content(folder) == content(tmp_path / "0")
