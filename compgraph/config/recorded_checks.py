"""Whether what functional entries read is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from compgraph.config.problems import Problem

if TYPE_CHECKING:
    from compgraph.config.study import Study


def checks_of_recordings(study: Study) -> Iterator[Problem]:
    """Sites of functional entries that a model has and that its buffer leaves out.

    One list of patterns serves models of several kinds: a name must be recorded wherever it is a site, patterns only
    have to match something.
    """
    for name, entry in study.config.functional.items():
        if not entry.sites:
            continue
        buffer = entry.buffer.split(".")
        recorded = study.entry(*buffer).sites
        line = ".".join([*buffer, "sites"])
        for model in dict.fromkeys(model for model, _, _ in study.places("functional", entry)):
            facts = study.facts[model]
            kept = facts.matching(list(recorded))
            for index, site in enumerate(entry.sites):
                if site in (facts.sites or ()) and site not in kept:
                    yield Problem(
                        ("functional", name, "sites", index),
                        f"site '{site}' of '{model}' is not recorded; add it to {line}",
                    )
            wanted = set(facts.matching(list(entry.sites)))
            if wanted and not wanted & {*kept, *entry.sites}:
                yield Problem(
                    ("functional", name, "sites"),
                    f"none of its sites of '{model}' is recorded; add some of them to {line}",
                )
