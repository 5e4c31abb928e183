"""The commented config file and the JSON schema, both written from the typed models."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from compgraph import catalogue
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
    """A config file: every section with what it is for, every default as a comment, the given values in place.

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
    for name, field in Config.model_fields.items():
        lines += ["", f"# {name}: {field.description}"]
        given = values.get(name)
        if name in SINGLE_MODELS:
            lines += _single(name, SINGLE_MODELS[name], given or {})
        else:
            lines += _entries(name, given or {})
    return "\n".join(lines).strip("\n") + "\n"


def _single(name: str, model: type[Section], given: Mapping[str, Any]) -> Iterator[str]:
    yield f"{name}:"
    for key, field in model.model_fields.items():
        if key in given:
            yield f"  {key}: {scalar(given[key])}{_comment(_explained(field))}"
        else:
            yield f"  # {key}: {scalar(field.default)}{_comment(_explained(field))}"


def _entries(name: str, given: Mapping[str, Any]) -> Iterator[str]:
    yield from _guide(name)
    yield f"{name}:" if given else f"{name}: {{}}"
    for entry, values in given.items():
        yield f"  {entry}:" if values else f"  {entry}: {{}}"
        for key, value in (values or {}).items():
            yield f"    {key}: {scalar(value)}"


TAGS = ("method", "kind", "source", "architecture")
"""Keys that choose which others an entry has."""


def _guide(name: str) -> Iterator[str]:
    """The keys of a section's entries with their defaults, then the methods with theirs."""
    branches = ENTRY_MODELS[name]
    if name != "models":
        yield from _branches(name, branches, "#   ")
        return
    trained = {tag: model for tag, model in branches.items() if "architecture" in model.model_fields}
    yield "#   source: trained  # Train it here, from a recipe."
    yield from _branches(name, trained, "#     ")
    yield from _branches(name, {"pretrained": branches["pretrained"]}, "#   ")


def _branches(name: str, branches: Mapping[str, type[Section]], indent: str) -> Iterator[str]:
    """What the branches share, then each branch with its own keys."""
    models = list(branches.values())
    # A key with another default in some branch is that branch's own.
    shared = [
        key
        for key, field in models[0].model_fields.items()
        if len(models) > 1 or list(branches) == [""]
        if all(key in model.model_fields and model.model_fields[key].default == field.default for model in models)
    ]
    for key in shared:
        if key not in TAGS:
            yield _key_line(key, models[0].model_fields[key], indent)
    for tag, model in branches.items():
        if not tag:
            continue
        label = next(key for key in ("architecture", "source", "kind", "method") if key in model.model_fields)
        registered = catalogue.SECTIONS.get(name, {}).get(tag)
        about = registered.summary if registered else (model.__doc__ or "").strip().splitlines()[0]
        own = {key: field for key, field in model.model_fields.items() if key not in shared and key not in TAGS}
        if registered and own:
            # A line a method keeps the file a page; `compgraph <section> --help` explains the options.
            about += f"; {', '.join(f'{key}: {scalar(field.default)}' for key, field in own.items())}"
        yield f"{indent}{label}: {tag}{_comment(about)}"
        for key, field in own.items() if not registered else ():
            yield _key_line(key, field, indent + "  ")


def _key_line(key: str, field: Any, indent: str) -> str:
    shown = "(required)" if field.is_required() else scalar(field.default)
    return f"{indent}{key}: {shown}{_comment(_explained(field))}"


def _explained(field: Any) -> str:
    """A field's description, with the words it accepts."""
    text, words = (field.description or "").rstrip("."), choices(field)
    unsaid = [word for word in words if word not in text]
    return f"{text}: {', '.join(words)}." if unsaid and field.default != words else f"{text}."


def _comment(description: str | None) -> str:
    return f"  # {description}" if description else ""


def scalar(value: Any) -> str:
    """A value on one line of YAML."""
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
