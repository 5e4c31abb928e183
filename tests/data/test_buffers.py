from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from compgraph import store
from compgraph.checksums import scan
from compgraph.data.buffer_layout import estimate_bytes
from compgraph.data.buffers import open_buffer
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError, StoreError
from compgraph.manifests import seal_of
from tests.data.fake_networks import ImageNetwork, Images, TokenNetwork, content, flip, prompts, save


def expected(net: TokenNetwork, pairs: PromptPairs, site: str, side: str = "clean") -> np.ndarray:
    """All rows of one site, from one forward pass over everything."""
    with torch.no_grad():
        values = torch.from_numpy(getattr(pairs, side))
        units = net.run(values, torch.from_numpy(pairs.mask.copy()), capture=[site]).units[site]
    return units.numpy()[pairs.mask]


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
    assert (buffer.result.path / "units" / "zarr.json").exists()  # a plain Zarr hierarchy for other tools
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
            buffer.read(site, slice(0, buffer.chunk_rows))
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
    with pytest.raises(StoreError, match="in buffer format 99, and this version reads 1"):
        save(tmp_path, TokenNetwork(), prompts())  # and opens what it saved
    manifest = json.loads((tmp_path / "b.json").read_text()) | {"kind": "graph"}
    del manifest["seal"]
    (tmp_path / "b.json").write_text(json.dumps(manifest | {"seal": seal_of(manifest)}))
    with pytest.raises(StoreError, match="expected 'activations'"):
        open_buffer(tmp_path / "b.json")


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


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"rows": 10**18}, "claims .* chunks of rows and has"),
        ({"rows": 10**18, "chunk_rows": 10**17}, "does not hold the rows at embed that it claims"),
        ({"chunk_rows": 0}, "claims .* in chunks of 0"),
        ({"rows": -1}, "claims -1 rows"),
    ],
)
def test_rows_that_the_files_cannot_hold(tmp_path, claim, said):
    save(tmp_path, TokenNetwork(), prompts())
    manifest, group = tmp_path / "b.json", tmp_path / "b.zarr" / "zarr.json"
    node = json.loads(group.read_text())
    node["attributes"] |= claim
    group.write_text(json.dumps(node))
    # Sealed anew, as somebody would who means harm.
    content = json.loads(manifest.read_text())
    found = scan(group)
    content["files"]["zarr.json"] = {"size": found.size, "crc32c": found.crc32c}
    del content["seal"]
    manifest.write_text(json.dumps(content | {"seal": seal_of(content)}))
    with pytest.raises(StoreError, match=said):
        open_buffer(manifest)
