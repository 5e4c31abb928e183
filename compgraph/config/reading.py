"""YAML in, plain mappings out: safe, without tags, duplicate keys refused, every place known by its line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from compgraph.config.problems import Problem, Problems

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A parsed file.

    Attributes
    ----------
    name : str
        What to call it in messages.
    values : dict
        Its content.
    lines : dict
        Line (from 1) of every key and list item, by its path.
    """

    name: str
    values: dict[str, Any]
    lines: dict[Place, int]


class _Loader(yaml.SafeLoader):
    """The safe loader, with numbers such as ``1e-3`` read as numbers (YAML 1.1 wants ``1.0e-3``)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read(path: str | Path) -> Document:
    """Read a config file.

    Parameters
    ----------
    path : str or Path
        The YAML file.

    Returns
    -------
    Document

    Raises
    ------
    ConfigError
        If it cannot be read, is no YAML, uses tags, repeats a key or is no mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Problems(str(path), [Problem((), "the file does not exist")]).error() from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise Problems(str(path), [Problem((), f"the file cannot be read: {reason}")]).error() from None
    return parse(text, str(path))


def parse(text: str, name: str = "config") -> Document:
    """Parse the text of a config file; see :func:`read`."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Problems(name, [Problem((), f"{place}this is not valid YAML: {error.problem}")]).error() from None
    except yaml.YAMLError as error:
        raise Problems(name, [Problem((), f"this is not valid YAML: {error}")]).error() from None
    if root is None:
        return Document(name, {}, {})
    problems: list[Problem] = []
    lines: dict[Place, int] = {}
    _inspect(root, (), lines, problems, ())
    if not problems and not isinstance(root, yaml.MappingNode):
        problems.append(Problem((), "the file must be a mapping of sections, such as 'models:'"))
    if problems:
        raise Problems(name, problems, lines).error()
    values = _Loader("").construct_document(root)
    return Document(name, values, lines)


def _inspect(
    node: yaml.Node, place: Place, lines: dict[Place, int], problems: list[Problem], above: tuple[int, ...]
) -> None:
    """Note the line of every place; report tags, repeated keys, keys that are no text, and aliases to themselves."""
    line = node.start_mark.line + 1
    lines.setdefault(place, line)
    if id(node) in above:
        problems.append(Problem(place, f"line {line}: an alias refers to itself"))
        return
    if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.removeprefix("tag:yaml.org,2002:") not in _PLAIN:
        problems.append(Problem(place, f"line {line}: the YAML tag {node.tag} is not allowed; write plain values"))
        return
    above = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _inspect(item, (*place, index), lines, problems, above)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            here = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                shown = getattr(key, "value", "this key")
                problems.append(
                    Problem(place, f"line {here}: the key {shown!r} is not text; write it in quotes")
                    if isinstance(shown, str)
                    else Problem(place, f"line {here}: a key must be text")
                )
                continue
            if key.value in seen:
                problems.append(
                    Problem(
                        (*place, key.value), f"line {here}: the key is given twice, first in line {seen[key.value]}"
                    )
                )
                continue
            seen[key.value] = here
            lines[(*place, key.value)] = here
            _inspect(value, (*place, key.value), lines, problems, above)


_PLAIN = frozenset(("map", "seq", "str", "int", "float", "bool", "null", "timestamp"))
