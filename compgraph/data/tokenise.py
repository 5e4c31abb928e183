"""From texts to tokens: items and tasks become prompt pairs in the vocabulary of a model."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph import catalogue
from compgraph.data.encoding import Encoder, single_token_words, tokenizer_of
from compgraph.data.prompts import SPLITS, PromptPairs
from compgraph.data.screening import OnReject, Report, screen
from compgraph.data.tasks.items import Item, assign_splits, check_count, read_options
from compgraph.data.token_arrays import BoolArray, IntArray, Padding, pad
from compgraph.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: At most so many items are made for each one wanted, before a tokenizer is said not to fit a task.
MAX_OVERSAMPLING = 50
#: Or none of so many was usable.
ENOUGH_FAILURES = 3000


def tokenise(
    items: Sequence[Item],
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int | None = None,
    on_reject: OnReject = "drop",
    min_items: int = 1,
    padding: Padding = "right",
    prepend_bos: bool | None = None,
    test_share: float = 0.2,
    split_seed: int = 0,
) -> tuple[PromptPairs, Report]:
    """Prompt pairs from items.

    The token of an answer is the one that the tokenizer itself puts after the tokens of the prompt when it is
    given prompt and answer together. Where it splits the text otherwise the item is rejected, except that in
    a large set (such as the years of greater-than), of which at least half pass, any token that spells the
    answer will do.

    Parameters
    ----------
    items
        With all, or none, having a corrupted prompt and distractors.
    tokenizer
        A tokenizer of ``transformers``.
    n
        Keep the first `n` accepted items; by default all.
    on_reject
        ``"drop"`` counts rejected items in the report, ``"error"`` refuses the first.
    min_items
        Fewer accepted items are an error.
    padding
        Side on which prompts shorter than the longest are padded.
    prepend_bos
        Start every prompt with the beginning-of-sequence token: True, False, or as the tokenizer does.
    test_share, split_seed
        Which items are labelled ``"test"``; a text has the same label in every set made with the same two
        values.

    Returns
    -------
    pairs : PromptPairs
        Scored at the last token of each prompt.
    report : Report

    Raises
    ------
    DataError
        If there are no items, or fewer than `min_items` are accepted; it names the commonest reason and an
        example.
    """
    if not items:
        raise DataError("there are no items to tokenise")
    usable = screen(items, Encoder(tokenizer, prepend_bos), n, on_reject)
    if usable.report.n_accepted < max(1, min_items):
        raise DataError(
            f"{items[0].task}: at least {max(1, min_items)} usable items are needed with this tokenizer; "
            f"{usable.report.sentence}"
        )
    return usable.pairs(padding, test_share, split_seed), usable.report


@dataclass
class Sequences:
    """Prompts with their answer, to train on.

    Attributes
    ----------
    tokens : array of int [n, t]
        Prompt, answer, then padding.
    mask : array of bool [n, t]
        True for real tokens.
    positions : array of int [n]
        The last token of the prompt: where the answer is predicted.
    """

    tokens: IntArray
    mask: BoolArray
    positions: IntArray


def sequences(items: Sequence[Item], tokenizer: PreTrainedTokenizerBase, rng: np.random.Generator) -> Sequences:
    """Fast path for training: clean prompts, each with one of its answers, padded on the right.

    For items whose answers are known to be single tokens, as they all are for `vocabulary.word_tokenizer`;
    only the clean prompts are read.

    Parameters
    ----------
    items
        With answers as text.
    tokenizer
        A tokenizer of ``transformers``.
    rng
        Chooses among several answers.
    """
    encoder = Encoder(tokenizer)
    choice = rng.random(len(items))
    texts = [
        item.clean + str(item.answers[int(share * len(item.answers))])
        for item, share in zip(items, choice, strict=True)
    ]
    tokens, mask = pad(encoder.encode(texts), encoder.pad_id)
    return Sequences(tokens, mask, mask.sum(axis=1) - 2)


def load_task(
    name: str,
    source: Any,
    n: int = 256,
    seed: int = 0,
    *,
    split: str | None = None,
    test_share: float = 0.2,
    split_seed: int = 0,
    padding: Padding = "right",
    prepend_bos: bool | None = None,
    **options: Any,
) -> PromptPairs:
    """Prompt pairs of a task; see `task_pairs`, which also returns the report."""
    pairs, _ = task_pairs(
        name,
        source,
        n,
        seed,
        split=split,
        test_share=test_share,
        split_seed=split_seed,
        padding=padding,
        prepend_bos=prepend_bos,
        **options,
    )
    return pairs


def task_pairs(
    name: str,
    source: Any,
    n: int = 256,
    seed: int = 0,
    *,
    label: str | None = None,
    split: str | None = None,
    test_share: float = 0.2,
    split_seed: int = 0,
    padding: Padding = "right",
    prepend_bos: bool | None = None,
    **options: Any,
) -> tuple[PromptPairs, Report]:
    """Exactly `n` prompt pairs of a task that this tokenizer can express, and what was dropped on the way.

    Parameters
    ----------
    name
        A task of the catalogue.
    source
        A tokenizer, or a network that carries one.
    n
        Number of pairs.
    seed
        Of the choice of items.
    label
        Name of the task in the pairs and their ids; by default `name`.
    split
        Only items of that split (``"train"`` or ``"test"``); by default both, labelled.
    test_share, split_seed
        Share of all possible items that are test items, on average, and which they are: with the same two
        values an item is in the same split in every set, whatever its `seed`.
    padding, prepend_bos
        As in `tokenise`.
    options
        Options of the task. A task that draws from a list of words takes those that are single tokens, and
        adds words of the tokenizer's own where they are few; ``words`` sets the list.

    Raises
    ------
    DataError
        For an unknown task or option, or if there are fewer than `n` usable items; it says why.
    """
    tokenizer = tokenizer_of(source)
    if split is not None and split not in SPLITS:
        raise DataError(f"split = {split!r} is not one of {', '.join(SPLITS)}")
    task = find_task(name)
    options = _with_words(task, name, tokenizer, options)
    available = task.capacity(**options)
    check_count(name, n, available)
    share = {"train": 1 - test_share, "test": test_share}.get(split or "", 1.0)
    encoder = Encoder(tokenizer, prepend_bos)
    asked = min(available, _more(n, share))
    while True:
        items = task.generate(asked, np.random.default_rng(seed), **options)
        if label is not None:
            items = relabel(items, label)
        if split is not None:
            chosen = assign_splits([item.clean for item in items], split_seed, test_share) == split
            items = [item for item, taken in zip(items, chosen, strict=True) if taken]
        usable = screen(items, encoder, n, "drop")
        report = usable.report
        if report.n_accepted == n:
            return usable.pairs(padding, test_share, split_seed), report
        limit = min(available, MAX_OVERSAMPLING * n + 10_000)
        if asked >= limit or (report.n_accepted == 0 and asked >= ENOUGH_FAILURES):
            of_split = f" of the {split} split" if split else ""
            raise DataError(
                f"{name}: {n} items{of_split} were asked for and {report.n_accepted} can be had: {report.sentence}"
            )
        asked = min(limit, max(2 * asked, _more(n, report.n_accepted / asked)))


def find_task(name: str) -> Any:
    """Module of a task of the catalogue.

    Raises
    ------
    DataError
        For an unknown name, with the nearest and all valid ones.
    """
    if name not in catalogue.TASKS:
        near = difflib.get_close_matches(name, catalogue.TASKS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(f"there is no task {name!r}; {hint}valid: {', '.join(catalogue.TASKS)}")
    return inspect.getmodule(catalogue.load(catalogue.TASKS[name]))


def relabel(items: Iterable[Item], label: str) -> list[Item]:
    """Items under another name of their task."""
    return [replace(item, task=label, id=f"{label}/{item.id.rsplit('/', 1)[-1]}") for item in items]


def _more(n: int, share: float) -> int:
    """How many items to make so that `n` are left when that share is usable."""
    return int(1.25 * n / max(share, 0.001)) + 16


def _with_words(task: Any, name: str, tokenizer: PreTrainedTokenizerBase, options: dict[str, Any]) -> dict[str, Any]:
    settings = read_options(task.Options, name, options)
    if not hasattr(settings, "words") or settings.words is not None:
        return options
    words = single_token_words(tokenizer, settings.pool)
    if len(words) < len(settings.pool) / 2:
        words += [word for word in single_token_words(tokenizer) if word not in words]
    return options | {"words": tuple(words)}
