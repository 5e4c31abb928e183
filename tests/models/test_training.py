from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from compgraph.errors import ModelError
from compgraph.models.recipes import ImageRecipe, TransformerRecipe
from compgraph.models.sequential import load_sequential
from compgraph.models.training import LOG, learning_rate, train
from compgraph.models.training_images import TrainingImages
from compgraph.tables import read_table

RECIPE = ImageRecipe(
    steps=30, checkpoints=(0, 4, 30), learning_rate=0.02, batch_size=16, warmup=3, channels=(3,), hidden=(8,)
)


@pytest.fixture(scope="module")
def stripes():
    """Two classes: horizontal and vertical stripes in noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    images = rng.normal(0, 0.3, (120, 1, 6, 6)).astype(np.float32)
    phase = rng.integers(0, 2, 120)
    for image, label, start in zip(images[:, 0], labels, phase, strict=True):
        (image if label else image.T)[start::2] += 1
    return TrainingImages("stripes", images[:80], labels[:80], images[80:], labels[80:], 2)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def save_all(recipe, material, folder):
    for checkpoint in train(recipe, material):
        checkpoint.save(folder / str(checkpoint.step))
    return files(folder)


def test_training_teaches(stripes):
    found = list(train(RECIPE, stripes))
    assert [(c.step, c.last) for c in found] == [(0, False), (4, False), (30, True)]
    assert found[0].accuracy["stripes"] < 0.75 and found[-1].accuracy["stripes"] > 0.9
    log = found[-1].log
    assert list(log.columns) == ["step", "task", "loss", "accuracy", "probability", "training_loss"]
    assert {0, 1, 4, 30} <= set(log.step) and log.step.is_monotonic_increasing
    assert log.loss.iloc[-1] < log.loss.iloc[0] and log.training_loss[1:].notna().all()


def test_same_recipe_same_bytes(stripes, tmp_path):
    one = save_all(RECIPE, stripes, tmp_path / "one")
    torch.manual_seed(99)  # the caller's random state plays no part
    assert save_all(RECIPE, stripes, tmp_path / "two") == one
    other = save_all(replace(RECIPE, seed=1), stripes, tmp_path / "three")
    assert other.keys() == one.keys() and other["30/model.safetensors"] != one["30/model.safetensors"]


def test_a_checkpoint_knows_nothing_of_others(stripes, tmp_path):
    one = save_all(RECIPE, stripes, tmp_path / "one")
    more = save_all(replace(RECIPE, checkpoints=(0, 4, 17, 30)), stripes, tmp_path / "more")
    assert {name: more[name] for name in one} == one and "17/model.safetensors" in more
    log = read_table(tmp_path / "more" / "17" / LOG)
    assert log.step.iloc[-1] == 17 and 17 not in set(read_table(tmp_path / "more" / "30" / LOG).step)


def test_saved_checkpoints(stripes, tmp_path):
    scores = {}
    for checkpoint in train(RECIPE, stripes):
        checkpoint.save(tmp_path / str(checkpoint.step))
        scores[checkpoint.step] = checkpoint.accuracy["stripes"]
    for step, score in scores.items():
        net = load_sequential(tmp_path / str(step))
        logits = net.run(torch.from_numpy(stripes.test_images)).logits
        assert np.mean(logits.argmax(-1).numpy() == stripes.test_labels) == pytest.approx(score)
        log = read_table(tmp_path / str(step) / LOG)
        assert log.step.max() == step and log.accuracy.iloc[-1] == pytest.approx(score)


def test_batch_norm_and_dropout_train(stripes, tmp_path):
    layers = (
        {"type": "conv", "channels": 3, "kernel": 3}, {"type": "batch-norm"}, {"type": "relu"}, {"type": "flatten"},
        {"type": "dropout", "rate": 0.2}, {"type": "linear", "features": 2},
    )  # fmt: skip
    recipe = replace(RECIPE, architecture="layers", layers=layers)
    assert save_all(recipe, stripes, tmp_path / "one") == save_all(recipe, stripes, tmp_path / "two")
    *_, last = train(recipe, stripes)
    assert last.accuracy["stripes"] > 0.9
    net = load_sequential(tmp_path / "one" / "30")
    logits = net.run(torch.from_numpy(stripes.test_images)).logits
    assert np.mean(logits.argmax(-1).numpy() == stripes.test_labels) == pytest.approx(last.accuracy["stripes"])


def test_the_outside_is_left_as_it_was(stripes):
    torch.manual_seed(5)
    before = (torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    for _ in train(replace(RECIPE, threads=2), stripes):
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[1:]
        torch.rand(3)
        torch.set_rng_state(before[0])


def test_a_checkpoint_is_saved_in_time_or_not_at_all(stripes, tmp_path):
    run = train(RECIPE, stripes)
    first = next(run)
    next(run)
    with pytest.raises(ValueError, match="training has gone on from step 0 to 4"):
        first.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_divergence_is_named(stripes):
    with pytest.raises(ModelError, match=r"training diverged: the loss is (nan|inf) at step \d+; lower learning_rate"):
        list(train(replace(RECIPE, learning_rate=1e30), stripes))


def test_missed_target(stripes):
    short = replace(RECIPE, steps=1, checkpoints=(0, 1), target_accuracy=0.99)
    seen = []
    with pytest.raises(ModelError, match=r"accuracy on held-out items of stripes is 0\.\d+ after 1 steps, below"):
        for checkpoint in train(short, stripes):
            seen.append(checkpoint.step)
    assert seen == [0]
    *_, last = train(replace(short, on_miss="warn"), stripes)
    assert "below the target of 0.99" in last.warnings[0]
    *_, last = train(replace(RECIPE, target_accuracy=0.5), stripes)
    assert last.warnings == []


def test_learning_rate_rises_and_falls():
    recipe = replace(RECIPE, steps=100, checkpoints=(100,), warmup=9, learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and np.argmax(rates) == 9
    assert (np.diff(rates[9:]) < 0).all()
    assert math.isclose(rates[-1], 0.1, abs_tol=1e-3)


def test_material_must_fit_the_recipe(stripes):
    with pytest.raises(TypeError, match="TransformerRecipe cannot be trained on TrainingImages"):
        list(train(TransformerRecipe(steps=1, tasks=["ioi"]), stripes))


def test_too_few_classes(stripes):
    layers = ({"type": "flatten"}, {"type": "linear", "features": 3})
    with pytest.raises(ModelError, match="layers end in 3 logits, but digits has 2 classes"):
        list(train(replace(RECIPE, architecture="layers", layers=layers), stripes))
