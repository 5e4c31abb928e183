"""Where images come from: scikit-learn's digits, MNIST idx files, CIFAR-10 binary batches, folders of files."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compgraph.errors import DataError, MissingDependency
from compgraph.memory import require_memory

CIFAR_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR_RECORD = 1 + 3 * 32 * 32
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


@dataclass
class ImageSet:
    """All images of a source.

    Attributes
    ----------
    name
        For messages and ids.
    pixels
        [n, channels, height, width], as stored (uint8).
    maximum
        The value that means full brightness.
    labels
        [n] int64, index into classes.
    ids
        [n] str, unique.
    split
        [n] ``"train"`` or ``"test"``, or None where the source does not say.
    """

    name: str
    pixels: NDArray[np.uint8]
    maximum: int
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    ids: NDArray[np.str_]
    split: NDArray[np.str_] | None


def open_source(source: str, path: str | Path | None = None, *, size: tuple[int, int] | None = None) -> ImageSet:
    """Read a source whole.

    Raises
    ------
    DataError
        If the source is unknown, its folder not given, or a file missing, damaged or empty.
    """
    if source not in SOURCES:
        raise DataError(f"image source is {source!r}; it must be one of {', '.join(SOURCES)}")
    if size is not None and source != "folder":
        raise DataError(f"size is only for the source 'folder'; {source} has images of one size")
    if source == "digits":
        return read_digits()
    if path is None:
        raise DataError(f"image source {source!r} needs path: the folder with its files")
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (images of source {source!r})")
    return read_folder(folder, size=size) if source == "folder" else SOURCES[source](folder)


def read_digits() -> ImageSet:
    """Scikit-learn's 1,797 handwritten digits, 8 x 8, values 0 to 16; no split of their own."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependency("the image source 'digits' needs scikit-learn: pip install scikit-learn") from error
    data = load_digits()
    ids = np.array([f"digits/{i:04d}" for i in range(len(data.target))])
    classes = tuple(str(name) for name in data.target_names)
    pixels = data.images[:, None].astype(np.uint8)
    return ImageSet("digits", pixels, 16, data.target.astype(np.int64), classes, ids, None)


def read_mnist(folder: Path) -> ImageSet:
    """MNIST's four idx files, gzipped or not (LeCun et al. 1998).

    An idx file is two zero bytes, the type (8: unsigned bytes), the number of dimensions, one big-endian int32 for
    each dimension, and the values.
    """
    parts: list[tuple[str, NDArray[Any], NDArray[Any]]] = []
    for split, stem in (("train", "train"), ("test", "t10k")):
        images_path = _find(folder, f"{stem}-images", "idx3-ubyte")
        labels_path = _find(folder, f"{stem}-labels", "idx1-ubyte")
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        if len(images) != len(labels):
            raise DataError(f"{labels_path}: {len(labels)} labels for the {len(images)} images of {images_path.name}")
        if labels.max() > 9:
            raise DataError(f"{labels_path}: label {labels.max()}; MNIST has the classes 0 to 9")
        parts.append((split, images[:, None], labels))
    return _join("mnist", parts, tuple("0123456789"))


def _find(folder: Path, stem: str, kind: str) -> Path:
    names = [f"{stem}{dot}{kind}{end}" for dot in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder}: no file {names[0]} (nor {names[1]})")


def read_idx(path: Path, n_dims: int) -> NDArray[np.uint8]:
    """One idx file of unsigned bytes, gzipped if its name ends in .gz.

    Raises
    ------
    DataError
        If it is damaged, of another kind or empty.
    """
    start = 4 + 4 * n_dims
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(start)
            if len(header) < start or header[:4] != bytes([0, 0, 8, n_dims]):
                raise DataError(f"{path}: not an idx file of {n_dims} dimension(s) of unsigned bytes")
            shape = tuple(int(x) for x in np.frombuffer(header, ">i4", n_dims, 4))
            expected = math.prod(shape)
            if min(shape) <= 0:
                raise DataError(f"{path}: shape {list(shape)} holds nothing")
            require_memory(path, expected)
            data = file.read(expected + 1)  # no more, as a small file can unpack to any size
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: cannot be read, or is truncated ({error})") from error
    if len(data) != expected:
        found = "more" if len(data) > expected else str(len(data))
        raise DataError(f"{path}: truncated or too long: {found} bytes of values instead of {expected}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def read_cifar10(folder: Path) -> ImageSet:
    """CIFAR-10's binary version: records of a label and 3 x 32 x 32 bytes (Krizhevsky 2009)."""
    parts = []
    for split, names in (("train", [f"data_batch_{i}.bin" for i in range(1, 6)]), ("test", ["test_batch.bin"])):
        records = np.concatenate([_cifar_records(folder / name) for name in names])
        parts.append((split, records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]))
    return _join("cifar10", parts, CIFAR_CLASSES)


def _cifar_records(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; CIFAR-10's binary version has data_batch_1.bin to 5 and test_batch.bin")
    data = np.frombuffer(_bytes(path), np.uint8)
    if data.size == 0 or data.size % CIFAR_RECORD:
        raise DataError(f"{path}: truncated: {data.size} bytes is not a multiple of {CIFAR_RECORD}, one image")
    records = data.reshape(-1, CIFAR_RECORD)
    if records[:, 0].max() > 9:
        row = int(np.argmax(records[:, 0] > 9))
        raise DataError(f"{path}: image {row} has label {records[row, 0]}; CIFAR-10 has the classes 0 to 9")
    return records


def _join(name: str, parts: list[tuple[str, NDArray[Any], NDArray[Any]]], classes: tuple[str, ...]) -> ImageSet:
    ids = [f"{name}/{split}/{i:05d}" for split, images, _ in parts for i in range(len(images))]
    splits = [split for split, images, _ in parts for _ in range(len(images))]
    pixels = np.concatenate([images for _, images, _ in parts])
    labels = np.concatenate([labels for _, _, labels in parts]).astype(np.int64)
    return ImageSet(name, pixels, 255, labels, classes, np.array(ids), np.array(splits, dtype="U5"))


def read_folder(
    folder: Path, *, size: tuple[int, int] | None = None, classes: tuple[str, ...] | None = None
) -> ImageSet:
    """Image files, one subfolder per class; or `train` and `test`, each with one subfolder per class.

    Parameters
    ----------
    size
        (height, width) to resize to (bilinear); without it all images must be of one size.
    classes
        The subfolders there must be, in the order of the labels; by default those found, sorted.

    Raises
    ------
    DataError
        If there is no class or no image, a class is unknown, or a file is damaged or of another size.
    """
    names = _subfolders(folder)
    has_split = set(names) == {"train", "test"}
    roots = {name: folder / name for name in names} if has_split else {None: folder}
    present = sorted({name for root in roots.values() for name in _subfolders(root)})
    if not present:
        raise DataError(f"{folder}: no subfolders; images must lie in one subfolder per class")
    known = tuple(present) if classes is None else classes
    unknown = [name for name in present if name not in known]
    if unknown:
        raise DataError(f"{folder}: unknown class folder {unknown[0]!r}; the classes are {', '.join(known)}")
    files = [
        (split, label, path)
        for split, root in sorted(roots.items(), key=str)
        for label, name in enumerate(known)
        for path in _image_files(root / name)
    ]
    if not files:
        raise DataError(f"{folder}: no image files ({', '.join(IMAGE_SUFFIXES)}) in its subfolders")
    pixels = _read_files([path for _, _, path in files], size)
    labels = np.array([label for _, label, _ in files], np.int64)
    ids = np.array([path.relative_to(folder).as_posix() for _, _, path in files])
    split = np.array([name for name, _, _ in files], dtype="U5") if has_split else None
    return ImageSet(str(folder), pixels, 255, labels, known, ids, split)


def _subfolders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def _read_files(paths: list[Path], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Decoded files [n, c, h, w]: one channel if every file is grey, else three."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependency("the image source 'folder' needs Pillow: pip install pillow") from error
    images: list[Image.Image] = []
    for path in paths:
        try:
            with Image.open(path) as file:
                if file.mode.startswith(("I", "F")):
                    raise DataError(f"{path}: pixels of mode {file.mode}; only 8-bit images are supported")
                image = file.convert("L" if file.mode in ("1", "L", "LA") else "RGB")
                if size is not None:
                    image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path}: not a readable image, or truncated ({error})") from error
        if images and image.size != images[0].size:
            raise DataError(
                f"{path}: {image.height} x {image.width} pixels, but {paths[0].name} has "
                f"{images[0].height} x {images[0].width}; give size to resize them"
            )
        images.append(image)
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    arrays: NDArray[np.uint8] = np.stack([np.asarray(image.convert(mode)) for image in images])
    return arrays[:, None] if mode == "L" else arrays.transpose(0, 3, 1, 2)


SOURCES: dict[str, Callable[..., ImageSet]] = {
    "digits": read_digits,
    "mnist": read_mnist,
    "cifar10": read_cifar10,
    "folder": read_folder,
}
