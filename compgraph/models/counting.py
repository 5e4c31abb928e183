"""How many passes through a network a computation makes.

Passes are counted in examples: a batch of 8 through the whole network is 8 forward passes, through the upper half of
it 4. Counted are the engine's own passes (`Transformer.run`, `capture`, `resume`, `Sequential.run`) and the runs of
circuits; products at a single site are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

DIGITS = 4
"""Decimals to which passes per example are recorded."""


@dataclass
class Passes:
    """Forward and backward passes of single examples, parts of passes as fractions."""

    forward: float = 0.0
    backward: float = 0.0

    def add(self, other: Passes) -> None:
        """Add others."""
        self.forward += other.forward
        self.backward += other.backward

    def per_example(self, n: int) -> dict[str, float]:
        """Passes of each of n examples, as graphs record them."""
        return {"forward": round(self.forward / n, DIGITS), "backward": round(self.backward / n, DIGITS)}


_open: list[Passes] = []


@contextmanager
def uncounted() -> Iterator[None]:
    """Count nothing while the body of the ``with`` runs: work that an earlier call may have done already."""
    held = _open[:]
    _open.clear()
    try:
        yield
    finally:
        _open[:] = held


@contextmanager
def count_passes() -> Iterator[Passes]:
    """Count the passes made while the body of the ``with`` runs; counts may be nested."""
    found = Passes()
    _open.append(found)
    try:
        yield found
    finally:
        # By identity: counts that happen to be equal are equal as data classes.
        _open[:] = [one for one in _open if one is not found]


def count_forward(examples: int, share: float = 1.0) -> None:
    """Note that a share of the network was run for some examples."""
    for one in _open:
        one.forward += examples * share


def count_backward(output: Tensor, share: float = 1.0) -> None:
    """Note, when it happens, each backward pass from an output [examples, …] through a share of the network."""
    if not _open or not output.requires_grad:
        return
    counts, examples = tuple(_open), len(output)

    def note(_: Tensor) -> None:
        for one in counts:
            one.backward += examples * share

    output.register_hook(note)
