"""What becomes of a network's weights where graphs of random networks are the null model."""

from __future__ import annotations

from typing import Literal

Randomised = Literal["shuffled", "reinitialised", "rotated"]

RANDOMISED = (
    "With null_model network, what becomes of the weights: shuffled inside tensors, reinitialised with their mean and "
    "deviation, or rotated, which keeps singular values."
)
