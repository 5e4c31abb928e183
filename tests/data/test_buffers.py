from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from compgraph import store
from compgraph.architecture import Architecture, Site, transformer_architecture
from compgraph.data.buffer_layout import estimate_bytes
from compgraph.data.buffer_writer import record_activations, write_buffer
from compgraph.data.buffers import ActivationBuffer, open_buffer
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError, StoreError
from compgraph.models.network import Run


class Network:
    """A few lines of torch with the interface of a network. `poison` spoils a site's value at one token."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture, self.kind, self.family = architecture, architecture.kind, architecture.family
        self.device, self.dtype, self.digest = torch.device("cpu"), torch.float32, "sha256:fake"
        self.calls: list[tuple[int, bool]] = []
        self.poison: dict[str, float] = {}


class TokenNetwork(Network):
    """Every site is a fixed random map of a causal running mean of the embedding."""

    def __init__(self, vocabulary: int = 50, d_mlp: int = 12) -> None:
        shape = {"n_heads": 2, "d_head": 3, "d_model": 6, "d_mlp": d_mlp, "vocabulary": vocabulary}
        super().__init__(transformer_architecture("gpt2", n_layers=2, **shape))
        generator = torch.Generator().manual_seed(0)
        self.embedding = torch.randn(vocabulary, 6, generator=generator)
        self.maps = {site.name: torch.randn(6, site.n_units, generator=generator) for site in self.architecture.sites}

    def run(self, values, mask=None, *, capture=(), positions=None, edit=None) -> Run:
        assert not torch.is_grad_enabled()
        self.calls.append((len(values), positions is not None))
        mask = torch.ones_like(values, dtype=torch.bool) if mask is None else mask
        x = self.embedding[values] * mask[..., None]
        x = x.cumsum(1) / mask.cumsum(1)[..., None]  # 0/0 on left padding: not-a-number where nobody may look
        units: dict[str, Tensor] = {name: torch.relu(x @ self.maps[name]) for name in capture}
        for name, value in self.poison.items():
            if name in units:
                units[name][values == 7] = value
        if positions is not None:
            x = x[torch.arange(len(x)), positions]
        logits = x @ self.maps["logits"]
        if "logits" in units:
            units["logits"] = logits
        return Run(logits, units)


class ImageNetwork(Network):
    def __init__(self) -> None:
        sites = (
            Site("input", "input", 0, 8),
            Site("linear.0", "linear", 1, 5),
            Site("logits", "logits", 2, 3),
        )
        reads = {"linear.0": ("input",), "logits": ("linear.0",)}
        super().__init__(Architecture("sequential", "sequential", sites, reads))
        generator = torch.Generator().manual_seed(0)
        self.first, self.second = (
            torch.randn(8, 5, generator=generator),
            torch.randn(5, 3, generator=generator),
        )

    def run(self, values, mask=None, *, capture=(), positions=None, edit=None) -> Run:
        assert mask is None and positions is None
        pixels = values.flatten(1)
        hidden = torch.relu(pixels @ self.first)
        units = {"input": pixels, "linear.0": hidden, "logits": hidden @ self.second}
        return Run(units["logits"], {name: units[name] for name in capture})


class Images:
    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(0)
        self.clean = rng.normal(size=(n, 2, 2, 2)).astype(np.float32)
        self.corrupted, self.mask, self.positions, self.n = self.clean[::-1], None, None, n
        self.ids = np.array([f"image/{i}" for i in range(n)])
        self.task = np.array([str(i % 3) for i in range(n)])
        self.split = np.array(["train"] * n)


def prompts(n: int = 23, padding: str | None = None, t: int = 6) -> PromptPairs:
    rng = np.random.default_rng(1)
    clean, corrupted = rng.integers(8, 50, (2, n, t))
    mask = None
    if padding is not None:
        lengths = rng.integers(1, t + 1, n)
        mask = np.arange(t) < lengths[:, None]
        mask = mask if padding == "right" else mask[:, ::-1].copy()
    return PromptPairs(clean, corrupted, mask=mask, task=[("a", "b")[i % 2] for i in range(n)])


def expected(net: TokenNetwork, pairs: PromptPairs, site: str, side: str = "clean") -> np.ndarray:
    """All rows of one site, from one forward pass over everything."""
    with torch.no_grad():
        values = torch.from_numpy(getattr(pairs, side))
        units = net.run(values, torch.from_numpy(pairs.mask.copy()), capture=[site]).units[site]
    return units.numpy()[pairs.mask]


def save(folder: Path, net, pairs, **options) -> ActivationBuffer:
    options = {"chunk_bytes": 20 * 12 * 4, "batch_size": 4} | options
    return record_activations(net, pairs, folder / "b.json", **options)


# --- what is written is what is read ---


@pytest.mark.parametrize("padding", [None, "left", "right"])
def test_rows_are_the_real_tokens_in_order(tmp_path, padding):
    net, pairs = TokenNetwork(), prompts(padding=padding)
    buffer = save(tmp_path, net, pairs, dtype="float32")
    assert buffer.n_rows == pairs.mask.sum() and buffer.n_chunks > 3
    for site in ("embed", "attn.1", "mlp.0", "resid.1"):
        np.testing.assert_allclose(buffer.read(site), expected(net, pairs, site), rtol=1e-5, atol=1e-6)
    item, position = np.nonzero(pairs.mask)
    table = buffer.items
    assert table["item"].tolist() == item.tolist() and table["position"].tolist() == position.tolist()
    assert table["token"].tolist() == pairs.clean[item, position].tolist()
    assert table["id"].tolist() == pairs.ids[item].tolist()
    assert table["task"].tolist() == pairs.task[item].tolist()
    store.verify(tmp_path / "b.json")


def test_precision(tmp_path):
    net, pairs = TokenNetwork(), prompts()
    exact = save(tmp_path / "32", net, pairs, dtype="float32").read("mlp.0")
    for dtype, kind in (("float16", torch.float16), ("bfloat16", torch.bfloat16)):
        buffer = save(tmp_path / dtype, net, pairs, dtype=dtype)
        rounded = torch.from_numpy(exact).to(kind).float().numpy()
        assert buffer.read("mlp.0").dtype == np.float32
        np.testing.assert_array_equal(buffer.read("mlp.0"), rounded)
        np.testing.assert_allclose(buffer.mean("mlp.0"), rounded.astype(float).mean(0), rtol=1e-7)
        np.testing.assert_allclose(buffer.variance("mlp.0"), rounded.astype(float).var(0), rtol=1e-7)


def test_chunks_and_slices(tmp_path):
    buffer = save(tmp_path, TokenNetwork(), prompts(padding="left"))
    chunks = list(buffer.chunks(["mlp.1", "embed"]))
    assert len(chunks) == buffer.n_chunks and list(chunks[0]) == ["mlp.1", "embed"]
    assert {len(rows) for chunk in chunks[:-1] for rows in chunk.values()} == {len(chunks[0]["embed"])}
    whole = np.concatenate([chunk["mlp.1"] for chunk in chunks])
    np.testing.assert_array_equal(whole, buffer.read("mlp.1"))
    for rows in (slice(3, 50), slice(19, 21), slice(-5, None), slice(20, 40), slice(7, 7), slice(9, 2)):
        np.testing.assert_array_equal(buffer.read("mlp.1", rows), whole[rows])
    assert buffer.units("mlp.1") == 12 and list(next(buffer.chunks())) == buffer.sites["site"].tolist()
    with pytest.raises(ValueError, match="step -1"):
        buffer.read("mlp.1", slice(None, None, -1))
    with pytest.raises(DataError, match=r"site 'mlp\.7' was not recorded in .*; it has embed, attn\.0"):
        next(buffer.chunks(["mlp.7"]))


@pytest.mark.parametrize("positions", ["last", "scored", [-1, 0]])
@pytest.mark.parametrize("sites", ["mlp.0", "logits"])
def test_selected_positions(tmp_path, positions, sites):
    net, pairs = TokenNetwork(), prompts()
    buffer = save(tmp_path, net, pairs, positions=positions, sites=sites, dtype="float32")
    everything = expected(net, pairs, sites).reshape(pairs.n, pairs.length, -1)
    if positions == [-1, 0]:
        wanted = everything[:, [0, -1]].reshape(2 * pairs.n, -1)
    else:
        wanted = everything[np.arange(pairs.n), pairs.positions]
    np.testing.assert_allclose(buffer.read(sites), wanted, rtol=1e-5, atol=1e-6)
    assert buffer.attributes["positions"] == positions


def test_logits_are_computed_at_one_position_unless_wanted(tmp_path):
    net, pairs = TokenNetwork(), prompts(8)
    save(tmp_path / "a", net, pairs)
    assert net.calls == [(4, True), (4, True)]
    net.calls.clear()
    buffer = save(tmp_path / "b", net, pairs, sites=["logits"])
    assert net.calls == [(4, False), (4, False)] and buffer.sites["site"].tolist() == ["logits"]


def test_images(tmp_path):
    net, images = ImageNetwork(), Images(10)
    buffer = save(tmp_path, net, images, dtype="float32", chunk_bytes=3 * 8 * 4)
    assert buffer.sites["site"].tolist() == ["input", "linear.0", "logits"]
    np.testing.assert_array_equal(buffer.read("input"), images.clean.reshape(10, 8))
    assert buffer.items["id"].tolist() == images.ids.tolist() and set(buffer.items["token"]) == {-1}
    other = save(tmp_path, net, images, side="corrupted", dtype="float32")
    np.testing.assert_array_equal(other.read("input"), images.corrupted.reshape(10, 8))


def test_the_corrupted_side(tmp_path):
    net, pairs = TokenNetwork(), prompts()
    buffer = save(tmp_path, net, pairs, side="corrupted", dtype="float32")
    np.testing.assert_allclose(buffer.read("mlp.0"), expected(net, pairs, "mlp.0", "corrupted"), rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="these items have none"):
        save(tmp_path, net, PromptPairs(pairs.clean), side="corrupted")


def test_compression_is_a_choice_per_site(tmp_path):
    net, pairs = TokenNetwork(), prompts(200)
    plain = save(tmp_path / "plain", net, pairs, chunk_bytes=1 << 20)
    buffer = save(tmp_path / "small", net, pairs, compress=["mlp.*"], chunk_bytes=1 << 20)
    np.testing.assert_array_equal(buffer.read("mlp.0"), plain.read("mlp.0"))
    sizes = buffer.sites.set_index("site"), plain.sites.set_index("site")
    assert sizes[0].loc["mlp.0", "compressed"] and not sizes[0].loc["attn.0", "compressed"]
    assert sizes[0].loc["mlp.0", "bytes"] < 0.9 * sizes[1].loc["mlp.0", "bytes"]
    assert sizes[0].loc["attn.0", "bytes"] == sizes[1].loc["attn.0", "bytes"]


def test_the_store_says_how_it_was_made(tmp_path):
    net, pairs = TokenNetwork(), prompts()
    buffer = save(tmp_path, net, pairs, sites=["mlp.*"], dtype="bfloat16")
    assert buffer.architecture == net.architecture
    stated = {"dtype": "bfloat16", "side": "clean", "batch_size": 4, "rows": buffer.n_rows, "layout": 1}
    assert stated.items() <= buffer.attributes.items()
    assert buffer.attributes["network"] == {"digest": "sha256:fake", "dtype": "float32"}
    assert buffer.result.provenance.inputs["data"] == buffer.attributes["data"]["digest"]
    node = json.loads((buffer.result.path / "units" / "mlp.0" / "zarr.json").read_text())
    assert node["dimension_names"] == ["row", "unit"] and node["attributes"] == {"encoding": "bfloat16"}
    assert "consolidated_metadata" not in (buffer.result.path / "zarr.json").read_text()
    size = sum(f.stat().st_size for f in buffer.result.path.rglob("*") if f.is_file())
    assert 0.5 * size < estimate_bytes(net.architecture, buffer.n_rows, ["mlp.*"], "bfloat16") < 2 * size


# --- what is refused ---


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (
            float("nan"),
            "float32",
            r"site mlp\.0 has a value that is not finite at token 2 of item 'item/000005'",
        ),
        (float("inf"), "bfloat16", r"site mlp\.0 has a value that is not finite"),
        (
            -65520.0,
            "float16",
            r"site mlp\.0 reaches 6\.552e\+04, too large for float16: record it as float32 or",
        ),
        (3.4e38, "bfloat16", r"too large for bfloat16: record it as float32"),
    ],
)
def test_values_that_cannot_be_kept(tmp_path, value, dtype, message):
    net, pairs = TokenNetwork(), prompts()
    pairs.clean[5, 2] = 7
    net.poison = {"mlp.1": value, "mlp.0": value}
    with pytest.raises(DataError, match=message):
        save(tmp_path, net, pairs, dtype=dtype)
    with pytest.raises(StoreError, match="interrupted"):
        open_buffer(tmp_path / "b.json")


def test_largest_values_fit(tmp_path):
    net, pairs = TokenNetwork(), prompts()
    pairs.clean[5, 2] = 7
    net.poison = {"mlp.0": 65519.0}
    assert save(tmp_path, net, pairs, dtype="float16").read("mlp.0").max() == 65504


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sites": ["mpl.0"]}, "did you mean"),
        ({"positions": "first"}, "'first' is not"),
        ({"dtype": "int8"}, "dtype 'int8'"),
        ({"side": "dirty"}, "side 'dirty'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"compress": ["zzz"]}, "no site matches"),
    ],
)
def test_bad_options(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        save(tmp_path, TokenNetwork(), prompts(), **options)


def test_a_disk_that_is_too_small_is_refused_before_the_work(tmp_path, monkeypatch):
    net = TokenNetwork()
    monkeypatch.setattr("compgraph.disk.free_space", lambda path: 1000)
    with pytest.raises(StoreError, match=r"the activation buffer b\.zarr needs about .* and only 1\.0 kB are free"):
        save(tmp_path, net, prompts())
    assert net.calls == []


def cut(path: Path) -> None:
    os.truncate(path, 40)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def test_damage_after_opening_is_an_error_and_never_numbers(tmp_path):
    original = save(tmp_path / "o", TokenNetwork(), prompts(), compress=["attn.*"])
    damages = {
        "flip": flip,
        "cut": lambda p: os.truncate(p, 40),
        "empty": lambda p: os.truncate(p, 0),
        "gone": os.unlink,
    }
    for name, damage in damages.items():
        shutil.copytree(original.result.manifest_path.parent, tmp_path / name)
        buffer = open_buffer(tmp_path / name / "b.json")
        for site in ("mlp.0", "attn.0"):
            damage(buffer.result.path / f"units/{site}/c/1/0")
            buffer.read(site, slice(0, buffer._step))
            word = "missing" if name == "gone" else "damaged"
            with pytest.raises(StoreError, match=rf"chunk c/1/0 of array units/{site} of .* is {word}"):
                buffer.read(site)
            with pytest.raises(StoreError, match=word):
                list(buffer.chunks([site]))
        damage(buffer.result.path / "statistics/c/0/0")
        for read in (buffer.mean, buffer.variance):
            with pytest.raises(StoreError, match="chunk c/0/0 of array statistics"):
                read("mlp.0")
        with pytest.raises(StoreError, match=r"b\.zarr/"):
            store.verify(tmp_path / name / "b.json")
        damage(buffer.result.path / "rows/c/0/0")
        with pytest.raises(StoreError, match="chunk c/0/0 of array rows"):
            _ = buffer.items
        if name != "flip":
            with pytest.raises(StoreError, match=r"is missing|instead of"):
                open_buffer(tmp_path / name / "b.json")


@pytest.mark.parametrize("name", ["zarr.json", "units/mlp.0/zarr.json", "items.parquet"])
def test_damaged_metadata_is_found_on_opening(tmp_path, name):
    buffer = save(tmp_path, TokenNetwork(), prompts())
    flip(buffer.result.path / name)
    with pytest.raises(StoreError, match="is damaged"):
        open_buffer(tmp_path / "b.json")


def test_another_kind_and_another_version(tmp_path, monkeypatch):
    monkeypatch.setattr("compgraph.data.buffer_plan.LAYOUT", 99)
    with pytest.raises(StoreError, match="has buffer layout 99, and this version reads layout 1"):
        save(tmp_path, TokenNetwork(), prompts())  # and opens what it saved
    manifest = json.loads((tmp_path / "b.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps(manifest | {"kind": "graph"}))
    with pytest.raises(StoreError, match="expected 'activations'"):
        open_buffer(tmp_path / "b.json")


# --- resuming ---


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


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
    sys.path.insert(0, sys.argv[1])
    import torch
    torch.set_num_threads(1)
    from test_buffers import TokenNetwork, prompts, save
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
        save(Path(sys.argv[2], str(point)), TokenNetwork(), prompts(padding="left"))
        return count

    for point in map(int, sys.argv[3:]):  # a process each, but one import of torch
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
        command = [sys.executable, script, Path(__file__).parent, tmp_path, *map(str, points)]
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


def test_two_runs_give_the_same_bytes(tmp_path):
    for name in "ab":
        save(tmp_path / name, TokenNetwork(), prompts())
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_reading_needs_no_torch(tmp_path):
    save(tmp_path, TokenNetwork(), prompts())
    code = """
import sys
from compgraph.data.buffers import open_buffer
print(open_buffer(sys.argv[1]).read("mlp.0").shape, "torch" in sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(store.__file__).parents[1])}
    command = [sys.executable, "-c", code, tmp_path / "b.json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "(138, 12) False\n", done.stderr
