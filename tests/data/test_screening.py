from __future__ import annotations

import pytest

from compgraph.data.encoding import Encoder
from compgraph.data.screening import Report, screen
from compgraph.data.tasks.items import Item
from tests.data import sample_tokenizers


def item(clean: str = "one two", corrupted: str = "one four", answers=(" three",), distractors=(" four",)) -> Item:
    return Item("x", "toy", clean, corrupted, answers, distractors)


GOOD = item()
REJECTED = [
    (item(corrupted=""), "it has no corrupted prompt"),
    (item(clean="one seven"), "the prompt holds an unknown word"),
    (item(corrupted="one seven"), "the prompt holds an unknown word"),
    (item(corrupted="one"), "clean and corrupted prompt differ in their number of tokens"),
    (item(corrupted="one  two"), "clean and corrupted prompt are the same"),
    (item(answers=(" three four",)), "its answers are not single tokens after the prompt"),
    (item(answers=("three",)), "its answers are not single tokens after the prompt"),
    (item(distractors=(" one two",)), "its distractors are not single tokens after the prompt"),
    (item(answers=()), "it has no answer"),
    (item(distractors=()), "it has no distractor"),
    (item(answers=(" seven",)), "an answer or distractor is an unknown word"),
    (item(answers=(" four", " one")), "a token is both answer and distractor"),
    (item(answers=(7,)), "one of its answers is a token id that the tokenizer does not have"),
    (item(distractors=(-1,)), "one of its distractors is a token id that the tokenizer does not have"),
]


@pytest.mark.parametrize(("bad", "reason"), REJECTED, ids=[reason for _, reason in REJECTED])
def test_reasons(bad: Item, reason: str) -> None:
    usable = screen([GOOD, bad, GOOD], Encoder(sample_tokenizers.closed()), None, "drop")
    assert usable.report.rejected == {reason: 1}
    assert usable.report.n_accepted == 2 and usable.report.n_given == 3
    assert usable.report.examples[reason].startswith(repr(bad.clean))


def test_all_reasons_together() -> None:
    usable = screen([GOOD, *(bad for bad, _ in REJECTED)], Encoder(sample_tokenizers.closed()), None, "drop")
    assert usable.report.n_rejected == len(REJECTED)
    assert usable.report.n_accepted == len(usable.items) == 1


def test_token_ids_are_taken_as_they_are() -> None:
    usable = screen([item(answers=(5, " one"), distractors=(6,))], Encoder(sample_tokenizers.closed()), None, "drop")
    assert usable.answers == [[5, 3]] and usable.distractors == [[6]]


def test_it_stops_when_it_has_enough() -> None:
    usable = screen([REJECTED[0][0], GOOD, GOOD, GOOD], Encoder(sample_tokenizers.closed()), 2, "drop")
    assert usable.report.to_dict() == {"given": 3, "kept": 2, "rejected": {"it has no corrupted prompt": 1}}


def test_large_sets_may_hold_tokens_that_are_split_otherwise() -> None:
    tokenizer = sample_tokenizers.years()
    years = tuple(f"{year:02d}" for year in range(100))
    whole = Item("x", "toy", "the year 1732 to the year 17", "the year 1701 to the year 17", years[33:], years[:33])
    # After "year 17", "60" would be read as part of the piece " 1760"; the token "60" spells it all the same.
    usable = screen([whole], Encoder(tokenizer), None, "drop")
    ids = [tokenizer.convert_tokens_to_ids(year) for year in years]
    assert usable.answers == [ids[33:]] and usable.distractors == [ids[:33]]
    small = Item("x", "toy", whole.clean, whole.corrupted, ("59", "60"), ("01",))
    assert screen([small], Encoder(tokenizer), None, "drop").report.rejected == {
        "its answers are not single tokens after the prompt": 1
    }


def test_the_report_says_it_in_words() -> None:
    report = Report()
    assert report.sentence == "there are no items"
    report.merge(Report(4, 4))
    assert report.sentence == "all 4 items kept"
    report.merge(Report(5, 1, {"rare": 1, "common": 3}, {"rare": "this", "common": "that"}))
    assert report.sentence == ("5 of 9 items kept; dropped 3 because common (as in that); 1 because rare (as in this)")
