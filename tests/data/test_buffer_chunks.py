from __future__ import annotations

import numpy as np
import pytest
import torch
import zarr
from zarr.codecs import Crc32cCodec

from compgraph.data.buffer_chunks import RawSink, Recorder, chunk_is_whole
from compgraph.data.buffer_layout import ENCODINGS, decode


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []

    def append(self, rows: np.ndarray) -> None:
        self.rows.append(rows.copy())


@pytest.mark.parametrize("name", list(ENCODINGS))
def test_chunks_are_those_of_zarr(tmp_path, name):
    """Written by hand, and the same bytes as Zarr itself writes."""
    encoding = ENCODINGS[name]
    rows = torch.randn(250, 3).to(getattr(torch, name))
    bits = (rows.view(torch.int16) if name == "bfloat16" else rows).numpy().view(encoding.stored)
    files = {}
    for way in ("zarr", "raw"):
        array = zarr.create_array(
            tmp_path / way,
            shape=bits.shape,
            chunks=(100, 3),
            dtype=encoding.stored,
            compressors=[Crc32cCodec()],
            fill_value=encoding.fill,
        )
        if way == "zarr":
            array[:] = bits
        else:
            sink = RawSink(tmp_path / way, (100, 3), encoding)
            for chunk in range(3):
                for part in np.array_split(bits[chunk * 100 : (chunk + 1) * 100], 4):
                    sink.append(part)
                sink.close_chunk(chunk)
        files[way] = {p.relative_to(tmp_path / way): p.read_bytes() for p in tmp_path.glob(f"{way}/c/*/0")}
        np.testing.assert_array_equal(array[:], bits)
    assert files["raw"] == files["zarr"] and len(files["raw"]) == 3


def test_an_abandoned_chunk_has_no_name(tmp_path):
    sink = RawSink(tmp_path, (10, 2), ENCODINGS["float32"])
    sink.append(np.ones((4, 2), np.float32))
    sink.abandon()
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["chunk.partial"]
    sink.append(np.zeros((10, 2), np.float32))
    sink.close_chunk(0)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["0"]


def test_whole_chunks(tmp_path):
    sink = RawSink(tmp_path, (2, 2), ENCODINGS["float32"])
    sink.append(np.ones((2, 2), np.float32))
    sink.close_chunk(0)
    path = tmp_path / "c" / "0" / "0"
    data = path.read_bytes()
    assert chunk_is_whole(path) and not chunk_is_whole(tmp_path / "none")
    for wrong in (data[:-1], data[:2], b"", data[:3] + b"x" + data[4:]):
        path.write_bytes(wrong)
        assert not chunk_is_whole(path)


@pytest.mark.parametrize("n", [1, 63, 64, 200, 3000])
@pytest.mark.parametrize("name", list(ENCODINGS))
def test_moments_of_what_is_stored(monkeypatch, n, name):
    monkeypatch.setattr(Recorder, "ELEMENTS", 1000)
    rows = torch.randn(n, 7, generator=torch.Generator().manual_seed(n)) * 3 + torch.arange(7.0) * 10
    rows[:, 6], rows[:, 5] = 0, 0.1
    sink = Kept()
    found = Recorder(ENCODINGS[name], 7).record(rows, sink)
    stored = decode(np.concatenate(sink.rows), name).astype(np.float64)
    np.testing.assert_array_equal(stored, rows.to(getattr(torch, name)).float())
    assert found.count == n
    np.testing.assert_allclose(found.mean, stored.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.variance[:5], stored.var(0)[:5], rtol=1e-6, atol=1e-12)
    assert found.variance[6] == 0
    if name != "float32":  # 64 equal numbers of 16 bits add up without rounding
        assert found.variance[5] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_what_cannot_be_stored_shows_in_the_moments(value):
    rows = torch.ones(130, 2)
    rows[129, 1] = value
    with np.errstate(invalid="ignore"):
        found = Recorder(ENCODINGS["float16"], 2).record(rows, Kept())
    assert np.isfinite(found.mean).tolist() == [True, False]
