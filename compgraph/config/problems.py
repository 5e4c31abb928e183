"""What is wrong with a config file: all of it at once, each with its path, the value and what would be valid."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compgraph.config.base import describe_unknown, did_you_mean
from compgraph.errors import ConfigError

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One error: where it is and what is wrong."""

    place: Place
    message: str

    @property
    def path(self) -> str:
        """The place as the user would write it: ``effective.eap-heads.sizes[2]``."""
        text = ""
        for part in self.place:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
        return text


class Problems:
    """All errors of one file."""

    def __init__(self, name: str, problems: Sequence[Problem], lines: Mapping[Place, int] | None = None) -> None:
        self.name = name
        self.problems = list(dict.fromkeys(problems))
        self.lines = dict(lines or {})

    def __bool__(self) -> bool:
        return bool(self.problems)

    def error(self) -> ConfigError:
        """The error to raise: one line for each problem, in the order of the file."""
        ordered = sorted(self.problems, key=lambda problem: (self._line(problem.place), problem.place == ()))
        lines = [f"  {self._where(problem)}{problem.message}" for problem in ordered]
        count = f"{len(lines)} error" + ("s" if len(lines) > 1 else "")
        return ConfigError("\n".join([f"{self.name}: {count}", *lines]))

    def _line(self, place: Place) -> int:
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)

    def _where(self, problem: Problem) -> str:
        line = self._line(problem.place) if problem.place[:1] in self.lines else 0
        shown = f" (line {line})" if line and not problem.message.startswith("line ") else ""
        return f"{problem.path}{shown}: " if problem.place else ""


def from_pydantic(
    errors: Sequence[Mapping[str, Any]],
    values: Mapping[str, Any],
    keys_at: Callable[[Place], list[str]],
    tag_key: Callable[[str, Mapping[str, Any]], str],
) -> list[Problem]:
    """Turn pydantic's errors into problems in the file's own terms.

    Parameters
    ----------
    errors : sequence of mappings
        ``ValidationError.errors()``.
    values : mapping
        The raw content that was validated.
    keys_at : callable
        Valid keys at a pydantic location, for the nearest name.
    tag_key : callable
        Key of an entry of a section that decides which fields the entry has.
    """
    problems: dict[Place, Problem] = {}
    for error in errors:
        location = tuple(error["loc"])
        place = _place(location, values, error["type"])
        if error["type"].startswith("union_tag_"):
            place = (*place, tag_key(str(place[0]), error["input"]) if isinstance(error["input"], dict) else "")
        problem = Problem(tuple(part for part in place if part != ""), _message(error, location, place, keys_at))
        # A value that fits no branch of a union is reported once for each branch; the first is enough.
        problems.setdefault(problem.place, problem)
    return list(problems.values())


def _place(location: Place, values: Any, kind: str) -> Place:
    """The location without the parts that pydantic adds for branches of unions and for keys."""
    place: list[str | int] = []
    for index, part in enumerate(location):
        inside = part in values if isinstance(values, dict) else isinstance(values, list) and isinstance(part, int)
        if inside:
            values = values[part]
            place.append(part)
        elif kind == "missing" and index == len(location) - 1:
            place.append(part)
    return tuple(place)


def _message(error: Mapping[str, Any], location: Place, place: Place, keys_at: Callable[[Place], list[str]]) -> str:
    kind, value, context = error["type"], error.get("input"), error.get("ctx", {})
    if kind == "extra_forbidden":
        valid = keys_at(location[:-1])
        return f"there is no such key{did_you_mean(place[-1], valid)}; valid: {', '.join(valid)}"
    if kind in ("missing", "union_tag_not_found"):
        return (
            "this key is missing"
            if isinstance(value, dict)
            else f"it should be a mapping of keys; it is {_shown(value)}"
        )
    if kind == "union_tag_invalid":
        valid = ["trained", "pretrained"] if place[-1] == "source" else _words(context["expected_tags"])
        return describe_unknown(str(place[-1]), context["tag"], valid)
    if kind == "literal_error":
        valid = _words(context["expected"])
        if isinstance(value, str):
            return describe_unknown("choice", value, valid)
        return f"it should be one of {', '.join(valid)}; it is {_shown(value)}"
    text = str(error["msg"])
    text = text[0].lower() + text[1:]
    if kind in ("unknown_word", "repeated", "rule"):
        return str(error["msg"])
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        text = "it should be a mapping of keys"
    return f"{text.replace('input should', 'it should')}; it is {_shown(value)}"


def _words(listed: str) -> list[str]:
    """The words of pydantic's ``'a', 'b' or 'c'``."""
    return re.findall(r"'([^']*)'", listed)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
