"""Subject-verb agreement: "The keys near the cabinet" -> " are".

The verb follows the subject's number, not that of the nouns in between, the attractors (Linzen, Dupoux &
Goldberg 2016; Finlayson et al. 2021, "Causal analysis of syntactic agreement mechanisms in neural language
models"). The counterfactual changes the number of the subject and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from compgraph.data.tasks.items import Item, draw_distinct, option, read_options

NOUNS = (
    ("key", "keys"), ("cabinet", "cabinets"), ("man", "men"), ("woman", "women"), ("teacher", "teachers"),
    ("car", "cars"), ("boy", "boys"), ("girl", "girls"), ("book", "books"), ("table", "tables"),
    ("child", "children"), ("doctor", "doctors"), ("picture", "pictures"), ("tree", "trees"), ("dog", "dogs"),
    ("door", "doors"), ("friend", "friends"), ("student", "students"), ("letter", "letters"),
    ("house", "houses"), ("lawyer", "lawyers"), ("cat", "cats"), ("chair", "chairs"), ("parent", "parents"),
    ("window", "windows"), ("farmer", "farmers"), ("horse", "horses"), ("manager", "managers"),
    ("bird", "birds"), ("computer", "computers"), ("actor", "actors"), ("truck", "trucks"),
    ("author", "authors"), ("bike", "bikes"), ("guest", "guests"), ("lamp", "lamps"), ("pilot", "pilots"),
    ("boat", "boats"), ("king", "kings"), ("sign", "signs"),
)  # fmt: skip
PREPOSITIONS = ("near", "behind", "beside", "with", "above", "below")
PAST_VERBS = ("saw", "followed", "liked", "found", "knew", "wanted")
VERBS = {"is": "are", "has": "have", "was": "were", "does": "do", "goes": "go"}
PREPOSITIONAL = tuple(f" {word} the {{noun}}" for word in PREPOSITIONS)
RELATIVE = tuple(f" that the {{noun}} {word}" for word in PAST_VERBS)


@dataclass(frozen=True)
class Options:
    """Settings of the task."""

    structure: str = option(
        "prepositional",
        "what holds the attractor: a prepositional phrase, a relative clause, or either (mixed)",
        choices=("prepositional", "relative", "mixed"),
    )
    n_attractors: int = option(1, "nouns between the subject and the verb", 0, 2)
    attractor_number: str = option(
        "any",
        "number of the attractors, compared with the subject's",
        choices=("any", "opposite", "same"),
    )
    verb: str = option("is", "singular form of the verb; any draws one for each item", choices=(*VERBS, "any"))
    n_nouns: int = option(len(NOUNS), "number of nouns", 4, len(NOUNS))
    n_linkers: int = option(0, "number of prepositions, and of verbs in relative clauses; 0 for all", 0, 6)

    @property
    def linkers(self) -> tuple[str, ...]:
        """The phrases that attach an attractor."""
        some = self.n_linkers or None
        phrases = {"prepositional": PREPOSITIONAL[:some], "relative": RELATIVE[:some]}
        return phrases.get(self.structure, phrases["prepositional"] + phrases["relative"])

    @property
    def verbs(self) -> tuple[str, ...]:
        """Singular forms in use."""
        return tuple(VERBS) if self.verb == "any" else (self.verb,)


def _radices(settings: Options) -> list[int]:
    numbers = 2 if settings.attractor_number == "any" else 1
    radices = [len(settings.verbs), 2, settings.n_nouns]
    for k in range(settings.n_attractors):
        radices += [settings.n_nouns - 1 - k, numbers, len(settings.linkers)]
    return radices


def capacity(**options: Any) -> int:
    """Number of distinct items."""
    return math.prod(_radices(read_options(Options, "agreement", options)))


def generate(n: int, rng: np.random.Generator, **options: Any) -> list[Item]:
    """Items of the task; `options` are the fields of `Options`.

    Nouns differ within an item. The answer is one form of the verb, the distractor the other.

    Raises
    ------
    DataError
        For wrong options, or more items than there are.
    """
    settings = read_options(Options, "agreement", options)
    items = []
    for i, digits in enumerate(draw_distinct(rng, _radices(settings), n, "agreement").tolist()):
        verb, plural, subject = digits[:3]
        rest = _attractors(settings, plural, subject, digits[3:])
        forms = (settings.verbs[verb], VERBS[settings.verbs[verb]])
        items.append(
            Item(
                f"agreement/{i:06d}",
                "agreement",
                f"The {NOUNS[subject][plural]}{rest}",
                f"The {NOUNS[subject][1 - plural]}{rest}",
                (f" {forms[plural]}",),
                (f" {forms[1 - plural]}",),
            )
        )
    return items


def _attractors(settings: Options, plural: int, subject: int, digits: list[int]) -> str:
    """The phrases after the subject, from three digits for each attractor: noun, number, phrase."""
    taken = [subject]
    text = ""
    for k in range(0, len(digits), 3):
        noun, number, linker = digits[k : k + 3]
        for used in sorted(taken):
            noun += noun >= used
        taken.append(noun)
        if settings.attractor_number != "any":
            number = plural if settings.attractor_number == "same" else 1 - plural
        text += settings.linkers[linker].format(noun=NOUNS[noun][number])
    return text


def vocabulary(**options: Any) -> list[str]:
    """Texts that together hold every word of the task."""
    settings = read_options(Options, "agreement", options)
    nouns = [word for pair in NOUNS[: settings.n_nouns] for word in pair]
    phrases = [text.format(noun="") for text in settings.linkers] if settings.n_attractors else []
    verbs = [word for verb in settings.verbs for word in (verb, VERBS[verb])]
    return ["The", *phrases, *nouns, *verbs]
