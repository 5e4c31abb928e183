from __future__ import annotations

import numpy as np
import pytest

from compgraph.data.images import ImagePairs, is_image_folder, load_images
from compgraph.errors import DataError


def test_digits_are_the_default_source():
    pairs = load_images("digits", n=100, split="test", seed=3)
    assert pairs.clean.shape == pairs.corrupted.shape == (100, 1, 8, 8)
    assert pairs.clean.dtype == np.float32
    assert pairs.clean.min() == 0 and pairs.clean.max() == 1
    assert pairs.answers.shape == pairs.distractors.shape == (100, 1)
    assert (pairs.answers != pairs.distractors).all()
    assert pairs.mask is None and pairs.positions is None
    assert pairs.classes == tuple("0123456789")
    assert np.bincount(pairs.answers[:, 0]).tolist() == [10] * 10
    assert pairs.task.tolist() == [str(label) for label in pairs.answers[:, 0]]
    assert set(pairs.split) == {"test"}
    assert pairs.ids[0].startswith("digits/")


def test_ids_name_the_image_of_the_source():
    from sklearn.datasets import load_digits

    data = load_digits()
    pairs = load_images("digits", n=20, seed=1)
    for i, name in enumerate(pairs.ids):
        row = int(name.split("/")[1])
        np.testing.assert_array_equal(pairs.clean[i, 0] * 16, data.images[row])
        assert data.target[row] == pairs.answers[i, 0]


def test_counterfactuals_have_the_class_they_say_and_stay_in_their_split():
    everything = load_images("digits", seed=0, counterfactuals=False)
    known = {image.tobytes(): (label, split) for image, label, split in
             zip(everything.clean, everything.answers[:, 0], everything.split, strict=True)}  # fmt: skip
    pairs = load_images("digits", n=200, split="train", seed=5)
    for image, label in zip(pairs.corrupted, pairs.distractors[:, 0], strict=True):
        assert known[image.tobytes()] == (label, "train")


def test_split_does_not_depend_on_the_seed():
    sets = [set(load_images("digits", split="test", seed=seed).ids) for seed in (0, 1)]
    assert sets[0] == sets[1]
    train = load_images("digits", split="train")
    assert not sets[0] & set(train.ids)
    assert len(sets[0]) + train.n == 1797
    shares = np.bincount(load_images("digits", split="test").answers[:, 0]) / np.bincount(
        load_images("digits").answers[:, 0]
    )
    assert np.abs(shares - 0.25).max() < 0.01


def test_seeds():
    one, same, other = (load_images("digits", n=50, seed=seed) for seed in (7, 7, 8))
    assert one.digest == same.digest != other.digest


def test_normalise_uses_the_training_split():
    train = load_images("digits", split="train", normalise=True)
    assert abs(float(train.clean.mean())) < 1e-3 and abs(float(train.clean.std()) - 1) < 1e-3
    plain, scaled = (load_images("digits", n=9, split="test", normalise=flag) for flag in (False, True))
    slope = np.ptp(scaled.clean) / np.ptp(plain.clean)
    np.testing.assert_allclose(scaled.clean - scaled.clean.min(), plain.clean * slope, atol=1e-5)


def test_subset_select_batches():
    pairs = load_images("digits", n=60, seed=0)
    twos = pairs.select(task="2")
    assert set(twos.answers[:, 0]) == {2} and twos.classes == pairs.classes
    assert [batch.n for batch in pairs.batches(25)] == [25, 25, 10]
    assert pairs.subset([3, 1]).ids.tolist() == pairs.ids[[3, 1]].tolist()
    with pytest.raises(DataError, match="no image has task 'x'"):
        pairs.select(task="x")


def test_save_and_load(tmp_path):
    pairs = load_images("digits", n=30, seed=0)
    pairs.save(tmp_path / "pairs")
    assert is_image_folder(tmp_path / "pairs") and not is_image_folder(tmp_path)
    same = ImagePairs.load(tmp_path / "pairs")
    assert same.digest == pairs.digest
    (tmp_path / "pairs" / "clean.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="not a readable folder of image pairs"):
        ImagePairs.load(tmp_path / "pairs")


def test_pairs_from_arrays():
    rng = np.random.default_rng(0)
    pairs = ImagePairs(rng.random((3, 1, 2, 2)), answers=[0, 1, 2])
    assert pairs.corrupted is None and pairs.classes == ("0", "1", "2") and pairs.task.tolist() == ["0", "1", "2"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"clean": np.zeros((0, 1, 2, 2))}, "holds no image"),
        ({"clean": np.zeros((2, 2, 2))}, r"shape \[2, 2, 2\]"),
        ({"clean": np.zeros((2, 1, 2, 2), np.uint8)}, "got uint8"),
        ({"clean": np.full((1, 1, 2, 2), np.nan)}, "image 0 holds a value that is not finite"),
        ({"clean": np.zeros((2, 1, 2, 2)), "corrupted": np.zeros((2, 1, 3, 2))}, "the two must be equal"),
        ({"clean": np.zeros((2, 1, 2, 2)), "answers": [1]}, "one class index"),
        ({"clean": np.zeros((2, 1, 2, 2)), "answers": [0, 5], "classes": ["a", "b"]}, "a label is 5"),
        ({"clean": np.zeros((2, 1, 2, 2)), "ids": ["a", "a"]}, "'a' names more than one image"),
        ({"clean": np.zeros((2, 1, 2, 2)), "split": "all"}, "'all' is not one of"),
        ({"clean": np.zeros((1, 1, 2, 2)), "answers": [1], "distractors": [1]}, "counterfactual is of the same class"),
    ],
)
def test_bad_pairs(options, message):
    with pytest.raises(DataError, match=message):
        ImagePairs(**options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"source": "svhn"}, "must be one of digits, mnist, cifar10, folder"),
        ({"source": "digits", "split": "dev"}, "split is 'dev'"),
        ({"source": "digits", "n": 5000}, "n is 5000; this split has 1797 images"),
        ({"source": "digits", "test_fraction": 1.5}, "test_fraction is 1.5"),
        ({"source": "digits", "size": (4, 4)}, "size is only for"),
        ({"source": "mnist"}, "needs path"),
        ({"source": "mnist", "path": "nowhere"}, "nowhere: no such folder"),
    ],
)
def test_bad_requests(options, message):
    with pytest.raises(DataError, match=message):
        load_images(**options)
