"""Greater-than: "The war lasted from the year 1732 to the year 17" -> any of 33 to 99.

The counterfactual starts in a year that ends in 01, so that nearly every continuation is right (Hanna, Liu &
Variengien 2023, "How does GPT-2 compute greater-than?").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from compgraph.data.tasks.items import Item, draw_distinct, option, read_options
from compgraph.errors import DataError

TEMPLATES = (
    "The {noun} lasted from the year {start} to the year {century}",
    "The {noun} began in the year {start} and ended in the year {century}",
    "The {noun} started in {start} and did not end until {century}",
    "The {noun} that began in {start} was over by {century}",
)
NOUNS = (
    "war", "project", "voyage", "dispute", "reign", "campaign", "siege", "expedition", "alliance", "conflict",
    "study", "trial", "tour", "festival", "journey", "mission", "construction", "program", "contract",
    "agreement", "pilgrimage", "marriage", "truce", "occupation", "rebellion", "partnership", "drought",
    "plague", "raid", "operation",
)  # fmt: skip
YEARS = tuple(f"{year:02d}" for year in range(100))


@dataclass(frozen=True)
class Options:
    """Settings of the task."""

    n_templates: int = option(1, "number of templates, at most; the first is that of the paper", 1, len(TEMPLATES))
    first_template: int = option(0, "number of the first template; others are other wordings", 0, len(TEMPLATES) - 1)
    n_nouns: int = option(len(NOUNS), "number of nouns", 1, len(NOUNS))
    first_century: int = option(11, "first two digits of the earliest year", 10, 99)
    last_century: int = option(17, "first two digits of the latest year", 10, 99)

    @property
    def templates(self) -> tuple[str, ...]:
        """The sentences in use."""
        return TEMPLATES[self.first_template : self.first_template + self.n_templates]


def _radices(settings: Options) -> list[int]:
    n_centuries = settings.last_century - settings.first_century + 1
    if n_centuries < 1:
        raise DataError(
            f"greater_than: last_century = {settings.last_century} must not be below "
            f"first_century = {settings.first_century}"
        )
    # Start years 02 to 98: there is always a right continuation left, and the counterfactual 01 differs.
    return [len(settings.templates), settings.n_nouns, n_centuries, 97]


def capacity(**options: Any) -> int:
    """Number of distinct items."""
    return math.prod(_radices(read_options(Options, "greater_than", options)))


def generate(n: int, rng: np.random.Generator, **options: Any) -> list[Item]:
    """Items of the task; `options` are the fields of `Options`.

    Answers are all two-digit ends above the start year, distractors all others.

    Raises
    ------
    DataError
        For wrong options, or more items than there are.
    """
    settings = read_options(Options, "greater_than", options)
    digits = draw_distinct(rng, _radices(settings), n, "greater_than")
    items = []
    for i, (template, noun, century, year) in enumerate(digits.tolist()):
        ends = continuations(year + 2)
        words = {"noun": NOUNS[noun], "century": settings.first_century + century}
        clean = settings.templates[template].format(start=f"{words['century']}{YEARS[year + 2]}", **words)
        corrupted = settings.templates[template].format(start=f"{words['century']}01", **words)
        items.append(Item(f"greater_than/{i:06d}", "greater_than", clean, corrupted, *ends))
    return items


def continuations(year: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Right and wrong two-digit ends for a start year that ends in `year` (0 to 98)."""
    return YEARS[year + 1 :], YEARS[: year + 1]


def vocabulary(**options: Any) -> list[str]:
    """Texts that together hold every word of the task."""
    settings = read_options(Options, "greater_than", options)
    centuries = [str(c) for c in range(settings.first_century, settings.last_century + 1)]
    empty = {"noun": "", "start": "", "century": ""}
    texts = [text.format(**empty) for text in settings.templates]
    return [*texts, *NOUNS[: settings.n_nouns], *YEARS, *centuries]
