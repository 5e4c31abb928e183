"""Metrics: scalars of a network's output, one per example.

Every metric is a function `(logits [n, classes], targets) -> [n]`; a user's own is named by its import path. All but
`accuracy` and `reciprocal_rank` are differentiable.
`targets` holds what the data say is right and wrong and, where a metric compares with the unmodified model,
that model's logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.catalogue import METRICS, Entry, load
from compgraph.errors import DataError
from compgraph.importing import import_function


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


def reciprocal_rank(logits: Tensor, targets: Targets) -> Tensor:
    """One over the rank of the best-placed answer among all classes (its mean over examples is the MRR).

    The rank is one plus the number of classes with a larger logit: ties count for the answer.
    """
    ids = _need(targets, "answers")
    best = logits.gather(1, ids.clamp_min(0)).masked_fill(ids < 0, -torch.inf).amax(-1, keepdim=True)
    return 1 / (1 + (logits > best).sum(-1)).to(logits.dtype)


def margin(logits: Tensor, targets: Targets) -> Tensor:
    """Largest logit of the answers minus the largest of all other classes: above 0 where the output is right.

    Differentiable wherever both maxima are unique.
    """
    ids = _need(targets, "answers")
    # Padding repeats the first answer, so that it marks no class of its own.
    marked = torch.zeros_like(logits, dtype=torch.bool).scatter(1, torch.where(ids < 0, ids[:, :1], ids), True)
    if bool(marked.all(-1).any()):
        raise DataError(f"metric 'margin' needs a class that is no answer; an example has {logits.shape[-1]} of them")
    right = logits.masked_fill(~marked, -torch.inf).amax(-1)
    return right - logits.masked_fill(marked, -torch.inf).amax(-1)


def describe(name: str) -> Entry:
    """What is known of a metric: whether it needs a reference, has a gradient, is better when lower.

    A user's function, named `package.module:function`, says it by attributes of the function (`needs_reference`,
    `lower_is_better`, `differentiable`); where it says nothing it is taken to need no reference, to have a gradient and
    to be better when higher.

    Raises
    ------
    DataError
        Neither a registered name nor the import path of a function that can be imported.
    """
    if name in METRICS:
        return METRICS[name]
    function = import_function(name, METRICS, "metric")
    module, _, attribute = name.partition(":")
    summary = (function.__doc__ or name).strip().split("\n")[0]
    return Entry(
        name,
        module,
        summary,
        attribute,
        needs_reference=bool(getattr(function, "needs_reference", False)),
        lower_is_better=bool(getattr(function, "lower_is_better", False)),
        differentiable=bool(getattr(function, "differentiable", True)),
    )


def needs_reference(name: str) -> bool:
    """Whether a metric compares with the clean run of the whole model: it is flat there."""
    return describe(name).needs_reference


def lower_is_better(name: str) -> bool:
    """Whether a smaller value means that the network does better."""
    return describe(name).lower_is_better


def get_metric(name: str, *, differentiable: bool = False) -> Metric:
    """The metric of that name.

    Parameters
    ----------
    name
        A registered name, or `package.module:function`: a function `(logits [n, classes], targets) -> [n]`.
    differentiable
        Whether a gradient is needed.

    Raises
    ------
    DataError
        Unknown name, or one without a gradient where a gradient is needed.
    """
    entry = describe(name)
    if differentiable and not entry.differentiable:
        valid = [m for m, other in METRICS.items() if other.differentiable]
        raise DataError(f"metric {name!r} has no gradient; valid here are {', '.join(valid)}")
    metric: Metric = load(entry)
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
