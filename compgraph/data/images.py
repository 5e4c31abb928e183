"""Labelled images, each with an image of another class as its counterfactual."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from compgraph.data.image_sources import ImageSet, open_source
from compgraph.errors import DataError, StoreError

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
StrArray = NDArray[np.str_]

SPLITS = ("train", "test")
SPLIT_SEED = 0
_ARRAYS = ("clean", "corrupted", "answers", "distractors")
_MARK = "images.json"


class ImagePairs:
    """Images with their counterfactuals and the classes to tell apart, one row an item.

    It has the attributes of `PromptPairs`; `mask` and `positions` are None, as images have no tokens.

    Parameters
    ----------
    clean : array of float32 [n, c, h, w]
        Images.
    corrupted : array of float32 [n, c, h, w], optional
        Images of other classes.
    answers : array of int [n] or [n, 1], optional
        The class of each image: an index into `classes`.
    distractors : array of int [n] or [n, 1], optional
        The class of each counterfactual.
    ids, task, split : sequence of str [n], optional
        Unique names of the items, the name of each one's class, and ``"train"`` or ``"test"``. By default
        ``"image/000000"`` and so on, the class name, ``"test"``.
    classes : sequence of str, optional
        Names of the classes, in the order of the logits; by default the numbers that occur.

    Raises
    ------
    DataError
        If shapes, lengths or values do not fit, or a value is not finite.
    """

    mask = None
    positions = None

    def __init__(
        self,
        clean: ArrayLike,
        corrupted: ArrayLike | None = None,
        answers: ArrayLike | None = None,
        distractors: ArrayLike | None = None,
        *,
        ids: Sequence[str] | StrArray | None = None,
        task: Sequence[str] | StrArray | None = None,
        split: str | Sequence[str] | StrArray = "test",
        classes: Sequence[str] | None = None,
    ) -> None:
        self.clean: FloatArray = _images("clean", clean)
        self.corrupted: FloatArray | None = None if corrupted is None else _images("corrupted", corrupted)
        if self.corrupted is not None and self.corrupted.shape != self.clean.shape:
            raise DataError(
                f"corrupted has shape {list(self.corrupted.shape)} and clean {list(self.clean.shape)}; "
                "the two must be equal"
            )
        n = len(self.clean)
        self.answers: IntArray | None = None if answers is None else _labels("answers", answers, n)
        self.distractors: IntArray | None = None if distractors is None else _labels("distractors", distractors, n)
        self.classes: tuple[str, ...] = self._class_names(classes)
        self.ids: StrArray = _strings("ids", [f"image/{i:06d}" for i in range(n)] if ids is None else ids, n)
        self.task: StrArray = _strings("task", self._task_names() if task is None else task, n)
        self.split: StrArray = _strings("split", [split] * n if isinstance(split, str) else split, n)
        self._check()

    def _class_names(self, classes: Sequence[str] | None) -> tuple[str, ...]:
        labels = [values for values in (self.answers, self.distractors) if values is not None]
        n_labels = max((int(values.max()) + 1 for values in labels), default=0)
        if classes is None:
            return tuple(str(label) for label in range(n_labels))
        if n_labels > len(classes):
            raise DataError(f"a label is {n_labels - 1}, but there are only {len(classes)} classes")
        return tuple(classes)

    def _task_names(self) -> list[str]:
        if self.answers is None:
            return ["images"] * self.n
        return [self.classes[label] for label in self.answers[:, 0]]

    def _check(self) -> None:
        names, counts = np.unique(self.ids, return_counts=True)
        if names.size < self.n:
            raise DataError(f"ids: {str(names[counts > 1][0])!r} names more than one image; ids must be unique")
        strange = ~np.isin(self.split, SPLITS)
        if strange.any():
            raise DataError(f"split: {str(self.split[strange][0])!r} is not one of 'train', 'test'")
        if self.answers is not None and self.distractors is not None:
            same = (self.answers == self.distractors)[:, 0]
            if same.any():
                raise DataError(f"image {str(self.ids[np.argmax(same)])!r}: its counterfactual is of the same class")

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.clean)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.clean.shape[1:]
        return channels, height, width

    @property
    def tasks(self) -> list[str]:
        """Names of the classes that occur, sorted."""
        return [str(name) for name in np.unique(self.task)]

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        pair = "with" if self.corrupted is not None else "without"
        return f"ImagePairs({self.n} images {self.shape}, {pair} counterfactuals, {len(self.classes)} classes)"

    def subset(self, index: ArrayLike | slice) -> ImagePairs:
        """Images in the order of `index` (integers, a boolean array [n] or a slice)."""
        rows = index if isinstance(index, slice) else np.asarray(index)
        arrays: dict[str, Any] = {name: None if (v := getattr(self, name)) is None else v[rows] for name in _ARRAYS}
        return ImagePairs(
            **arrays, ids=self.ids[rows], task=self.task[rows], split=self.split[rows], classes=self.classes
        )

    def select(self, split: str | None = None, task: str | None = None) -> ImagePairs:
        """Images of one split, of one class, or both.

        Raises
        ------
        DataError
            If no image is left; the message says which values occur.
        """
        chosen = np.ones(self.n, bool)
        for name, wanted, values in (("split", split, self.split), ("task", task, self.task)):
            if wanted is None:
                continue
            chosen &= values == wanted
            if not chosen.any():
                present = ", ".join(sorted({str(value) for value in values}))
                raise DataError(f"no image has {name} {wanted!r}; this set of {self.n} holds: {present}")
        return self.subset(chosen)

    def batches(self, size: int) -> Iterator[ImagePairs]:
        """Consecutive batches of at most `size` images."""
        if size < 1:
            raise ValueError(f"a batch needs at least one image, not {size}")
        for start in range(0, self.n, size):
            yield self.subset(slice(start, start + size))

    @property
    def digest(self) -> str:
        """SHA-256 over the shapes and values of all arrays, ids, labels and class names."""
        total = hashlib.sha256()
        for name in _ARRAYS:
            values = getattr(self, name)
            total.update(json.dumps([name, None if values is None else list(values.shape)]).encode())
            if values is not None:
                total.update(np.ascontiguousarray(values).tobytes())
        for name in ("ids", "task", "split"):
            total.update(json.dumps([name, getattr(self, name).tolist()]).encode())
        total.update(json.dumps(self.classes).encode())
        return f"sha256:{total.hexdigest()}"

    def save(self, folder: str | Path) -> None:
        """Write ``items.parquet`` (id, task, split), ``images.json`` (classes) and one ``.npy`` file per array."""
        import pandas as pd

        from compgraph import store

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame({"id": self.ids, "task": self.task, "split": self.split})
        store.write_table(table, target / "items.parquet")
        (target / _MARK).write_text(json.dumps({"classes": list(self.classes)}, indent=1) + "\n")
        for name in _ARRAYS:
            values = getattr(self, name)
            if values is not None:
                np.save(target / f"{name}.npy", values, allow_pickle=False)

    @classmethod
    def load(cls, folder: str | Path) -> ImagePairs:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            If a file is missing, damaged, or does not fit the others.
        """
        from compgraph.arrays import read_array
        from compgraph.tables import read_table

        source = Path(folder)
        arrays: dict[str, Any] = {}
        try:
            table = read_table(source / "items.parquet")
            classes = [str(name) for name in json.loads((source / _MARK).read_text())["classes"]]
            for name in _ARRAYS:
                path = source / f"{name}.npy"
                arrays[name] = read_array(path) if name == "clean" or path.exists() else None
            columns = {name: table[name].to_numpy().astype(str) for name in ("id", "task", "split")}
        except (StoreError, OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{source}: not a readable folder of image pairs ({error})") from error
        return cls(**arrays, ids=columns["id"], task=columns["task"], split=columns["split"], classes=classes)


def is_image_folder(folder: str | Path) -> bool:
    """Whether a folder was written by `ImagePairs.save`."""
    return (Path(folder) / _MARK).is_file()


def load_images(
    source: str,
    n: int | None = None,
    split: str | None = None,
    seed: int = 0,
    *,
    path: str | Path | None = None,
    test_fraction: float = 0.25,
    normalise: bool = False,
    counterfactuals: bool = True,
    size: tuple[int, int] | None = None,
) -> ImagePairs:
    """Images of a source, with counterfactuals.

    MNIST and CIFAR-10 keep their own test sets. Digits, and folders without `train` and `test` inside, are split
    here, class by class, with a seed of its own: whatever `seed` is, a test image never is a training image.
    Values are scaled to 0..1.

    Parameters
    ----------
    source : str
        ``digits`` (1,797 images of 8 x 8 from scikit-learn), ``mnist``, ``cifar10`` or ``folder``.
    n : int, optional
        How many, in equal parts of each class as far as they last; all if not given.
    split : str, optional
        ``train`` or ``test``; both if not given.
    seed : int
        Seed of the choice and order of images, and of their counterfactuals.
    path : path, optional
        The folder with the files of `mnist`, `cifar10` or `folder`.
    test_fraction : float
        Share of each class that becomes the test split, where the source has none of its own.
    normalise : bool
        Subtract the mean of each channel and divide by its standard deviation, both of the training split.
    counterfactuals : bool
        Pair each image with one of another class, drawn from the same split: first the class, then the image.
    size : (int, int), optional
        Height and width to resize the images of a folder to.

    Raises
    ------
    DataError
        If the source is unknown, a file is missing or damaged, or there are too few images or classes.
    """
    if split is not None and split not in SPLITS:
        raise DataError(f"split is {split!r}; it must be 'train' or 'test'")
    images = open_source(source, path, size=size)
    splits = _split(images, test_fraction) if images.split is None else images.split
    pool = np.arange(len(images.labels)) if split is None else np.flatnonzero(splits == split)
    if pool.size == 0:
        raise DataError(f"{images.name}: the split {split!r} holds no image")
    if n is not None and not 1 <= n <= pool.size:
        raise DataError(f"{images.name}: n is {n}; this split has {pool.size} images")
    rng = np.random.default_rng(seed)
    chosen = _choose(images.labels[pool], n, rng)
    rows = pool[chosen]
    others = _counterfactuals(images, splits, rows, rng) if counterfactuals else None
    scale = _scaling(images, splits, normalise)
    return ImagePairs(
        scale(images.pixels[rows]),
        None if others is None else scale(images.pixels[others]),
        images.labels[rows],
        None if others is None else images.labels[others],
        ids=images.ids[rows],
        split=splits[rows],
        classes=images.classes,
    )


def _split(images: ImageSet, fraction: float) -> StrArray:
    """Seeded, stratified split: of every class the rounded share, but at least one image on either side."""
    if not 0 < fraction < 1:
        raise DataError(f"test_fraction is {fraction}; it must lie between 0 and 1")
    rng = np.random.default_rng(SPLIT_SEED)
    split = np.full(len(images.labels), "train")
    for label, name in enumerate(images.classes):
        members = rng.permutation(np.flatnonzero(images.labels == label))
        if members.size < 2:
            raise DataError(f"{images.name}: class {name!r} has {members.size} image(s); a split needs at least two")
        n_test = min(max(round(fraction * members.size), 1), members.size - 1)
        split[members[:n_test]] = "test"
    return split.astype("U5")


def _choose(labels: IntArray, n: int | None, rng: np.random.Generator) -> IntArray:
    """Indices of n images in random order: equal parts of each class until a class is used up."""
    order = rng.permutation(len(labels))
    if n is None:
        return order
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(members.size)
    kept = order[np.argsort(rank[order], kind="stable")[:n]]
    return rng.permutation(kept)


def _counterfactuals(images: ImageSet, splits: StrArray, rows: IntArray, rng: np.random.Generator) -> IntArray:
    """For each image one of another class and the same split."""
    found = np.empty_like(rows)
    for name in np.unique(splits[rows]):
        here = splits == name
        members = {label: np.flatnonzero(here & (images.labels == label)) for label in range(len(images.classes))}
        present = [label for label, found_rows in members.items() if found_rows.size]
        if len(present) < 2:
            raise DataError(f"{images.name}: the split {name!r} has one class; counterfactuals need at least two")
        for i in np.flatnonzero(splits[rows] == name):
            label = rng.choice([other for other in present if other != images.labels[rows[i]]])
            found[i] = rng.choice(members[label])
    return found


def _scaling(images: ImageSet, splits: StrArray, normalise: bool) -> Any:
    top = np.float32(images.maximum)
    if not normalise:
        return lambda pixels: pixels.astype(np.float32) / top
    train = images.pixels[splits == "train"]
    if not len(train):
        raise DataError(f"{images.name}: no training images to take mean and standard deviation from")
    mean = train.mean((0, 2, 3), dtype=np.float64) / images.maximum
    deviation = train.std((0, 2, 3), dtype=np.float64) / images.maximum
    if (deviation == 0).any():
        raise DataError(f"{images.name}: channel {int(np.argmin(deviation))} is constant and cannot be normalised")
    offset, width = (values[:, None, None].astype(np.float32) for values in (mean, deviation))
    return lambda pixels: (pixels.astype(np.float32) / top - offset) / width


def _images(name: str, values: ArrayLike) -> FloatArray:
    array = np.asarray(values)
    if array.ndim != 4 or array.dtype.kind != "f":
        raise DataError(
            f"{name}: got {array.dtype} of shape {list(array.shape)}; images must be floats of shape "
            "[n, channels, height, width]"
        )
    if 0 in array.shape:
        raise DataError(f"{name}: shape {list(array.shape)} holds no image; give at least one")
    if not np.isfinite(array).all():
        row = int(np.argmax(~np.isfinite(array).all((1, 2, 3))))
        raise DataError(f"{name}: image {row} holds a value that is not finite")
    return array.astype(np.float32, copy=False)


def _labels(name: str, values: ArrayLike, n: int) -> IntArray:
    array = np.asarray(values)
    array = array[:, None] if array.ndim == 1 else array
    if array.shape != (n, 1) or array.dtype.kind not in "iu" or (array < 0).any():
        raise DataError(f"{name}: give one class index (0 or more) for each of the {n} images")
    return array.astype(np.int64, copy=False)


def _strings(name: str, values: Any, n: int) -> StrArray:
    texts = np.asarray(values, dtype=str)
    if texts.shape != (n,):
        raise DataError(f"{name}: {texts.size} values for {n} images; give one for each")
    return texts
