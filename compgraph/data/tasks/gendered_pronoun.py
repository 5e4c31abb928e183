"""Gendered pronouns: "Lily was sad at the park because" -> " she", "So Tim is a good cook, isn't" -> " he".

The name alone decides; the counterfactual has a name of the other gender (the question tags are those of
Mathwin et al. 2023, "Identifying a preliminary circuit for predicting gendered pronouns in GPT-2 small").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from compgraph.data.tasks.items import Item, draw_distinct, option, read_options

TAGS = (
    "So {name} is such a {mood} {role}, isn't",
    "So {name} is a really {mood} {role}, isn't",
    "Well, {name} was a very {mood} {role}, wasn't",
    "I think {name} is quite a {mood} {role}, isn't",
)
STORIES = (
    "{name} was {mood} at the {role} because",
    "One day, {name} was so {mood} at the {role} that",
    "{name} went to the {role} and was so {mood} that",
    "{name} was {mood} and wanted to go to the {role}, so",
    "{name} liked the {role} and was very {mood}. Every day,",
    "Once there was a {mood} child named {name}. At the {role},",
)
# The first 16 of each are names that very small models know, too.
FEMALE = (
    "Lily", "Mary", "Sue", "Anna", "Emily", "Sarah", "Lucy", "Emma", "Jane", "Alice", "Amy", "Mia", "Sara",
    "Laura", "Julia", "Lisa", "Maria", "Linda", "Claire", "Martha", "Diana", "Rachel", "Susan", "Helen",
    "Karen", "Nicole", "Kate", "Jessica", "Rebecca", "Victoria",
)  # fmt: skip
MALE = (
    "Tim", "John", "Tom", "Ben", "David", "Max", "Jack", "Sam", "Timmy", "Bob", "Joe", "Mark", "Peter",
    "Paul", "George", "Robert", "William", "Simon", "Richard", "Kevin", "Daniel", "James", "Steven", "Henry",
    "Andrew", "Thomas", "Adam", "Michael", "Eric", "Brian",
)  # fmt: skip
MOODS = (
    "happy", "sad", "tired", "hungry", "busy", "bored", "proud", "scared", "sleepy", "lonely", "calm",
    "quiet",
)  # fmt: skip
PLACES = ("park", "beach", "garden", "school", "store", "farm", "house", "lake", "zoo", "library")
PRAISE = (
    "great", "good", "fine", "brilliant", "skilled", "terrible", "talented", "famous", "careful", "busy",
    "bad", "rich",
)  # fmt: skip
ROLES = (
    "nurse", "teacher", "doctor", "friend", "cook", "singer", "dancer", "writer", "lawyer", "player",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """Settings of the task."""

    style: str = option(
        "story",
        "sentences of a story, which small models know too, or the question tags of the literature",
        choices=("story", "tag"),
    )
    n_templates: int = option(0, "number of sentence templates, at most; 0 for all", 0, len(TAGS))
    first_template: int = option(0, "number of the first template; others are other wordings", 0, len(TAGS) - 1)
    n_names: int = option(16, "number of names of each gender", 1, len(FEMALE))
    n_fillers: int = option(len(PLACES), "number of places and moods, or roles and praises", 1, len(PLACES))

    @property
    def templates(self) -> tuple[str, ...]:
        """The sentences in use."""
        every = (STORIES if self.style == "story" else TAGS)[self.first_template :]
        return every[: self.n_templates or None]

    @property
    def fillers(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What fills ``{mood}`` and ``{role}``."""
        mood, role = (MOODS, PLACES) if self.style == "story" else (PRAISE, ROLES)
        return mood[: self.n_fillers], role[: self.n_fillers]


def _radices(settings: Options) -> list[int]:
    mood, role = settings.fillers
    return [len(settings.templates), 2, settings.n_names, len(mood), len(role)]


def capacity(**options: Any) -> int:
    """Number of distinct items."""
    return math.prod(_radices(read_options(Options, "gendered_pronoun", options)))


def generate(n: int, rng: np.random.Generator, **options: Any) -> list[Item]:
    """Items of the task; `options` are the fields of `Options`.

    Raises
    ------
    DataError
        For wrong options, or more items than there are.
    """
    settings = read_options(Options, "gendered_pronoun", options)
    digits = draw_distinct(rng, _radices(settings), n, "gendered_pronoun").tolist()
    partner = rng.integers(0, settings.n_names, n).tolist()
    moods, roles = settings.fillers
    pronouns = (" she", " he")
    items = []
    for i, (template, male, name, mood, role) in enumerate(digits):
        own, other = (MALE, FEMALE) if male else (FEMALE, MALE)
        words = {"mood": moods[mood], "role": roles[role]}
        sentence = settings.templates[template]
        items.append(
            Item(
                f"gendered_pronoun/{i:06d}",
                "gendered_pronoun",
                sentence.format(name=own[name], **words),
                sentence.format(name=other[partner[i]], **words),
                (pronouns[male],),
                (pronouns[1 - male],),
            )
        )
    return items


def vocabulary(**options: Any) -> list[str]:
    """Texts that together hold every word of the task."""
    settings = read_options(Options, "gendered_pronoun", options)
    empty = {"name": "", "mood": "", "role": ""}
    moods, roles = settings.fillers
    names = FEMALE[: settings.n_names] + MALE[: settings.n_names]
    return [*(text.format(**empty) for text in settings.templates), *names, *moods, *roles, "she he"]
