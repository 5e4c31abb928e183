"""What the page of a study was made from, kept beside it: it has no manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compgraph.config.study import Study
from compgraph.errors import StoreError
from compgraph.manifests import read_manifest, seal_of
from compgraph.provenance import json_digest, json_text
from compgraph.reruns.reasons import Reason

RECORD = "made-from.json"


def page_of(study: Study) -> Path:
    """The page."""
    return study.root / "report" / "index.html"


def made_from(study: Study) -> dict[str, Any]:
    """What the page of a study is made from now."""
    seals = {}
    for result in study.results():
        try:
            seals[result.path] = seal_of(read_manifest(study.root / result.path))
        except StoreError:
            continue
    return {"flags": study.flags("report"), "code": study.code("report"), "results": json_digest(seals)}


def record(study: Study, made: Mapping[str, Any]) -> None:
    """Keep what the page was made from."""
    (page_of(study).parent / RECORD).write_text(json_text(made), encoding="utf-8")


def reasons(study: Study) -> list[Reason]:
    """Why the page is to be made; none if it is as it would be made."""
    page = page_of(study)
    if not page.is_file():
        return [Reason("new")]
    try:
        before = json.loads((page.parent / RECORD).read_text(encoding="utf-8"))
        changed = {key for key, now in made_from(study).items() if before[key] != now}
    except (OSError, ValueError, KeyError, TypeError):
        return [Reason("damaged", ("it is not known what it was made from",))]
    kinds = {"flags": "parameters", "code": "code", "results": "input"}
    return [Reason(kinds[key]) for key in kinds if key in changed]
