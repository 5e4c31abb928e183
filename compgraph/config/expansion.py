"""Families of models: one entry of ``models`` that stands for several, by ``variants`` and ``seeds``.

``tiny: {architecture: transformer, variants: {small: {width: 32}, large: {width: 64}}, seeds: [0, 1], …}`` is written
out as the models ``tiny-small-s0``, ``tiny-small-s1``, ``tiny-large-s0`` and ``tiny-large-s1``, before anything else is
read; where other sections name ``tiny``, they mean all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compgraph.config.problems import Place, Problem

KEYS = ("variants", "seeds")


@dataclass
class Expansion:
    """A file's values with its families written out.

    Attributes
    ----------
    values
        Section -> content.
    families
        Family -> its models.
    problems
        What is wrong with the families themselves.
    """

    values: dict[str, Any]
    families: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _from: dict[str, tuple[str, str, Mapping[str, Any]]] = field(default_factory=dict)
    _lists: set[Place] = field(default_factory=set)

    def place(self, place: Place) -> Place:
        """Where the file says what is at a place of the written-out values."""
        if len(place) > 1 and place[0] == "models" and place[1] in self._from:
            family, variant, own = self._from[str(place[1])]
            if len(place) > 2 and place[2] in own:
                return ("models", family, "variants", variant, *place[2:])
            if place[2:3] == ("seed",):
                return ("models", family, "seeds")
            return ("models", family, *place[2:])
        return place[:-1] if place[-2:-1] == ("models",) and place[:-1] in self._lists else place


def expand(values: Mapping[str, Any]) -> Expansion:
    """Write out the families of a config; values of the wrong type stay as they are, for the models to refuse."""
    found = Expansion(dict(values))
    models = values.get("models")
    if not isinstance(models, dict):
        return found
    written: dict[str, Any] = {}
    for name, entry in models.items():
        members = _members(found, str(name), entry) if isinstance(entry, dict) else None
        if members is None:
            written[name] = entry
            continue
        found.families[name] = list(members)
        for member, fields in members.items():
            if member in models or member in written:
                found.problems.append(Problem(("models", name), f"it stands for '{member}', which is there already"))
            written[member] = fields
    found.values["models"] = written
    if found.families:
        for section, content in values.items():
            if section != "models" and isinstance(content, dict):
                found.values[section] = _named(found, (section,), content)
    return found


def _members(found: Expansion, name: str, entry: dict[str, Any]) -> dict[str, Any] | None:
    """The models that an entry stands for, or None if it is no family (or no valid one)."""
    variants, seeds = entry.get("variants"), entry.get("seeds")
    if variants is None and seeds is None:
        return None
    some = isinstance(variants, dict) and variants and all(isinstance(one, dict) for one in variants.values())
    if (variants is not None and not some) or (seeds is not None and not (isinstance(seeds, list) and seeds)):
        return None
    if seeds is not None and "seed" in entry:
        found.problems.append(Problem(("models", name, "seed"), "give seed or seeds, not both"))
    shared = {key: value for key, value in entry.items() if key not in KEYS}
    members = {}
    for variant, own in (variants or {"": {}}).items():
        for seed in seeds if seeds is not None else [None]:
            words = [name, str(variant), "" if seed is None else f"s{seed}"]
            member = "-".join(word for word in words if word)
            members[member] = {**shared, **own} | ({} if seed is None else {"seed": seed})
            found._from[member] = (name, str(variant), own)
    return members


def _named(found: Expansion, place: Place, content: dict[str, Any]) -> dict[str, Any]:
    """A section, or an entry of one, in which the names of families are those of their models."""
    changed = {}
    for key, value in content.items():
        if key == "models" and isinstance(value, list) and any(_is_family(found, word) for word in value):
            found._lists.add((*place, key))
            value = [model for word in value for model in (found.families[word] if _is_family(found, word) else [word])]
        elif len(place) == 1 and isinstance(value, dict):
            value = _named(found, (*place, key), value)
        changed[key] = value
    return changed


def _is_family(found: Expansion, word: Any) -> bool:
    return isinstance(word, str) and word in found.families
