"""Every parameter of every stage is in what a result is compared by, and in nothing else's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compgraph.config.config import SECTIONS, Config
from compgraph.config.flags import choices, flag_fields
from compgraph.config.study import SECTION_OF, Study
from compgraph.reruns.jobs import Job, jobs_of
from tests.config.studies import small

TAGS = ("method", "kind", "source", "architecture")
NOT_COMPARED = {("models", "tasks"), ("datasets", "task")}
"""Fields that other values of which make other results, not the same ones from other parameters."""


ALONGSIDE: dict[tuple[str, str], dict[str, Any]] = {
    **{(section, "matrix"): {"keep": 10} for section in ("structural", "functional", "effective")},
    ("ablation", "norm_scale"): {"ablation": "edge"},
    ("sbm", "structure"): {"weights": "none"},
    ("datasets", "size"): {"images": "folder", "path": "."},
    ("models", "size"): {"images": "folder", "path": "."},
}
"""Settings without which a parameter has one value only."""


def embedded() -> Config:
    """The small study, and what is found where the truth is known."""
    return replaced(small(), "ground_truth", "", methods=["eap"])


def study(config: Config) -> Study:
    return Study(config, Path("config.yaml"))


def entries(config: Config) -> Iterator[tuple[str, str, Any]]:
    """Section, name and settings of every entry that has parameters."""
    for section in SECTIONS:
        found = getattr(config, section)
        if section in ("figures", "report", "run"):
            continue
        yield from ((section, name, entry) for name, entry in found.items()) if isinstance(found, dict) else [
            (section, "", found)
        ]


def other_values(value: Any, field: Any) -> Iterator[Any]:
    """Values that differ from one, some of which its field may allow."""
    words = [word for word in choices(field) if word != value]
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value + 2, 2 * value, value - 1)
    elif isinstance(value, float):
        yield from (value / 2, value + 0.25)
    elif isinstance(value, list):
        yield from (value[:1], value[1:], [*value, *words[:1]], words[:1], [one for one in words if one not in value])
    yield from (*words, 1, 0.5, "modules", "heads", "mlp.*", ["mlp.*"], [0, 1], [8, 8], {"induction.length": 8}, True)


def replaced(config: Config, section: str, name: str, **values: Any) -> Config:
    found = getattr(config, section)
    entry = (found[name] if name else found).model_copy(update=values)
    return config.model_copy(update={section: {**found, name: entry} if name else entry})


def compared(jobs: list[Job]) -> dict[str, str]:
    return {job.manifest: json.dumps([job.parameters, job.roots, job.files], default=str) for job in jobs}


def fields() -> list[tuple[str, str, str]]:
    return [
        (section, name, field)
        for section, name, entry in entries(embedded())
        for field in flag_fields(section)
        if field in type(entry).model_fields and field not in TAGS and (section, field) not in NOT_COMPARED
    ]


@pytest.mark.parametrize(("section", "name"), sorted({(section, name) for section, name, _ in fields()}))
def test_each_parameter_counts_for_its_own_entry_alone(section: str, name: str) -> None:
    config = embedded()
    jobs = jobs_of(study(config))
    before = compared(jobs)
    of_section = [job for job in jobs if SECTION_OF.get(job.stage, job.stage) == section]
    own = {job.manifest for job in of_section if job.name == (name or job.name)}
    unnoticed = []
    for field in [field for one, other, field in fields() if (one, other) == (section, name)]:
        found = getattr(config, section)
        entry = found[name] if name else found
        changed: set[str] = set()
        others = ALONGSIDE.get((section, field), {})
        given = replaced(config, section, name, **others)
        start = compared(jobs_of(study(given))) if others else before
        for value in other_values(getattr(entry, field), type(entry).model_fields[field]):
            try:
                after = compared(jobs_of(study(replaced(given, section, name, **{field: value}))))
            except (AssertionError, AttributeError, KeyError, TypeError, ValueError):
                continue  # a value that this field does not allow
            changed = {path for path in start.keys() & after.keys() if start[path] != after[path]}
            if changed:
                break
        if not changed:
            unnoticed.append(field)
        assert changed <= own, f"{section}.{name}: {field} makes {changed - own} again"
    assert not unnoticed
