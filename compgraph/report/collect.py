"""Reading a results folder into the items of a report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compgraph import catalogue, store
from compgraph.errors import CompgraphError, StoreError
from compgraph.released import describe, is_released
from compgraph.report import findings, overview
from compgraph.report.costs import read_costs
from compgraph.report.items import FigureItem, Item, Notice, Origin, PageItem
from compgraph.report.places import Place, place_of

FIGURES = "figures"
PAGE = "page"
NOT_RESULTS = ("logs", "benchmarks", "report", "cache")
FILES = {"PDF": "figure.pdf", "SVG": "figure.svg", "CSV": "data.csv"}
ALL = "all"
"""Stands for the checkpoint in the place of a figure that shows all of them."""
FIGURE_GROUPS = {name: entry.stage for name, entry in catalogue.FIGURES.items()}


@dataclass(frozen=True)
class Found:
    """A result and where it belongs."""

    place: Place
    result: store.Result


def collect(results_dir: str | Path, manifests: Iterable[str | Path] | None = None) -> list[Item]:
    """Everything a report shows, from the manifests of a results folder.

    Parameters
    ----------
    results_dir
        The folder.
    manifests
        The manifests that belong to the study; None for all that are found. A manifest that is not there, or
        whose payload is torn, becomes a warning.

    Returns
    -------
    Findings, tables, figures, warnings, costs and the origin of every result.

    Raises
    ------
    StoreError
        If the folder is missing, or no result is found.
    """
    root = Path(results_dir)
    if not root.is_dir():
        raise StoreError(f"{root} is not a folder; a report is made from a results folder")
    paths = [Path(path) for path in manifests] if manifests is not None else find_manifests(root)
    found, notices = _open_all(root, paths)
    if not found:
        raise StoreError(f"{root} holds no result, so there is nothing to report")
    figures, more = _figures(root, found)
    results = [one for one in found if one.result.kind not in ("figure", PAGE)]
    pairs = [(one.place, one.result) for one in results]
    return [
        *findings.findings(pairs, figures),
        *overview.tables(pairs),
        *figures,
        *(_page(one) for one in found if one.result.kind == PAGE),
        *notices,
        *more,
        *_warnings(found),
        *read_costs(root / "benchmarks"),
        *(_origin(one) for one in found),
    ]


def subtitle(items: Iterable[Item]) -> str:
    """One line under the headline: `40 results, 12 figures, 3 warnings`."""
    everything = list(items)
    parts = []
    for kind, noun in ((Origin, "result"), (FigureItem, "figure"), (Notice, "warning")):
        number = sum(isinstance(item, kind) for item in everything)
        parts.append(f"{number:,} {noun}" + ("" if number == 1 else "s"))
    return ", ".join(parts)


def find_manifests(root: Path) -> list[Path]:
    """Manifests below a folder, in order of their names; payloads are not searched."""
    manifests: list[Path] = []
    payloads: set[Path] = set()
    for path in sorted(root.glob("*.json")):
        manifest = _manifest(path)
        if manifest is not None:
            manifests.append(path)
            if manifest["payload"]:
                payloads.add(root / str(manifest["payload"]))
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path not in payloads):
        if folder.name not in NOT_RESULTS and not folder.name.endswith(".partial"):
            manifests += find_manifests(folder)
    return manifests


def _manifest(path: Path) -> Mapping[str, Any] | None:
    """The content of a file if it looks like a manifest."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(content, dict) and {"kind", "payload", "digest", "provenance"} <= set(content)
    return content if known else None


def _open_all(root: Path, paths: Iterable[Path]) -> tuple[list[Found], list[Notice]]:
    found, notices = [], []
    for path in paths:
        place = place_of(path, root)
        try:
            result = describe(path) if is_released(path) else store.open(path, lazy=True)
            _ = result.provenance
        except StoreError as error:
            notices.append(Notice(place.name, f"This result could not be read: {error}"))
            continue
        found.append(Found(place, result))
    return found, notices


def _warnings(found: Iterable[Found]) -> list[Notice]:
    return [Notice(one.place.name, text) for one in found for text in one.result.warnings]


def _origin(one: Found) -> Origin:
    made = one.result.provenance
    return Origin(
        key=one.place.name,
        name=one.place.name,
        stage=made.stage,
        digest=one.result.digest,
        parameters={
            name: in_words(value) for name, value in sorted(made.parameters.items()) if value is not None
        },
        inputs=dict(made.inputs),
        seed=made.seed,
        code=made.code,
        versions=dict(made.versions),
        size=one.result.size,
    )


def in_words(value: Any) -> str:
    """A parameter as text: words and numbers bare, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _page(one: Found) -> PageItem:
    place = one.place
    return PageItem(f"{place.about}, {place.graph.replace('.', ' ', 1)}", one.result.path)


def _figures(root: Path, found: Iterable[Found]) -> tuple[list[FigureItem], list[Notice]]:
    figures, notices = [], []
    for one in found:
        if one.result.kind != "figure":
            continue
        try:
            figures.append(_figure(one))
        except (CompgraphError, OSError) as error:
            notices.append(Notice(one.place.name, f"This figure could not be read: {error}"))
    return figures, notices


def _figure(one: Found) -> FigureItem:
    folder = one.result.path
    kind = one.place.entry.partition(".")[0].partition("@")[0]
    caption_file = folder / "caption.txt"
    caption = caption_file.read_text(encoding="utf-8").strip() if caption_file.is_file() else ""
    subject = {
        name: value
        for name, value in (
            ("model", one.place.model),
            ("checkpoint", "all checkpoints" if one.place.checkpoint == ALL else one.place.checkpoint),
            ("dataset", one.place.dataset),
            ("result", one.place.entry.partition(".")[2]),
        )
        if value
    }
    return FigureItem(
        key="figure-" + one.place.name.removeprefix("figures/").replace("/", "-"),
        title=", ".join([kind.replace("_", " "), *subject.values()]),
        caption=caption,
        group=FIGURE_GROUPS.get(kind, kind),
        png=(folder / "figure.png").read_bytes(),
        files={label: folder / name for label, name in FILES.items() if (folder / name).is_file()},
        subject=subject,
        origin=one.place.name,
    )
