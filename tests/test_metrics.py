"""Metrics against explicit arithmetic on a small example."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from compgraph.catalogue import METRICS
from compgraph.errors import DataError
from compgraph.metrics import Targets, describe, get_metric

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
    "reciprocal_rank": [1.0, 1 / 2],
    "margin": [2.0 - 1.0, 0.0 - 3.0],
}


@pytest.mark.parametrize("name", METRICS)
def test_equals_explicit_arithmetic(name):
    assert get_metric(name)(LOGITS, TARGETS).tolist() == pytest.approx(EXPECTED[name], abs=1e-12)


def test_every_metric_has_an_expected_value():
    assert set(EXPECTED) == set(METRICS)


@pytest.mark.parametrize("name", [name for name, entry in METRICS.items() if entry.differentiable])
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


def test_rank_of_the_best_answer_and_ties():
    logits = torch.tensor([[3.0, 1.0, 2.0, 1.0]], dtype=torch.float64)
    rank = get_metric("reciprocal_rank")
    assert rank(logits, Targets(torch.tensor([[1]]))).tolist() == [pytest.approx(1 / 3)]
    assert rank(logits, Targets(torch.tensor([[1, 2]]))).tolist() == [pytest.approx(1 / 2)]
    assert rank(torch.zeros(1, 4), Targets(torch.tensor([[3]]))).tolist() == [1.0]


def test_margin_is_positive_where_the_answer_wins():
    margin, accuracy = get_metric("margin"), get_metric("accuracy")
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = Targets(torch.randint(0, 6, (50, 1), generator=torch.Generator().manual_seed(1)))
    assert torch.equal((margin(logits, targets) > 0).double(), accuracy(logits, targets))
    with pytest.raises(DataError, match=r"margin.*no answer"):
        margin(logits[:1, :2], Targets(torch.tensor([[0, 1]])))


def test_a_users_own_metric(tmp_path, monkeypatch):
    (tmp_path / "own_metrics.py").write_text(
        "def margin(logits, targets):\n"
        '    """Largest logit minus the mean."""\n'
        "    return logits.amax(-1) - logits.mean(-1)\n"
        "def loss(logits, targets):\n"
        "    return -logits[:, 0]\n"
        "loss.lower_is_better = True\n"
        "loss.differentiable = False\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    values = get_metric("own_metrics:margin", differentiable=True)(LOGITS, TARGETS)
    assert values.tolist() == pytest.approx([2 - 3.5 / 3, 3 - 2 / 3])
    assert describe("own_metrics:margin").summary == "Largest logit minus the mean."
    assert describe("own_metrics:loss").lower_is_better
    with pytest.raises(DataError, match="'own_metrics:loss' has no gradient"):
        get_metric("own_metrics:loss", differentiable=True)
    with pytest.raises(DataError, match=r"'own_metrics:gone' cannot be imported: .*gone"):
        get_metric("own_metrics:gone")
    with pytest.raises(DataError, match=r"'nowhere\.x:f' cannot be imported"):
        get_metric("nowhere.x:f")
    with pytest.raises(DataError, match="'own_metrics:number' is no function"):
        get_metric("own_metrics:number")
