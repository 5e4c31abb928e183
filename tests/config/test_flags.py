from __future__ import annotations

from typing import Any

import pytest

from compgraph.config.base import SELECTORS
from compgraph.config.config import ENTRY_MODELS
from compgraph.config.flags import flag_fields, given_words, parse, render
from tests.config.studies import small


@pytest.mark.parametrize("section", ENTRY_MODELS)
def test_flags_read_back_to_the_entry(section: str) -> None:
    for entry in getattr(small(), section).values():
        made, problems = parse(section, given_words(section, render(section, entry)))
        assert problems == []
        dropped = set(SELECTORS) - ({"checkpoints"} if section == "models" else set())
        assert made is not None
        assert made.model_dump(exclude=dropped) == entry.model_dump(exclude=dropped)


def test_a_shell_line_is_typeable_and_complete() -> None:
    line = render("effective", small().effective["roi"])  # type: ignore[arg-type]
    assert line.startswith(
        "--method eap --partition 'attn.*=rois.km' --metric logit_difference --baseline counterfactual "
        "--split-qkv --no-recompute --held-out 0.5 --bootstrap 0 --seed 0"
    )


def test_a_value_can_be_replaced_or_left_out() -> None:
    model = small().models["tf"]
    assert "--checkpoints 0,7 " in render("models", model, checkpoints=[0, 7])  # type: ignore[arg-type]
    assert "--checkpoints" not in render("models", model, checkpoints=None)  # type: ignore[arg-type]


def test_selectors_are_no_flags() -> None:
    assert not set(flag_fields("ablation")) & set(SELECTORS)
    assert "checkpoints" in flag_fields("models")


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("effective", {"metric": "foo"}, "--metric: there is no metric 'foo'"),
        ("effective", {"method": "foo"}, "--method: there is no choice 'foo'"),
        ("rois", {"n_rois": "0"}, "--n-rois: it should be greater than or equal to 1"),
        ("ablation", {"sizes": "0.1,x"}, "--sizes[1]"),
        ("datasets", {"kind": "text", "path": "a", "task": "ioi"}, "--task is no option of text"),
    ],
)
def test_a_bad_flag_is_named(section: str, values: dict[str, Any], said: str) -> None:
    made, problems = parse(section, values)
    assert made is None
    assert any(said in problem for problem in problems)


def test_a_list_of_one_number_stays_a_list() -> None:
    model = small().models["tf"]
    made, _ = parse("models", given_words("models", render("models", model, checkpoints=[model.steps])))
    assert made is not None and made.checkpoints == [model.steps]  # type: ignore[attr-defined]
