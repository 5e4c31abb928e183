"""The commented config file and the JSON schema, both written from the typed models."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from compgraph.config.base import Section
from compgraph.config.config import ENTRY_MODELS, SINGLE_MODELS, Config
from compgraph.config.flags import choices


def schema_text() -> str:
    """The JSON schema of a config file, as kept in ``workflow/schemas``."""
    schema = Config.model_json_schema()
    schema["title"] = "compgraph config"
    # A section may be left empty: its keys are all comments then.
    for name, section in schema["properties"].items():
        schema["properties"][name] = {"anyOf": [section, {"type": "null"}]}
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def render(values: Mapping[str, Any], heading: str = "") -> str:
    """A config file: every section with what it is for, all its keys with their defaults, the given values in place.

    A key of an entry is explained where it first occurs in the file; `docs/configuration.md` explains the others. Of
    the methods (kinds, architectures) of a section that has entries, the keys of those in use are listed, and the
    names of the rest; names only, where those in use would fill more than `MOST` lines.

    Parameters
    ----------
    values : mapping
        The values the file sets: section, then entry, then key.
    heading : str
        Text for the comment at the top.

    Returns
    -------
    str
        YAML that reads back to ``values``.
    """
    lines = [f"# {line}".rstrip() for line in textwrap.dedent(heading).strip().splitlines()]
    explained: set[tuple[str, str]] = set()
    for name, field in Config.model_fields.items():
        given = values.get(name)
        if not given and name not in SINGLE_MODELS and any(values.values()):
            lines += ["", f"{name}: {{}}  # {field.description} See docs/configuration.md."]
            continue
        lines += ["", f"# {name}: {field.description}"]
        if name in SINGLE_MODELS:
            lines += _single(name, SINGLE_MODELS[name], given or {})
        else:
            lines += _entries(name, given or {}, explained)
    return "\n".join(lines).strip("\n") + "\n"


def _single(name: str, model: type[Section], given: Mapping[str, Any]) -> Iterator[str]:
    silent = [_with_default(key, field) for key, field in model.model_fields.items() if key not in given]
    if silent:
        yield from _wrapped("keys, with their defaults", silent)
    yield f"{name}:"
    for key, field in model.model_fields.items():
        if key in given:
            yield f"  {key}: {scalar(given[key])}{_comment(_explained(field))}"


def _entries(name: str, given: Mapping[str, Any], explained: set[tuple[str, str]]) -> Iterator[str]:
    """A section of entries; `explained` holds what the file has explained so far."""
    yield from _keys(name, {str(values[tag]) for values in given.values() for tag in TAGS if tag in (values or {})})
    yield f"{name}:" if given else f"{name}: {{}}"
    for entry, values in given.items():
        values = values or {}
        texts = {key: _explained(field) for key in values if (field := _field(name, values, key)) and key not in TAGS}
        short = f"  {entry}: {scalar(values)}"
        if len(short) <= WIDTH and explained.issuperset(texts.items()):
            yield short
            continue
        yield f"  {entry}:" if values else f"  {entry}: {{}}"
        for key, value in values.items():
            new = (key, texts.get(key)) not in explained
            yield f"    {key}: {scalar(value)}{_comment(texts.get(key) if new else None)}"
        explained.update(texts.items())


def _field(name: str, values: Mapping[str, Any], key: str) -> Any:
    """The field of an entry's key, in the branch that the entry's other values choose."""
    branches = ENTRY_MODELS[name]
    chosen = [branches[str(values[tag])] for tag in TAGS if str(values.get(tag)) in branches]
    for model in (*chosen, *branches.values()):
        if key in model.model_fields:
            return model.model_fields[key]
    return None


TAGS = ("method", "kind", "architecture", "source")
"""Keys that choose which others an entry has, the most telling first."""
UNSAID = ("models", "datasets", "graphs", "seed")
"""Keys of nearly every entry, which the head of the file explains."""
WIDTH = 118
MOST = 12
"""Lines that the keys of a section's methods may fill."""
HELD = "\x00"
"""Stands for a space that no line breaks at."""


def _keys(name: str, used: set[str]) -> Iterator[str]:
    """All keys of a section's entries with their defaults, what several kinds of entry share named once.

    `used`: the methods (kinds, …) whose own keys are listed; none of the section's: all are.
    """
    branches = ENTRY_MODELS[name]
    if name == "models":
        trained = {tag: model for tag, model in branches.items() if "architecture" in model.model_fields}
        yield from _group(trained, "source: trained", used & set(trained))
        branches = {tag: model for tag, model in branches.items() if tag not in trained}
    yield from _group(branches, "keys, with their defaults", used & set(branches))


def _group(branches: Mapping[str, type[Section]], title: str, used: Collection[str] = ()) -> Iterator[str]:
    """The keys that all branches have, with the default that most of them give, then what each has beyond."""
    several = len(branches) > 1 or list(branches) == [""]
    shared: dict[str, str] = {}
    for key in next(iter(branches.values())).model_fields:
        if several and key not in (*TAGS, *UNSAID) and all(key in model.model_fields for model in branches.values()):
            said = [_with_default(key, model.model_fields[key]) for model in branches.values()]
            shared[key] = max(said, key=said.count)
    plain: dict[str, list[str]] = {}
    others: list[str] = []
    lines: list[str] = []
    for tag, model in branches.items():
        label = next((key for key in TAGS if key in model.model_fields), "")
        said_here = {key: field for key, field in model.model_fields.items() if key not in TAGS}
        own = [_with_default(key, field) for key, field in said_here.items() if not _unsaid(key, field)]
        own = [said for said in own if said not in shared.values()]
        if used and tag not in used:
            others.append(tag)
        elif own:
            lines += _wrapped(f"{label}: {tag}", own)
        elif label:
            plain.setdefault(label, []).append(tag)
    if used and len(lines) > MOST:
        others, lines = list(branches), []
    head = list(_wrapped(title, list(shared.values()))) if shared else []
    for label, tags in plain.items():
        head += _wrapped(f"{label}: {', '.join(tags)}", [])
    yield from _with_others([*head, *lines], others)


def _with_others(lines: list[str], others: list[str]) -> Iterator[str]:
    """The lines, and the names of other methods on a line or behind the last one; of many their number."""
    if not others:
        yield from lines
        return
    named = list(_wrapped(f"others (docs/configuration.md): {', '.join(others)}", []))
    said = named[0].strip("# ") if len(named) == 1 else f"{len(others)} others: docs/configuration.md"
    if lines and len(lines[-1]) + len(said) + 2 <= WIDTH:
        yield from [*lines[:-1], f"{lines[-1]}; {said}"]
    else:
        yield from [*lines, f"#   {said}"]


def _unsaid(key: str, field: Any) -> bool:
    return key in UNSAID and field.default in (None, 0)


def _wrapped(title: str, words: list[str]) -> Iterator[str]:
    """A comment, broken between keys (and within very long ones)."""
    whole = [word.replace(" ", HELD) if len(word) < WIDTH // 2 else word for word in words]
    text = " - ".join(part for part in (title, ", ".join(whole)) if part)
    lines = textwrap.wrap(text, WIDTH, initial_indent="#   ", subsequent_indent="#     ", break_on_hyphens=False)
    return (line.replace(HELD, " ") for line in lines)


def _with_default(key: str, field: Any) -> str:
    return f"{key} (required)" if field.is_required() else f"{key}: {scalar(field.default)}"


def _explained(field: Any) -> str:
    """A field's description, with the words it accepts."""
    text, words = (field.description or "").rstrip("."), choices(field)
    unsaid = [word for word in words if word not in text]
    return f"{text}: {', '.join(words)}." if unsaid and field.default != words else f"{text}."


def _comment(description: str | None) -> str:
    return f"  # {description}" if description else ""


def scalar(value: Any) -> str:
    """A value on one line of YAML; of a section, what is set in it."""
    if isinstance(value, Section):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_word(str(key))}: {scalar(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(scalar(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return _word(value) if isinstance(value, str) else str(value)


def _word(text: str) -> str:
    """A word, quoted where YAML would read it as something else."""
    plain = text and text[0].isalnum() and not set(text) & set(":#{}[],&*!|>'\"%@`")
    if plain and text.lower() not in ("true", "false", "yes", "no", "on", "off", "null", "none") and not _numeric(text):
        return text
    return json.dumps(text, ensure_ascii=False)


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def heading_of(text: str) -> str:
    """The comment at the top of a config file, up to its first empty line."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)
