"""Metrics: scalars of a network's output, one per example.

Every metric is a function `(logits [n, classes], targets) -> [n]`. All but `accuracy` are differentiable.
`targets` holds what the data say is right and wrong and, where a metric compares with the unmodified model,
that model's logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.catalogue import METRICS, load
from compgraph.errors import DataError


@dataclass
class Targets:
    """What outputs are compared with.

    Attributes
    ----------
    answers, distractors
        [n, a] and [n, d] class or token ids, padded with -1; None where the data have none.
    reference
        [n, classes] logits of the clean, unmodified model (for `kl`, `total_variation`), or None.
    """

    answers: Tensor | None = None
    distractors: Tensor | None = None
    reference: Tensor | None = None


Metric = Callable[[Tensor, Targets], Tensor]


def logit_difference(logits: Tensor, targets: Targets) -> Tensor:
    """Mean logit of the answers minus mean logit of the distractors."""
    return _mean(logits, _need(targets, "answers")) - _mean(logits, _need(targets, "distractors"))


def probability(logits: Tensor, targets: Targets) -> Tensor:
    """Total probability of the answers."""
    return _total(logits.softmax(-1), _need(targets, "answers"))


def probability_difference(logits: Tensor, targets: Targets) -> Tensor:
    """Total probability of the answers minus that of the distractors (greater-than; Hanna et al. 2023)."""
    p = logits.softmax(-1)
    return _total(p, _need(targets, "answers")) - _total(p, _need(targets, "distractors"))


def cross_entropy(logits: Tensor, targets: Targets) -> Tensor:
    """Negative log of the answers' total probability, in nats."""
    ids = _need(targets, "answers")
    values = logits.log_softmax(-1).gather(1, ids.clamp_min(0))
    return -values.masked_fill(ids < 0, -torch.inf).logsumexp(-1)


def kl(logits: Tensor, targets: Targets) -> Tensor:
    """KL(model || ablated) in nats: sum over classes, never divided by their number."""
    log_p = _need(targets, "reference").log_softmax(-1)
    return (log_p.exp() * (log_p - logits.log_softmax(-1))).sum(-1)


def total_variation(logits: Tensor, targets: Targets) -> Tensor:
    """Total variation distance to the model's distribution, in [0, 1]."""
    return (_need(targets, "reference").softmax(-1) - logits.softmax(-1)).abs().sum(-1) / 2


def accuracy(logits: Tensor, targets: Targets) -> Tensor:
    """1 where the most probable class of all is an answer, else 0."""
    best = logits.argmax(-1, keepdim=True)
    return (best == _need(targets, "answers")).any(-1).to(logits.dtype)


NEEDS_REFERENCE = frozenset(name for name, entry in METRICS.items() if entry.needs_reference)
NOT_DIFFERENTIABLE = frozenset(name for name, entry in METRICS.items() if not entry.differentiable)


def get_metric(name: str, *, differentiable: bool = False) -> Metric:
    """The metric of that name.

    Raises
    ------
    DataError
        Unknown name, or one without a gradient where a gradient is needed.
    """
    valid = [m for m in METRICS if not (differentiable and m in NOT_DIFFERENTIABLE)]
    if name not in valid:
        raise DataError(f"metric {name!r} is not available here; valid are {', '.join(valid)}")
    metric: Metric = load(METRICS[name])
    return metric


def _need(targets: Targets, field: str) -> Tensor:
    value: Tensor | None = getattr(targets, field)
    if value is None or value.shape[-1] == 0:
        raise DataError(f"this metric needs {field}, which the data do not have")
    return value


def _total(values: Tensor, ids: Tensor) -> Tensor:
    return (values.gather(1, ids.clamp_min(0)) * (ids >= 0)).sum(-1)


def _mean(values: Tensor, ids: Tensor) -> Tensor:
    return _total(values, ids) / (ids >= 0).sum(-1)
