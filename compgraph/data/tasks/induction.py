"""Induction: random words in which one returns, " ... key lamp ... key" -> " lamp".

The answer is the word that followed the first time (Olsson et al. 2022, "In-context learning and induction
heads"). In the style "names" the pattern is within an invented name, "a dog named Zum ... One day, Z" -> "u",
which models that spell such names can do even where they are too small to repeat words at random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compgraph.data.tasks.items import (
    IntArray,
    Item,
    check_count,
    draw_arrangements,
    draw_distinct,
    option,
    read_options,
)
from compgraph.errors import DataError

WORDS = (
    "time", "day", "house", "water", "door", "tree", "light", "stone", "river", "field", "cloud", "bird",
    "chair", "table", "road", "glass", "paper", "ship", "horse", "train", "song", "wall", "star", "moon",
    "fire", "gold", "king", "hand", "head", "foot", "eye", "ear", "wind", "rain", "snow", "leaf", "seed",
    "root", "hill", "lake", "sand", "salt", "milk", "bread", "fish", "dog", "cat", "cow", "sheep", "wolf",
    "bear", "lion", "mouse", "duck", "ball", "bell", "book", "box", "card", "coin", "cup", "desk", "drum",
    "flag", "game", "gate", "hat", "iron", "key", "lamp", "map", "nail", "oil", "pen", "pipe", "plate",
    "pool", "ring", "rope", "shoe", "shop", "sign", "silk", "skin", "soap", "steel", "sugar", "tail", "tea",
    "tent", "tool", "tower", "town", "toy", "wheel", "wine", "wing", "wire", "wood", "wool",
)  # fmt: skip


STORIES = (
    "Once upon a time, there was a little {animal} named {name}. It lived near the {place}. One day, {initial}",
    "Once there was a big {animal} named {name}. It loved to play at the {place}. {initial}",
    "Once upon a time, there was a {animal}. The name of the {animal} was {name}. At the {place}, {initial}",
    "Once there was a {animal} at the {place}. It was named {name}. One day, {initial}",
)
ANIMALS = ("dog", "cat", "bird", "fish", "bear", "duck")
PLACES = ("park", "beach", "garden", "school", "farm", "lake")
# Endings that subword vocabularies seldom join to the vowel, which has to be a token of its own.
INITIALS, VOWELS, ENDINGS = "BDFGKMNPRSVZ", "aeiou", "bfkvxz"


@dataclass(frozen=True)
class Options:
    """Settings of the task."""

    style: str = option(
        "words",
        "random words, or invented names in a story, of which the vowel is asked for (takes no other options, "
        "and needs a tokenizer that spells such names letter by letter)",
        choices=("words", "names"),
    )
    length: int = option(12, "number of words before the one that returns", 4, 1000)
    counterfactual: str = option(
        "target",
        "which earlier word changes places with another: the one that followed (target) or the one that returns (cue)",
        choices=("target", "cue"),
    )
    n_words: int = option(0, "use only that many of the words; 0 for all", 0)
    words: Sequence[str] | None = option(None, "the words to draw from; silent: a list of common nouns")

    @property
    def pool(self) -> tuple[str, ...]:
        """The words in use."""
        words = tuple(WORDS if self.words is None else self.words)[: self.n_words or None]
        if len(set(words)) < max(self.length, len(words)):
            raise DataError(
                f"induction: {len(set(words))} distinct words are too few for sequences of {self.length} "
                "different words; lower length or give more words"
            )
        return words


def capacity(**options: Any) -> int:
    """Number of distinct items; in words: arrangements, times the places of the word that returns."""
    settings = read_options(Options, "induction", options)
    if settings.style == "names":
        return math.prod(NAME_RADICES)
    return math.perm(len(settings.pool), settings.length) * (settings.length - 2)


def generate(n: int, rng: np.random.Generator, **options: Any) -> list[Item]:
    """Items of the task; `options` are the fields of `Options`.

    All words of a sequence differ, except the last. The counterfactual holds the same words in another order,
    so that it has the same tokens; after it another word is right, which is the distractor. The first word of
    the sequence takes no part, since it has no leading space.

    Raises
    ------
    DataError
        For wrong options, or more items than there are.
    """
    settings = read_options(Options, "induction", options)
    if settings.style == "names":
        return _names(n, rng)
    pool, length = settings.pool, settings.length
    check_count("induction", n, math.perm(len(pool), length) * (length - 2))
    order, place = _draw(rng, len(pool), length, n)
    rows = np.arange(n)
    if settings.counterfactual == "target":
        moved = place + 1
        # Any place but the first word's and the two of the pattern.
        partner = 1 + rng.integers(0, length - 3, n)
        partner = partner + 2 * (partner >= place)
    else:
        moved = place
        partner = 1 + rng.integers(0, length - 3, n)
        partner = partner + (partner >= place)
    swapped = order.copy()
    swapped[rows, moved], swapped[rows, partner] = order[rows, partner], order[rows, moved]
    where = place if settings.counterfactual == "target" else partner
    cue, answer, other = order[rows, place], order[rows, place + 1], swapped[rows, where + 1]
    return [
        Item(
            f"induction/{i:06d}",
            "induction",
            " ".join([pool[k] for k in order[i]] + [pool[cue[i]]]),
            " ".join([pool[k] for k in swapped[i]] + [pool[cue[i]]]),
            (f" {pool[answer[i]]}",),
            (f" {pool[other[i]]}",),
        )
        for i in range(n)
    ]


def _draw(rng: np.random.Generator, n_words: int, length: int, n: int) -> tuple[IntArray, IntArray]:
    """Arrangements [n, length] and the place of the word that returns [n], distinct as pairs."""
    places = length - 2
    n_orders = math.perm(n_words, length)
    if n_orders >= n:
        # One item for each arrangement: distinct arrangements make distinct items.
        return draw_arrangements(rng, n_words, length, n, "induction"), 1 + rng.integers(0, places, n)
    every = draw_arrangements(rng, n_words, length, n_orders, "induction")
    chosen = rng.permutation(n_orders * places)[:n]
    return every[chosen // places], 1 + chosen % places


NAME_RADICES = [len(part) for part in (STORIES, ANIMALS, PLACES, INITIALS, VOWELS, ENDINGS)]


def _names(n: int, rng: np.random.Generator) -> list[Item]:
    """Items in the style "names"; the counterfactual has another vowel in the name."""
    digits = draw_distinct(rng, NAME_RADICES, n, "induction")
    change = rng.integers(1, len(VOWELS), n).tolist()
    items = []
    for i, (story, animal, place, initial, vowel, ending) in enumerate(digits.tolist()):
        first, last = INITIALS[initial], ENDINGS[ending]
        own, other = VOWELS[vowel], VOWELS[(vowel + change[i]) % len(VOWELS)]
        words = {"animal": ANIMALS[animal], "place": PLACES[place], "initial": first}
        items.append(
            Item(
                f"induction/{i:06d}",
                "induction",
                STORIES[story].format(name=first + own + last, **words),
                STORIES[story].format(name=first + other + last, **words),
                (own,),
                (other,),
            )
        )
    return items


def vocabulary(**options: Any) -> list[str]:
    """Texts that together hold every word of the task.

    Raises
    ------
    DataError
        In the style "names", whose answers are parts of words.
    """
    settings = read_options(Options, "induction", options)
    if settings.style == "names":
        raise DataError("induction: style = 'names' has no word-level vocabulary; its answers are parts of words")
    return list(settings.pool)
