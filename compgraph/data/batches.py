"""Pairs as tensors, a batch at a time, on the network's device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compgraph.metrics import Targets
from compgraph.models.network import Network


@dataclass
class Batch:
    """Some examples of a set of pairs.

    Attributes
    ----------
    rows
        [b] indices of the examples in the pairs.
    clean, corrupted
        Token ids [b, t] or images [b, c, h, w]; corrupted may be None.
    mask
        [b, t] bool or None (images).
    positions
        [b] scored positions or None (images).
    targets
        Answers and distractors.
    """

    rows: np.ndarray
    clean: Tensor
    corrupted: Tensor | None
    mask: Tensor | None
    positions: Tensor | None
    targets: Targets

    def __len__(self) -> int:
        return len(self.rows)


def batches(net: Network, pairs: Any, size: int) -> Iterator[Batch]:
    """Cut `PromptPairs` or `ImagePairs` into batches of at most `size` examples, in order.

    Padding shared by a whole batch is cut off, so that short prompts beside long ones cost little.
    """
    for start in range(0, pairs.n, size):
        yield batch_of(net, pairs, np.arange(start, min(start + size, pairs.n)))


def batch_of(net: Network, pairs: Any, rows: np.ndarray) -> Batch:
    """The batch of the examples with these indices, in their order."""

    def tensor(name: str) -> Tensor | None:
        value = getattr(pairs, name)
        return None if value is None else torch.from_numpy(np.ascontiguousarray(value[rows])).to(net.device)

    clean, corrupted, mask, positions = (tensor(n) for n in ("clean", "corrupted", "mask", "positions"))
    assert clean is not None
    if clean.is_floating_point():
        clean = clean.to(net.dtype)
        corrupted = None if corrupted is None else corrupted.to(net.dtype)
    elif mask is not None:
        used = mask.any(0).nonzero()
        first, last = int(used[0]), int(used[-1]) + 1
        clean, mask = clean[:, first:last], mask[:, first:last]
        corrupted = None if corrupted is None else corrupted[:, first:last]
        positions = None if positions is None else positions - first
    return Batch(rows, clean, corrupted, mask, positions, Targets(tensor("answers"), tensor("distractors")))
