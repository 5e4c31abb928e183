"""Indirect object identification: "When Mary and John went to the store, John gave a drink to" -> " Mary".

The name that occurs once is the answer, the repeated one the distractor (Wang et al. 2023, "Interpretability
in the wild: a circuit for indirect object identification in GPT-2 small").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from compgraph.data.tasks.items import IntArray, Item, draw_distinct, option, read_options, skip, skip_both

TEMPLATES = (
    "When {a} and {b} went to the {place}, {s} gave a {thing} to",
    "Then, {a} and {b} met at the {place}, and {s} handed a {thing} to",
    "After {a} and {b} came back from the {place}, {s} offered a {thing} to",
    "While {a} and {b} were waiting at the {place}, {s} passed a {thing} to",
    "Then, {a} and {b} had a long talk about the {place}. Afterwards {s} brought a {thing} to",
    "Yesterday {a} and {b} had lunch at the {place}. Later {s} sent a {thing} to",
    "Friends {a} and {b} found a {thing} near the {place}. Then {s} gave it to",
    "As {a} and {b} were walking to the {place}, {s} showed a {thing} to",
    "Once {a} and {b} had arrived at the {place}, {s} decided to give a {thing} to",
    "Before {a} and {b} left the {place}, {s} wanted to give a {thing} to",
    "Because {a} and {b} were working at the {place}, {s} lent a {thing} to",
    "Then, {a} and {b} spent the whole day at the {place}. In the evening {s} sold a {thing} to",
)
NAMES = (
    "Mary", "John", "Sarah", "David", "Anna", "James", "Emily", "Michael", "Laura", "Robert", "Jessica",
    "Daniel", "Rachel", "Thomas", "Alice", "Mark", "Emma", "Paul", "Kate", "Peter", "Susan", "George", "Lisa",
    "Andrew", "Amy", "Kevin", "Julia", "Brian", "Karen", "Steven", "Helen", "Edward", "Linda", "Jason",
    "Maria", "Ryan", "Jennifer", "Adam", "Rebecca", "Simon", "Lucy", "Jack", "Sara", "Tom", "Victoria",
    "Charles", "Nicole", "Eric", "Diana", "Scott", "Claire", "Joseph", "Jane", "Patrick", "Amanda", "Henry",
    "Elizabeth", "William", "Martha", "Richard",
)  # fmt: skip
PLACES = (
    "store", "school", "garden", "restaurant", "station", "hospital", "office", "library", "park", "market",
    "beach", "church", "hotel", "museum", "theater", "farm",
)  # fmt: skip
THINGS = (
    "drink", "book", "ring", "basketball", "computer", "kiss", "letter", "ticket", "camera", "flower", "key",
    "phone", "map", "bottle", "gift", "coat",
)  # fmt: skip
ORDERS = ("mixed", "abba", "baba")


@dataclass(frozen=True)
class Options:
    """Settings of the task."""

    counterfactual: str = option(
        "swap",
        "what replaces the second mention of the subject: the other name, so that the answer becomes the "
        "distractor (swap), or a third name (abc); or three new names throughout (random)",
        choices=("swap", "abc", "random"),
    )
    order: str = option(
        "mixed", "whether the subject is named second (abba), first (baba) or both ways", choices=ORDERS
    )
    n_templates: int = option(len(TEMPLATES), "number of sentence templates, at most", 1, len(TEMPLATES))
    first_template: int = option(0, "number of the first template; others are other wordings", 0, len(TEMPLATES) - 1)
    n_names: int = option(len(NAMES), "number of names", 6, len(NAMES))
    n_places: int = option(len(PLACES), "number of places", 1, len(PLACES))
    n_things: int = option(len(THINGS), "number of things given", 1, len(THINGS))

    @property
    def templates(self) -> tuple[str, ...]:
        """The sentences in use."""
        return TEMPLATES[self.first_template : self.first_template + self.n_templates]


def _radices(settings: Options) -> list[int]:
    names = settings.n_names
    n_orders = 2 if settings.order == "mixed" else 1
    return [len(settings.templates), n_orders, names, names - 1, settings.n_places, settings.n_things]


def capacity(**options: Any) -> int:
    """Number of distinct items."""
    return math.prod(_radices(read_options(Options, "ioi", options)))


def generate(n: int, rng: np.random.Generator, **options: Any) -> list[Item]:
    """Items of the task; `options` are the fields of `Options`.

    With ``counterfactual="swap"`` the repeated subject is replaced by the other name, as in the MIB
    benchmark; ``"abc"`` is the ``corrupted`` column of the EAP-IG package, ``"random"`` the ABC distribution
    of Wang et al.

    Raises
    ------
    DataError
        For wrong options, or more items than there are.
    """
    settings = read_options(Options, "ioi", options)
    digits = draw_distinct(rng, _radices(settings), n, "ioi")
    template, order, first, second, place, thing = digits.T
    second = skip(second, first)
    subject_second = order == 0 if settings.order == "mixed" else np.full(n, settings.order == "abba")
    third = skip_both(rng.integers(0, settings.n_names - 2, n), first, second)
    others = _other_names(rng, first, second, settings.n_names) if settings.counterfactual == "random" else None
    items = []
    for i in range(n):
        words = {"place": PLACES[place[i]], "thing": THINGS[thing[i]]}
        sentence = settings.templates[template[i]]
        a, b = NAMES[first[i]], NAMES[second[i]]
        subject, recipient = (b, a) if subject_second[i] else (a, b)
        clean = sentence.format(a=a, b=b, s=subject, **words)
        if others is not None:
            x, y, z = (NAMES[k] for k in others[i])
            corrupted = sentence.format(a=x, b=y, s=z, **words)
        else:
            new = recipient if settings.counterfactual == "swap" else NAMES[third[i]]
            corrupted = sentence.format(a=a, b=b, s=new, **words)
        items.append(Item(f"ioi/{i:06d}", "ioi", clean, corrupted, (f" {recipient}",), (f" {subject}",)))
    return items


def _other_names(rng: np.random.Generator, first: IntArray, second: IntArray, n_names: int) -> IntArray:
    """Three different names per item [n, 3] that the clean prompt does not hold."""
    keys = rng.random((len(first), n_names))
    rows = np.arange(len(first))
    keys[rows, first] = keys[rows, second] = 2.0
    return np.argsort(keys, axis=1)[:, :3]


def vocabulary(**options: Any) -> list[str]:
    """Texts that together hold every word of the task."""
    settings = read_options(Options, "ioi", options)
    empty = {"a": "", "b": "", "s": "", "place": "", "thing": ""}
    words = NAMES[: settings.n_names] + PLACES[: settings.n_places] + THINGS[: settings.n_things]
    return [*(text.format(**empty) for text in settings.templates), *words]
