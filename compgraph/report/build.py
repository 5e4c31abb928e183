"""Building the page: items in, one HTML file out."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from compgraph.report.costs import StageCost, by_stage
from compgraph.report.items import Cell, Cost, FigureItem, Finding, Item, Notice, Origin, PageItem, TableItem

TEMPLATES = Path(__file__).parent / "templates"
GROUPS: dict[str, str] = {
    "structural": "Structural connectivity",
    "functional": "Functional connectivity",
    "effective": "Effective connectivity",
    "comparison": "Kinds of connectivity compared",
    "rois": "Regions of interest",
    "dictionaries": "Dictionaries",
    "evaluation": "Faithfulness of circuits",
    "communities": "Communities",
    "sbm": "Blocks",
    "structures": "Graphs of known structure",
    "ground-truth": "Networks of known edges",
    "wiring": "What ablations run",
    "tests": "Tests of circuits, blocks and regions",
    "statistics": "Network statistics",
    "tracking": "Emergence during training",
    "scale": "Size of models",
}
"""Sections of figures in their order; other groups follow under their own names."""
T = TypeVar("T", bound=Item)


@dataclass(frozen=True)
class _Figure:
    """A figure as the template shows it."""

    number: int
    item: FigureItem
    lead: str
    rest: str
    data_uri: str
    size: tuple[int, int]
    links: tuple[tuple[str, str], ...]
    origin: Origin | None
    sources: tuple[tuple[str, str, str], ...]


def build_report(
    items: Iterable[Item], output_html: str | Path, title: str = "Computational graphs", *, subtitle: str = ""
) -> Path:
    """Write one self-contained HTML page.

    Parameters
    ----------
    items
        In any order between kinds; the order within a kind is kept.
    output_html
        The file. Links to the figures' files are relative to its folder.
    title, subtitle
        Headline, and the line below it.

    Returns
    -------
    The file written. The same items give the same bytes.

    Raises
    ------
    ValueError
        If two figures or tables share a key, or a picture is not a PNG.
    """
    output = Path(output_html)
    everything = list(items)
    origins = {origin.key: origin for origin in _of(everything, Origin)}
    figures = _figures(_of(everything, FigureItem), output.parent, origins)
    tables = _of(everything, TableItem)
    _check_keys([figure.item.key for figure in figures] + [table.key for table in tables])
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "digits": digits,
        "sort_value": sort_value,
        "bytes": readable_bytes,
        "duration": duration,
    }
    html = environment.get_template("report.html.j2").render(
        title=title,
        subtitle=subtitle,
        findings=_of(everything, Finding),
        sections=_sections(figures),
        figures=figures,
        pages=sorted((page.title, relative_link(page.file, output.parent)) for page in _of(everything, PageItem)),
        tables={
            group: [t for t in tables if t.group == group]
            for group in ("models", "data", "methods", "numbers")
        },
        notices=_grouped_notices(_of(everything, Notice)),
        costs=_cost_table(_of(everything, Cost), origins.values()),
        total=sum(cost.seconds for cost in _of(everything, Cost)),
        origins=list(origins.values()),
        versions=_versions(origins.values()),
    )
    output.write_text(html, encoding="utf-8")
    return output


def _of(items: Sequence[Item], kind: type[T]) -> list[T]:
    return [item for item in items if isinstance(item, kind)]


def _check_keys(keys: Sequence[str]) -> None:
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"two figures or tables share the key {key!r}")


def _figures(items: Sequence[FigureItem], folder: Path, origins: dict[str, Origin]) -> list[_Figure]:
    known = [*GROUPS, *dict.fromkeys(item.group for item in items if item.group not in GROUPS)]
    ordered = sorted(items, key=lambda item: known.index(item.group))
    names = {origin.digest: origin.name for origin in origins.values()}
    shown = []
    for number, item in enumerate(ordered, start=1):
        origin = origins.get(item.origin)
        inputs = origin.inputs if origin else {}
        lead, rest = first_sentence(item.caption or item.title + ".")
        shown.append(
            _Figure(
                number=number,
                item=item,
                lead=lead,
                rest=rest,
                data_uri="data:image/png;base64," + base64.b64encode(item.png).decode("ascii"),
                size=png_size(item.png),
                links=tuple((label, relative_link(path, folder)) for label, path in item.files.items()),
                origin=origin,
                sources=tuple((role, names.get(digest, ""), digest) for role, digest in inputs.items()),
            )
        )
    return shown


def _sections(figures: Sequence[_Figure]) -> list[tuple[str, str, list[_Figure]]]:
    """(anchor, heading, figures) of every group with figures."""
    return [
        (group, GROUPS.get(group, group), list(members))
        for group, members in groupby(figures, key=lambda figure: figure.item.group)
    ]


def first_sentence(text: str) -> tuple[str, str]:
    """The first sentence and the rest."""
    lead, stop, rest = text.partition(". ")
    return lead + stop.strip(), rest


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels.

    Raises
    ------
    ValueError
        If the bytes are not a PNG.
    """
    if not png.startswith(b"\x89PNG\r\n\x1a\n") or png[12:16] != b"IHDR":
        raise ValueError("the picture of a figure is not a PNG")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def relative_link(path: Path, folder: Path) -> str:
    """URL of a file from a page in `folder`: relative, with `/`, quoted."""
    relative = os.path.relpath(Path(path).absolute(), folder.absolute())
    return quote("/".join(Path(relative).parts))


def _grouped_notices(notices: Sequence[Notice]) -> list[tuple[str, list[str]]]:
    """(text, places): the same warning of many results is said once."""
    places: dict[str, list[str]] = {}
    for notice in notices:
        places.setdefault(notice.text, []).append(notice.place)
    return list(places.items())


def _cost_table(costs: Sequence[Cost], origins: Iterable[Origin]) -> list[StageCost]:
    sizes: Counter[str] = Counter()
    for origin in origins:
        sizes[origin.stage] += origin.size
    return by_stage(costs, sizes)


def _versions(origins: Iterable[Origin]) -> list[tuple[str, str]]:
    """(library, versions) over all results; more than one version is shown, not hidden."""
    found: dict[str, set[str]] = {}
    for origin in origins:
        for library, version in origin.versions.items():
            found.setdefault(library, set()).add(version)
    return [(library, ", ".join(sorted(versions))) for library, versions in sorted(found.items())]


def digits(value: Cell) -> str:
    """A cell as text: numbers with up to four significant digits, None as a dash."""
    if value is None:
        return "\u2013"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value != value:
        return "\u2013"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}".replace("-", "\u2212")
    return f"{value:,.4g}".replace("-", "\u2212")


def sort_value(value: Cell) -> str:
    """What a cell sorts by: the full number, or the text."""
    if isinstance(value, (int, float)) and value == value:
        return repr(float(value))
    return "" if value is None or value != value else str(value)


def readable_bytes(value: float | None) -> str:
    """`12.3 MB`."""
    if value is None:
        return "\u2013"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return "\u2013"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
