"""Metrics that are the logit of one class (of an image) or token: `compgraph.class_logits:logit_3`.

One per class, they are named like functions of a user's own; buffers of their attributions, listed together, say what
a unit does to every output.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import Tensor

from compgraph.errors import DataError

NAME = re.compile(r"logit_(\d+)")


def __getattr__(name: str) -> Callable[[Tensor, Any], Tensor]:
    """The metric `logit_K`, for any class K."""
    found = NAME.fullmatch(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its metrics are logit_0, logit_1, …")
    number = int(found[1])

    def metric(logits: Tensor, targets: Any) -> Tensor:
        if number >= logits.shape[-1]:
            raise DataError(f"metric {name!r}: there are {logits.shape[-1]} classes, 0 to {logits.shape[-1] - 1}")
        return logits[:, number]

    metric.__name__, metric.__doc__ = name, f"Logit of class {number}."
    return metric
