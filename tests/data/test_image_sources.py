from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest

from compgraph.data.image_sources import read_folder, read_idx
from compgraph.data.images import load_images
from compgraph.errors import DataError, StoreError

# ---------------------------------------------------------------- MNIST


def idx(values):
    values = np.asarray(values, np.uint8)
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """A small MNIST: two of the files gzipped, two not."""
    rng = np.random.default_rng(0)
    for stem, n in (("train", 20), ("t10k", 12)):
        (tmp_path / f"{stem}-images-idx3-ubyte").write_bytes(idx(rng.integers(0, 256, (n, 5, 4))))
        labels = idx(np.arange(n) % 10)
        (tmp_path / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return tmp_path


def test_mnist(mnist):
    pairs = load_images("mnist", path=mnist, split="test", seed=0)
    assert pairs.clean.shape == (12, 1, 5, 4)
    assert set(pairs.ids) == {f"mnist/test/{i:05d}" for i in range(12)}
    raw = np.frombuffer((mnist / "t10k-images-idx3-ubyte").read_bytes()[16:], np.uint8).reshape(12, 5, 4)
    for image, name, label in zip(pairs.clean, pairs.ids, pairs.answers[:, 0], strict=True):
        row = int(name[-5:])
        np.testing.assert_allclose(image[0] * 255, raw[row], atol=1e-4)
        assert label == row % 10


def damage(folder, how):
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte.gz"
    if how == "short":
        images.write_bytes(images.read_bytes()[:-1])
    elif how == "magic":
        images.write_bytes(b"GIF8" + images.read_bytes()[4:])
    elif how == "gzip":
        labels.write_bytes(labels.read_bytes()[:-12])
    elif how == "empty":
        images.write_bytes(idx(np.zeros((0, 5, 4))))
    elif how == "count":
        labels.write_bytes(gzip.compress(idx(np.zeros(3))))
    elif how == "label":
        labels.write_bytes(gzip.compress(idx(np.full(20, 11))))
    elif how == "missing":
        labels.unlink()


@pytest.mark.parametrize(
    "how, message",
    [
        ("short", "train-images-idx3-ubyte: truncated"),
        ("magic", "not an idx file"),
        ("gzip", "train-labels-idx1-ubyte.gz: cannot be read, or is truncated"),
        ("empty", "holds nothing"),
        ("count", "3 labels for the 20 images"),
        ("label", "label 11"),
        ("missing", "no file train-labels-idx1-ubyte"),
    ],
)
def test_damaged_mnist(mnist, how, message):
    damage(mnist, how)
    with pytest.raises(DataError, match=message):
        load_images("mnist", path=mnist)


def test_real_mnist(shared):
    pairs = load_images("mnist", path=shared / "data" / "mnist", n=100, split="test", counterfactuals=False)
    assert pairs.shape == (1, 28, 28)
    assert 0.1 < pairs.clean.mean() < 0.16  # MNIST's mean brightness is 0.1307


# ---------------------------------------------------------------- CIFAR-10


@pytest.fixture
def cifar(tmp_path):
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        records = rng.integers(0, 256, (10, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(10)
        (tmp_path / name).write_bytes(records.tobytes())
    return tmp_path


def test_cifar10(cifar):
    pairs = load_images("cifar10", path=cifar, split="train", seed=0)
    assert pairs.clean.shape == (50, 3, 32, 32) and pairs.classes[3] == "cat"
    row = pairs.ids.tolist().index("cifar10/train/00013")
    record = np.frombuffer((cifar / "data_batch_2.bin").read_bytes(), np.uint8).reshape(10, 3073)[3]
    np.testing.assert_allclose(pairs.clean[row].ravel() * 255, record[1:], atol=1e-4)
    assert pairs.task[row] == "cat"


def test_damaged_cifar10(cifar):
    batch = cifar / "data_batch_3.bin"
    whole = batch.read_bytes()
    batch.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"data_batch_3.bin: truncated"):
        load_images("cifar10", path=cifar)
    batch.write_bytes(b"\x0b" + whole[1:])
    with pytest.raises(DataError, match="image 0 has label 11"):
        load_images("cifar10", path=cifar)
    batch.unlink()
    with pytest.raises(DataError, match=r"data_batch_3.bin: no such file"):
        load_images("cifar10", path=cifar)


# ---------------------------------------------------------------- folders


def write_images(root, colours, n=4, size=(6, 5), mode="RGB"):
    image_module = pytest.importorskip("PIL.Image")
    for name, colour in colours.items():
        (root / name).mkdir(parents=True)
        for i in range(n):
            image_module.new(mode, size, colour).save(root / name / f"{i}.png")


def test_folder(tmp_path):
    write_images(tmp_path, {"blue": (0, 0, 255), "red": (255, 0, 0)})
    pairs = load_images("folder", path=tmp_path, seed=0)
    assert pairs.shape == (3, 5, 6) and pairs.classes == ("blue", "red")
    assert set(pairs.ids) == {f"{c}/{i}.png" for c in ("blue", "red") for i in range(4)}
    assert (pairs.clean[pairs.task == "red"].mean((0, 2, 3)) == [1, 0, 0]).all()
    assert sorted(pairs.split) == ["test"] * 2 + ["train"] * 6


def test_folder_with_its_own_split(tmp_path):
    write_images(tmp_path / "train", {"a": 10, "b": 200}, mode="L")
    write_images(tmp_path / "test", {"a": 10, "b": 200}, n=1, mode="L")
    pairs = load_images("folder", path=tmp_path, split="test")
    assert set(pairs.ids) == {"test/a/0.png", "test/b/0.png"} and pairs.shape == (1, 5, 6)


def test_folder_faults(tmp_path):
    with pytest.raises(DataError, match="no subfolders"):
        load_images("folder", path=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image files"):
        load_images("folder", path=tmp_path)
    (tmp_path / "empty").rmdir()
    write_images(tmp_path, {"a": 10}, mode="L")
    with pytest.raises(DataError, match="counterfactuals need at least two"):
        load_images("folder", path=tmp_path)
    write_images(tmp_path, {"b": 20}, size=(9, 9), mode="L")
    with pytest.raises(DataError, match=r"b/0.png: 9 x 9 pixels, but 0.png has 5 x 6"):
        load_images("folder", path=tmp_path)
    assert load_images("folder", path=tmp_path, size=(4, 3)).shape == (1, 4, 3)
    file = tmp_path / "b" / "2.png"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match=r"b/2.png: not a readable image, or truncated"):
        load_images("folder", path=tmp_path, size=(4, 3))


def test_unknown_class_folder(tmp_path):
    write_images(tmp_path, {"a": 10, "zebra": 20}, mode="L")
    with pytest.raises(DataError, match="unknown class folder 'zebra'; the classes are a, b"):
        read_folder(tmp_path, classes=("a", "b"))


def test_a_file_that_unpacks_to_more_than_it_says_is_not_unpacked(tmp_path):
    bomb = tmp_path / "train-labels-idx1-ubyte.gz"
    bomb.write_bytes(gzip.compress(idx(np.zeros(20)) + bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(DataError, match="more bytes of values instead of 20"):
        read_idx(bomb, 1)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    bomb.write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + 3 * (2**31 - 1).to_bytes(4, "big")))
    with pytest.raises(StoreError, match="GB of memory"):
        read_idx(bomb, 3)
