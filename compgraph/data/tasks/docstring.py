"""Docstring: after ":param load: ... :param size: ... :param" comes the next argument, " files".

The order is read off the signature (Heimersheim & Janiak 2023, "A circuit for Python docstrings in a 4-layer
attention-only transformer").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compgraph.data.tasks.items import Item, check_count, draw_arrangements, option, read_options
from compgraph.errors import DataError

ARGUMENTS = (
    "size", "file", "name", "key", "value", "data", "path", "line", "text", "code", "mode", "type", "list",
    "page", "user", "host", "port", "url", "date", "time", "count", "limit", "index", "start", "end", "step",
    "level", "group", "order", "field", "table", "image", "model", "state", "event", "task", "plan", "role",
    "item", "node", "root", "base", "form", "test", "set", "map", "log", "tag", "title", "label", "color",
    "width", "height", "style", "format", "source",
)  # fmt: skip
WORDS = (
    "sound", "crime", "river", "water", "city", "music", "story", "paper", "winter", "garden", "market",
    "power", "region", "season", "border", "doctor", "church", "window", "summer", "planet", "engine",
    "bridge", "forest", "ocean", "silver", "letter", "street", "valley", "island", "castle", "dinner",
    "father",
)  # fmt: skip
FUNCTIONS = (
    "load",
    "send",
    "move",
    "build",
    "check",
    "open",
    "write",
    "read",
    "merge",
    "clean",
    "split",
    "save",
)
N_DOCUMENTED = 2


@dataclass(frozen=True)
class Options:
    """Settings of the task."""

    n_arguments: int = option(4, "arguments of the function; two are documented before the prompt ends", 4, 8)
    counterfactual: str = option(
        "swap",
        "what happens to the answer in the signature: it changes places with the next argument (swap) or "
        "gives way to an argument that occurs nowhere (replace)",
        choices=("swap", "replace"),
    )
    n_words: int = option(0, "use only that many of the argument names; 0 for all", 0)
    words: Sequence[str] | None = option(None, "the argument names to draw from; silent: a list of common ones")

    @property
    def pool(self) -> tuple[str, ...]:
        """The argument names in use."""
        words = tuple(ARGUMENTS if self.words is None else self.words)[: self.n_words or None]
        if len(set(words)) < max(self.n_arguments + 1, len(words)):
            raise DataError(
                f"docstring: {len(set(words))} distinct words are too few for {self.n_arguments} arguments "
                "and one to spare; lower n_arguments or give more words"
            )
        return words


def capacity(**options: Any) -> int:
    """Number of distinct lists of arguments."""
    settings = read_options(Options, "docstring", options)
    return math.perm(len(settings.pool), settings.n_arguments)


def generate(n: int, rng: np.random.Generator, **options: Any) -> list[Item]:
    """Items of the task; `options` are the fields of `Options`. No two have the same signature.

    The distractor is the argument that the counterfactual puts in the answer's place.

    Raises
    ------
    DataError
        For wrong options, or more items than there are.
    """
    settings = read_options(Options, "docstring", options)
    pool, k = settings.pool, settings.n_arguments
    check_count("docstring", n, math.perm(len(pool), k))
    chosen = draw_arrangements(rng, len(pool), k, n, "docstring")
    # A name that the signature does not hold: the k-th of the remaining ones, counted past those taken.
    spare = rng.integers(0, len(pool) - k, n)
    for taken in np.sort(chosen, axis=1).T:
        spare = spare + (spare >= taken)
    fillers = np.argsort(rng.random((n, len(WORDS))), axis=1)[:, : 3 + 2 * N_DOCUMENTED]
    functions = rng.integers(0, len(FUNCTIONS), n)
    items = []
    for i in range(n):
        names = [pool[j] for j in chosen[i]]
        others = list(names)
        if settings.counterfactual == "swap":
            others[N_DOCUMENTED : N_DOCUMENTED + 2] = names[N_DOCUMENTED + 1], names[N_DOCUMENTED]
        else:
            others[N_DOCUMENTED] = pool[spare[i]]
        words = [WORDS[j] for j in fillers[i]]
        function = FUNCTIONS[functions[i]]
        items.append(
            Item(
                f"docstring/{i:06d}",
                "docstring",
                _prompt(function, names, names, words),
                _prompt(function, others, names, words),
                (f" {names[N_DOCUMENTED]}",),
                (f" {others[N_DOCUMENTED]}",),
            )
        )
    return items


def _prompt(function: str, signature: list[str], documented: list[str], words: list[str]) -> str:
    lines = [f"def {function}(self, {', '.join(signature)}):", f'    """{" ".join(words[:3])}', ""]
    for j in range(N_DOCUMENTED):
        lines.append(f"    :param {documented[j]}: {' '.join(words[3 + 2 * j : 5 + 2 * j])}")
    return "\n".join([*lines, "    :param"])


def vocabulary(**options: Any) -> list[str]:
    """Texts that together hold every word of the task."""
    pool = read_options(Options, "docstring", options).pool
    return [_prompt("load", ["load"], ["load"] * N_DOCUMENTED, list(WORDS[:7])), *FUNCTIONS, *WORDS, *pool]
