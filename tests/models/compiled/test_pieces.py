"""Pieces of programs against what they promise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from compgraph.models.compiled.pieces import look_at, neurons, previous, staircase
from compgraph.models.compiled.program import Mlp, Space


def apply(mlp: Mlp, stream: np.ndarray) -> np.ndarray:
    return np.maximum(stream @ mlp.reader + mlp.bias, 0) @ mlp.writer + mlp.constant


@pytest.mark.parametrize("levels", [[0, 1, 2, 3], [2.0, 2.4, 3.0, 4.0, 6.0]])
def test_staircase_turns_levels_into_classes(levels):
    classes = list(range(len(levels)))[::-1]
    space = Space(x=1, out=len(levels))
    mlp = staircase(space, "x", levels, "out", classes)
    gap = min(b - a for a, b in pairwise(levels))
    for shift in (0, 0.24 * gap, -0.24 * gap):
        rows = np.zeros((len(levels), space.width))
        rows[:, 0] = np.array(levels) + shift
        out = apply(mlp, rows)[:, 1:]
        np.testing.assert_allclose(out, np.eye(len(levels))[classes], atol=1e-12)
    between = np.zeros((1, space.width))
    between[0, 0] = (levels[0] + levels[1]) / 2
    out = apply(mlp, between)[0, 1:]
    assert out[classes[0]] == pytest.approx(0.5) and out[classes[1]] == pytest.approx(0.5)


def test_attention_by_position_is_hard():
    space = Space(tok=2, pos=4)
    q, k = look_at(space, previous(4))
    x = space.write(pos=np.eye(4))
    scores = np.where(np.tri(4) > 0, (x @ q) @ (x @ k).T, -np.inf)
    pattern = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(pattern, np.eye(4)[[0, 0, 1, 2]], atol=1e-16)


def test_neurons_of_two_mlps_stand_side_by_side():
    rng = np.random.default_rng(0)
    space = Space(a=3, b=2)
    one = neurons(space, rng.normal(size=(5, 4)), rng.normal(size=4), b=rng.normal(size=(4, 2)))
    two = neurons(space, rng.normal(size=(5, 2)), rng.normal(size=2), a=rng.normal(size=(2, 3)))
    two.constant[:] = rng.normal(size=5)
    x = rng.normal(size=(7, 5))
    np.testing.assert_allclose(apply(one.beside(two), x), apply(one, x) + apply(two, x))
