"""Metrics against explicit arithmetic on a small example."""

from __future__ import annotations

import math

import pytest
import torch

from compgraph.catalogue import METRICS
from compgraph.errors import DataError
from compgraph.metrics import NOT_DIFFERENTIABLE, Targets, get_metric

LOGITS = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], dtype=torch.float64)
REFERENCE = torch.tensor([[0.3, 0.1, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
TARGETS = Targets(torch.tensor([[1, -1], [0, 1]]), torch.tensor([[0, 2], [2, -1]]), REFERENCE)


def softmax(row):
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


P = [softmax(row) for row in LOGITS.tolist()]
M = [softmax(row) for row in REFERENCE.tolist()]
EXPECTED = {
    "logit_difference": [2.0 - (1.0 + 0.5) / 2, (0.0 - 1.0) / 2 - 3.0],
    "probability": [P[0][1], P[1][0] + P[1][1]],
    "probability_difference": [P[0][1] - P[0][0] - P[0][2], P[1][0] + P[1][1] - P[1][2]],
    "cross_entropy": [-math.log(P[0][1]), -math.log(P[1][0] + P[1][1])],
    "kl": [sum(m * math.log(m / p) for m, p in zip(M[i], P[i], strict=True)) for i in range(2)],
    "total_variation": [sum(abs(m - p) for m, p in zip(M[i], P[i], strict=True)) / 2 for i in range(2)],
    "accuracy": [1.0, 0.0],
}


@pytest.mark.parametrize("name", METRICS)
def test_equals_explicit_arithmetic(name):
    assert get_metric(name)(LOGITS, TARGETS).tolist() == pytest.approx(EXPECTED[name], abs=1e-12)


def test_every_metric_has_an_expected_value():
    assert set(EXPECTED) == set(METRICS)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - NOT_DIFFERENTIABLE))
def test_gradients(name):
    metric = get_metric(name, differentiable=True)
    assert torch.autograd.gradcheck(lambda x: metric(x, TARGETS), LOGITS.clone().requires_grad_())


def test_says_what_is_missing():
    with pytest.raises(DataError, match="distractors"):
        get_metric("logit_difference")(LOGITS, Targets(torch.tensor([[1], [1]])))
    with pytest.raises(DataError, match="'accuracy'"):
        get_metric("accuracy", differentiable=True)
    with pytest.raises(DataError, match=r"'ld'.*logit_difference"):
        get_metric("ld")
