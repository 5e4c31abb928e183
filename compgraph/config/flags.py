"""Config fields as command-line flags and back: one text form for each value, so that a shell line reads like the file.

``metric: logit_difference`` is ``--metric logit_difference``; a list is ``--sizes 0.1,0.5``; a mapping is
``--partition 'attn.*=heads,mlp.*=units'``; a switch is ``--prune`` or ``--no-prune``.
"""

from __future__ import annotations

import json
import shlex
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from compgraph.config.base import SELECTORS, Section
from compgraph.config.config import ENTRY_MODELS, SINGLE_MODELS
from compgraph.config.problems import from_pydantic

TAGS = {"models": ("source", "architecture"), "datasets": ("kind",)}
"""Fields that choose the branch of a section, when they are not ``method``."""


def members(section: str) -> Mapping[str, type[Section]]:
    """The models of a section's entries, by method, kind or source; a single section is its own only member."""
    return ENTRY_MODELS.get(section) or {"": SINGLE_MODELS[section]}


def flag_fields(section: str) -> dict[str, FieldInfo]:
    """Fields of a section that are flags of its verb: those of all methods together, ``method`` first.

    Selectors are left out: they choose which files a verb is run on.
    """
    fields: dict[str, FieldInfo] = {}
    for model in members(section).values():
        for name, field in model.model_fields.items():
            if name not in SELECTORS or (section == "models" and name == "checkpoints"):
                fields.setdefault(name, field)
    first = [name for name in ("method", "kind", "source", "architecture") if name in fields]
    return {name: fields[name] for name in [*first, *(name for name in fields if name not in first)]}


def render(section: str, entry: Section, only: tuple[str, ...] = (), **replaced: Any) -> str:
    """An entry as the flags of its verb, all of them spelled out, in the order of the fields.

    Parameters
    ----------
    section : str
        The section of the entry.
    entry : Section
        The validated entry.
    only : tuple of str
        The fields to write; all if empty.
    **replaced
        Values to write instead of the entry's own.

    Returns
    -------
    str
        Quoted for a shell.
    """
    words: list[str] = []
    for name in only or flag_fields(section):
        value = replaced.get(name, getattr(entry, name, None))
        if value is None or value == {} or value == []:
            continue
        flag = name.replace("_", "-")
        if isinstance(value, bool) and is_switch(flag_fields(section)[name]):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", shlex.quote(to_text(value))]
    return " ".join(words)


def given_words(section: str, line: str) -> dict[str, Any]:
    """The fields that a piece of a shell line sets, as words: what a verb is called with, by name.

    Parameters
    ----------
    section : str
        The section of the entry.
    line : str
        As `render` writes it.
    """
    fields = flag_fields(section)
    values: dict[str, Any] = {}
    words = iter(shlex.split(line))
    for word in words:
        name = word.removeprefix("--").replace("-", "_")
        if name.removeprefix("no_") in fields and name not in fields:
            values[name.removeprefix("no_")] = False
        else:
            values[name] = True if is_switch(fields[name]) else next(words)
    return values


def to_text(value: Any) -> str:
    """A value as one word of a command line."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={to_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        # A list of one number must not read like the number, which means another thing to some fields.
        if any(isinstance(item, Mapping) for item in value) or (len(value) == 1 and type(value[0]) is int):
            return json.dumps(list(value))
        return ",".join(to_text(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def from_text(annotation: Any, text: str) -> Any:
    """The value that a word of a command line means for a field of this type; pydantic does the last step."""
    kinds = _kinds(annotation)
    if list in kinds and text.startswith("["):
        return _json(text)
    if dict in kinds and "=" in text:
        pairs = [part.partition("=") for part in text.split(",")]
        words = _maps_to_text(annotation)
        return {key: value if words else _number(value) for key, _, value in pairs}
    if list in kinds and not (text in _literals(annotation) or (int in kinds and text.isdigit())):
        return [_number(part) for part in text.split(",")]
    if bool in kinds and text in ("true", "false"):
        return text == "true"
    return _number(text) if str not in kinds else text


def parse(section: str, values: Mapping[str, Any]) -> tuple[Section | None, list[str]]:
    """Flags of a verb as a validated entry.

    Parameters
    ----------
    section : str
        The section the verb belongs to.
    values : mapping
        Field name to value, only those that were given.

    Returns
    -------
    entry : Section or None
        None where something is wrong.
    problems : list of str
        What is wrong, in terms of the flags.
    """
    branches = members(section)
    tag = next((str(values[key]) for key in ("architecture", "kind", "method", "source") if key in values), None)
    if tag is None or tag not in branches:
        tag = next((name for name, model in branches.items() if _has_default_tag(model)), next(iter(branches)))
    model = branches[tag]
    foreign = [name for name in values if name not in model.model_fields]
    if foreign:
        return None, [f"--{name.replace('_', '-')} is no option of {tag}" for name in foreign]
    # A flag can mean different things to different branches (layers: how many, or which), so the branch decides.
    fields = model.model_fields
    raw = {
        name: from_text(fields[name].annotation, value) if isinstance(value, str) else value
        for name, value in values.items()
    }
    try:
        return model.model_validate(raw, strict=False), []
    except ValidationError as error:
        found = from_pydantic(error.errors(include_url=False), raw, lambda _: list(fields), lambda *_: "method")
        return None, [
            f"--{problem.path.replace('_', '-')}: {problem.message}" if problem.place else problem.message
            for problem in found
        ]


def default_text(field: FieldInfo) -> str | None:
    """The default of a field as a word, or None where it must be given or is unset."""
    if field.is_required() or field.default is None:
        return None
    return to_text(field.default)


def choices(field: FieldInfo) -> list[str]:
    """The words a field, or an item of it, accepts, where it accepts only words from a list."""
    if get_origin(_strip(field.annotation)) is Literal:
        return _literals(field.annotation)
    return _listed([*field.metadata, field.annotation])


def _listed(parts: list[Any]) -> list[str]:
    """Words of the first validator made by ``one_of`` in an annotation."""
    for part in parts:
        words = getattr(getattr(part, "func", None), "words", None)
        found = list(words) if words else _listed(list(get_args(part)))
        if found:
            return found
    return []


def is_switch(field: FieldInfo) -> bool:
    """Whether a field is true or false."""
    return _strip(field.annotation) is bool


def _has_default_tag(model: type[Section]) -> bool:
    field = model.model_fields.get("method")
    return field is not None and not field.is_required()


def _strip(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        return _strip(inner[0]) if len(inner) == 1 else annotation
    return annotation


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _kinds(annotation: Any) -> set[Any]:
    """The plain types in an annotation: str, int, float, list, dict."""
    annotation = _strip(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return set().union(*(_kinds(part) for part in get_args(annotation)))
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    return {get_origin(annotation) or annotation}


def _maps_to_text(annotation: Any) -> bool:
    """Whether the values of a mapping are words, even if they look like numbers."""
    annotation = _strip(annotation)
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return any(get_origin(part) is dict and get_args(part)[1] is str for part in parts)


def _literals(annotation: Any) -> list[str]:
    annotation = _strip(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return [word for part in get_args(annotation) for word in _literals(part)]
    return [str(value) for value in get_args(annotation)] if get_origin(annotation) is Literal else []


def _number(text: str) -> Any:
    """A word of a command line as a number or a truth value, if it is one."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
