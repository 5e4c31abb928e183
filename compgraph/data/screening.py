"""Which items a tokenizer can express as pairs of equal length with single-token answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from compgraph.data.encoding import Context, Encoder
from compgraph.data.prompts import PromptPairs
from compgraph.data.tasks.items import Item, assign_splits
from compgraph.data.token_arrays import Padding, pad
from compgraph.errors import DataError

OnReject = Literal["drop", "error"]
#: In sets of at least so many answers and distractors, a few that are split otherwise are let pass.
LARGE_SET = 10


@dataclass
class Report:
    """What became of the items.

    Attributes
    ----------
    n_given, n_accepted : int
        Items looked at and items kept.
    rejected : dict of str to int
        Reason -> number of items.
    examples : dict of str to str
        Reason -> one rejected item, in words.
    """

    n_given: int = 0
    n_accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def n_rejected(self) -> int:
        """Items dropped, for whatever reason."""
        return sum(self.rejected.values())

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        if not self.n_given:
            return "there are no items"
        if not self.rejected:
            return f"all {self.n_given} items kept"
        reasons = sorted(self.rejected.items(), key=lambda pair: (-pair[1], pair[0]))
        listed = "; ".join(f"{count} because {reason} (as in {self.examples[reason]})" for reason, count in reasons)
        return f"{self.n_accepted} of {self.n_given} items kept; dropped {listed}"

    def to_dict(self) -> dict[str, Any]:
        """For manifests."""
        return {
            "given": self.n_given,
            "kept": self.n_accepted,
            "rejected": dict(sorted(self.rejected.items())),
        }

    def merge(self, other: Report) -> None:
        """Add the counts of another report."""
        self.n_given += other.n_given
        self.n_accepted += other.n_accepted
        for reason, count in other.rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + count
            self.examples.setdefault(reason, other.examples[reason])


@dataclass
class Usable:
    """Accepted items and their tokens."""

    encoder: Encoder
    report: Report = field(default_factory=Report)
    items: list[Item] = field(default_factory=list)
    clean: list[list[int]] = field(default_factory=list)
    corrupted: list[list[int]] = field(default_factory=list)
    answers: list[list[int]] = field(default_factory=list)
    distractors: list[list[int]] = field(default_factory=list)

    def pairs(self, padding: Padding, test_share: float, split_seed: int) -> PromptPairs:
        fill = self.encoder.pad_id
        clean, mask = pad(self.clean, fill, padding)
        return PromptPairs(
            clean,
            pad(self.corrupted, fill, padding)[0] if any(self.corrupted) else None,
            pad(self.answers, -1)[0],
            pad(self.distractors, -1)[0] if any(self.distractors) else None,
            mask=mask,
            ids=[item.id for item in self.items],
            task=[item.task for item in self.items],
            split=assign_splits([item.clean for item in self.items], split_seed, test_share),
        )


def screen(items: Sequence[Item], encoder: Encoder, n: int | None, on_reject: OnReject) -> Usable:
    """The first `n` items that can be used, with their tokens."""
    paired = any(item.corrupted for item in items)
    clean = encoder.encode([item.clean for item in items])
    corrupted = encoder.encode([item.corrupted for item in items]) if paired else [[] for _ in items]
    targets = _targets(encoder, items, clean)
    opposed = any(item.distractors for item in items)
    out = Usable(encoder)
    report = out.report
    for index, item in enumerate(items):
        if n is not None and report.n_accepted == n:
            break
        report.n_given += 1
        reason = _prompt_fault(encoder, item, clean[index], corrupted[index], paired) or _target_fault(
            encoder, targets[index], opposed
        )
        if reason is None:
            report.n_accepted += 1
            out.items.append(item)
            out.clean.append(clean[index])
            out.corrupted.append(corrupted[index])
            out.answers.append(targets[index].answers)
            out.distractors.append(targets[index].distractors)
        elif on_reject == "error":
            raise DataError(f"item {item.id!r} cannot be used because {reason}: {_words(item)}")
        else:
            report.rejected[reason] = report.rejected.get(reason, 0) + 1
            report.examples.setdefault(reason, _words(item))
    return out


def _words(item: Item) -> str:
    def some(targets: tuple[str | int, ...]) -> str:
        return ", ".join(repr(t) for t in targets[:3]) + (", ..." if len(targets) > 3 else "")

    return f"{item.clean!r} -> {some(item.answers)} against {some(item.distractors)}"


def _prompt_fault(encoder: Encoder, item: Item, clean: list[int], corrupted: list[int], paired: bool) -> str | None:
    """Why the two prompts are of no use, or None."""
    if not clean:
        return "the prompt has no tokens"
    if paired and not item.corrupted:
        return "it has no corrupted prompt"
    if encoder.has_unknown(clean) or encoder.has_unknown(corrupted):
        return "the prompt holds an unknown word"
    if paired and len(clean) != len(corrupted):
        return "clean and corrupted prompt differ in their number of tokens"
    if paired and clean == corrupted:
        return "clean and corrupted prompt are the same"
    return None


@dataclass(frozen=True)
class _Tokens:
    """Tokens of the answers and distractors of an item, or why they are of no use."""

    answers: list[int] = field(default_factory=list)
    distractors: list[int] = field(default_factory=list)
    fault: str | None = None


def _target_fault(encoder: Encoder, targets: _Tokens, opposed: bool) -> str | None:
    """Why the answers are of no use, or None."""
    if targets.fault is not None:
        return targets.fault
    if not targets.answers:
        return "it has no answer"
    if opposed and not targets.distractors:
        return "it has no distractor"
    if encoder.has_unknown(targets.answers + targets.distractors, body=True):
        return "an answer or distractor is an unknown word"
    if not set(targets.answers).isdisjoint(targets.distractors):
        return "a token is both answer and distractor"
    return None


def _targets(encoder: Encoder, items: Sequence[Item], clean: list[list[int]]) -> list[_Tokens]:
    """Tokens of the answers and distractors of each item; equal sets in equal contexts are looked up once."""
    keys = [
        (encoder.context(item.clean, tokens), item.answers, item.distractors)
        for item, tokens in zip(items, clean, strict=True)
    ]
    first: dict[tuple[Context, Any, Any], int] = {}
    for index, key in enumerate(keys):
        first.setdefault(key, index)
    known = encoder.continuations(
        {
            (context, target): (items[index].clean, clean[index])
            for (context, answers, distractors), index in first.items()
            for target in (*answers, *distractors)
            if isinstance(target, str)
        }
    )
    groups = {key: _target_tokens(encoder, items[index], clean[index], key[0], known) for key, index in first.items()}
    return [groups[key] for key in keys]


def _target_tokens(
    encoder: Encoder,
    item: Item,
    prompt: list[int],
    context: Context,
    known: dict[tuple[Context, str], int | None],
) -> _Tokens:
    """Tokens of the targets of one item; see `tokenise` for the rule."""

    def continuation(target: str | int) -> int | None:
        return known[context, target] if isinstance(target, str) else target

    sides: dict[str, list[int]] = {}
    targets = [*item.answers, *item.distractors]
    split = sum(continuation(target) is None for target in targets)
    spell = len(targets) >= LARGE_SET and 2 * split <= len(targets)
    for name, group in (("answers", item.answers), ("distractors", item.distractors)):
        ids: dict[int, None] = {}
        for target in group:
            token = continuation(target)
            if token is None and spell:
                token = encoder.spelling(prompt, str(target))
            if token is None:
                return _Tokens(fault=f"its {name} are not single tokens after the prompt")
            if not 0 <= token < encoder.n_tokens:
                return _Tokens(fault=f"one of its {name} is a token id that the tokenizer does not have")
            ids[token] = None
        sides[name] = list(ids)
    return _Tokens(sides["answers"], sides["distractors"])
