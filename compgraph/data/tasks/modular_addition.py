"""Modular addition: "17 + 45 =" -> " 62" (Nanda et al. 2023, "Progress measures for grokking")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compgraph.data.tasks.items import Item, draw_distinct, option, read_options


@dataclass(frozen=True)
class Options:
    """Settings of the task."""

    modulus: int = option(113, "sums are taken modulo this number", 3, 10_000)
    counterfactual: str = option(
        "second", "which summand is replaced by another number", choices=("first", "second", "both")
    )


def capacity(**options: Any) -> int:
    """Number of distinct items: every ordered pair of summands."""
    return int(read_options(Options, "modular_addition", options).modulus) ** 2


def generate(n: int, rng: np.random.Generator, **options: Any) -> list[Item]:
    """Items of the task; `options` are the fields of `Options`.

    The distractor is the sum of the counterfactual, which always differs from the answer.

    Raises
    ------
    DataError
        For wrong options, or more items than there are.
    """
    settings = read_options(Options, "modular_addition", options)
    modulus = settings.modulus
    a, b = draw_distinct(rng, [modulus, modulus], n, "modular_addition").T
    # Adding 1 to modulus - 1 to a sum changes it; with both summands new, the first moves freely.
    change = rng.integers(1, modulus, n)
    other_a, other_b = a, b
    if settings.counterfactual == "first":
        other_a = (a + change) % modulus
    elif settings.counterfactual == "second":
        other_b = (b + change) % modulus
    else:
        move = rng.integers(1, modulus, n)
        other_a, other_b = (a + move) % modulus, (b - move + change) % modulus
    total, other_total = (a + b) % modulus, (other_a + other_b) % modulus
    return [
        Item(
            f"modular_addition/{i:06d}",
            "modular_addition",
            f"{a[i]} + {b[i]} =",
            f"{other_a[i]} + {other_b[i]} =",
            (f" {total[i]}",),
            (f" {other_total[i]}",),
        )
        for i in range(n)
    ]


def vocabulary(**options: Any) -> list[str]:
    """Texts that together hold every word of the task."""
    settings = read_options(Options, "modular_addition", options)
    return ["+ =", *(str(number) for number in range(settings.modulus))]
