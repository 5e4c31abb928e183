from __future__ import annotations

import numpy as np
import pytest

from compgraph.data.tasks.agreement import NOUNS, VERBS, generate

NUMBER = {form: number for pair in NOUNS for number, form in enumerate(pair)}


def numbers(text: str) -> list[int]:
    """0 for each singular and 1 for each plural noun, in their order."""
    return [NUMBER[word] for word in text.split() if word in NUMBER]


def test_no_form_has_two_numbers() -> None:
    assert len(NUMBER) == 2 * len(NOUNS)


@pytest.mark.parametrize("structure", ["prepositional", "relative", "mixed"])
@pytest.mark.parametrize("n_attractors", [0, 1, 2])
def test_the_verb_follows_the_subject(structure: str, n_attractors: int) -> None:
    items = generate(
        80, np.random.default_rng(0), structure=structure, n_attractors=n_attractors, verb="any", n_nouns=20
    )
    forms = [(singular, plural) for singular, plural in VERBS.items()]
    for item in items:
        found = numbers(item.clean)
        assert len(found) == 1 + n_attractors
        right = [pair[found[0]] for pair in forms]
        assert item.answers[0].strip() in right
        assert (item.answers[0].strip(), item.distractors[0].strip()) in {
            (pair[found[0]], pair[1 - found[0]]) for pair in forms
        }
        assert numbers(item.corrupted) == [1 - found[0], *found[1:]]
        assert item.clean.split()[2:] == item.corrupted.split()[2:]


@pytest.mark.parametrize(("kind", "differ"), [("opposite", True), ("same", False)])
def test_attractors_of_one_number(kind: str, differ: bool) -> None:
    for item in generate(80, np.random.default_rng(0), attractor_number=kind, n_attractors=2):
        subject, *others = numbers(item.clean)
        assert all((number != subject) is differ for number in others)


def test_nouns_do_not_return() -> None:
    for item in generate(100, np.random.default_rng(0), n_attractors=2, n_nouns=4):
        nouns = [word for word in item.clean.split() if word in NUMBER]
        stems = {next(k for k, pair in enumerate(NOUNS) if noun in pair) for noun in nouns}
        assert len(stems) == 3
