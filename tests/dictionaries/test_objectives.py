"""Gradients of the autoencoders against autograd, and the k-th largest against a sort."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.dictionaries.active import Active
from compgraph.dictionaries.largest import KthLargest, Largest
from compgraph.dictionaries.objectives import OBJECTIVES

WIDTH, FEATURES, ROWS, K, PRESSURE = 6, 15, 40, 3, 0.7


def setting(activation):
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    objective = OBJECTIVES[activation](k=K, bandwidth=0.4)
    rows = random(FEATURES, WIDTH)
    p = objective.start(rows / rows.norm(dim=1, keepdim=True))
    for name in p:
        if name != "threshold":
            p[name] += 0.3 * random(*p[name].shape)
    return objective, p, random(ROWS, WIDTH)


class Jump(torch.autograd.Function):
    """y where y > t; its straight-through derivative by t (Rajamanoharan et al. 2024, equation 11)."""

    @staticmethod
    def forward(context, y, t, width):
        context.save_for_backward(y, t)
        context.width = width
        return y * (y > t)

    @staticmethod
    def backward(context, by_out):
        y, t = context.saved_tensors
        near = ((y - t).abs() < context.width / 2) / context.width
        return by_out * (y > t), -(t * near * by_out).sum(0), None


class Count(torch.autograd.Function):
    """1 where y > t; its straight-through derivative by t (equation 12)."""

    @staticmethod
    def forward(context, y, t, width):
        context.save_for_backward(y, t)
        context.width = width
        return (y > t).to(y.dtype)

    @staticmethod
    def backward(context, by_out):
        y, t = context.saved_tensors
        near = ((y - t).abs() < context.width / 2) / context.width
        return torch.zeros_like(y), -(near * by_out).sum(0), None


def loss(activation, p, x):
    """The definitions, row by row, for autograd."""
    y = x @ p["encoder"].T + p["encoder_bias"]
    penalty = torch.zeros((), dtype=torch.float64)
    extra = 0
    if activation == "relu":
        f = y.relu()
        penalty = f.sum()
    elif activation == "topk":
        f = y.relu() * (y >= y.topk(K, dim=1).values[:, -1:])
    elif activation == "batch-topk":
        f = y.relu() * (y >= y.flatten().topk(K * len(x)).values[-1])
    elif activation == "jumprelu":
        threshold = p["log_threshold"].exp()
        f = Jump.apply(y, threshold, 0.4)
        penalty = Count.apply(y, threshold, 0.4).sum()
    else:
        f = (y > 0) * (y * p["log_scale"].exp() + p["offset"]).relu()
        penalty = y.relu().sum()
        extra = (y.relu() @ p["rows"].detach() + p["bias"].detach() - x).square().sum()
    squared = (f @ p["rows"] + p["bias"] - x).square().sum()
    return f, squared, penalty, squared + extra + PRESSURE * penalty


@pytest.mark.parametrize("activation", OBJECTIVES)
def test_gradients_are_those_of_autograd(activation):
    objective, p, x = setting(activation)
    ours = {name: torch.zeros_like(value) for name, value in p.items() if value.ndim}
    leaves = {name: value.clone().requires_grad_() for name, value in p.items()}
    f, squared, penalty, whole = loss(activation, leaves, x)
    whole.backward()
    assert torch.equal(objective.features(p, x).T > 0, f > 0) and 0 < (f > 0).double().mean() < 1
    found = objective.gradients(p, x, ours, PRESSURE)
    for name, gradient in ours.items():
        torch.testing.assert_close(2 * gradient, leaves[name].grad, rtol=1e-10, atol=1e-10, msg=name)
    assert found == pytest.approx(squared.item(), rel=1e-12)
    assert objective.penalty(p, x) == pytest.approx(penalty.item(), rel=1e-12)
    assert torch.equal(ours["rows"].any(1), (f > 0).any(0))  # what tells the dead from the living


@pytest.mark.parametrize("activation", ["relu", "topk", "jumprelu", "gated"])
def test_gradients_of_blocks_add_up(activation):
    """Not of batch-topk, which selects within a block."""
    objective, p, x = setting(activation)
    found = []
    for size in (ROWS, 7):
        into = {name: torch.zeros_like(value) for name, value in p.items() if value.ndim}
        squared = sum(objective.gradients(p, block, into, PRESSURE) for block in x.split(size))
        found.append((into, squared))
    for name in found[0][0]:
        torch.testing.assert_close(found[0][0][name], found[1][0][name])
    assert found[0][1] == pytest.approx(found[1][1])


@pytest.mark.parametrize("rows", [1, 7, 64, 100])
@pytest.mark.parametrize("k", [1, 3, 8, 16, 40])
def test_kth_largest(rows, k):
    values = np.random.default_rng(k).normal(size=(rows, 9)).clip(0)
    values[0] = values[-1]  # ties
    expected = np.sort(values, 0)[::-1][k - 1] if k <= rows else np.zeros(9)
    largest = KthLargest(k)
    for _ in range(2):  # the second time in used memory
        np.testing.assert_array_equal(largest(values), expected)
    np.testing.assert_array_equal(largest(values[:, :4]), expected[:4])


@pytest.mark.parametrize("rows", [1, 7, 64, 100])
@pytest.mark.parametrize("k", [1, 3, 8, 16])
def test_largest_of_columns(rows, k):
    values = np.random.default_rng(k).normal(size=(rows, 9))
    values[0] = values[-1]  # ties
    values[:, 0] = 1 - np.arange(rows)  # few or none are positive
    least = np.sort(values, 0)[::-1][k - 1] if k <= rows else np.zeros(9)
    active = Largest(k)(values)
    np.testing.assert_array_equal(active.features * 9 + active.rows, np.flatnonzero((values >= least) & (values > 0)))


def test_sums_over_active_features():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(5, 7, generator=generator, dtype=torch.float64).clamp_(min=0)
    matrix[2] = matrix[:, 3] = 0  # a feature and a row without any
    by_feature, by_row = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in matrix.shape)
    active = Active(np.flatnonzero(matrix), (5, 7))
    values = active.taken(matrix)
    torch.testing.assert_close(active.decoded(values, by_feature), matrix.T @ by_feature)
    torch.testing.assert_close(active.gathered(values, by_row), matrix @ by_row)
    torch.testing.assert_close(active.summed(values), matrix.sum(1))
    filled = torch.full_like(matrix, torch.nan)
    active.put(values, filled)
    assert torch.equal(filled, matrix)
