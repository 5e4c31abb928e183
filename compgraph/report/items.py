"""What a report is made of: plain data, knowing neither files nor HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Finding:
    """One plain sentence of the opening summary.

    Attributes
    ----------
    text
        What was found, with its number and, where there is one, its interval.
    key
        Key of the figure or table that shows it; empty if none does.
    """

    text: str
    key: str = ""


@dataclass(frozen=True)
class Origin:
    """How one result was made: the content of its manifest that a reader needs to make it again.

    Attributes
    ----------
    key
        Unique name of the result, by which others point to it (its digest).
    name
        Where it lies, relative to the results folder.
    stage
        The stage that made it.
    digest
        Digest of its content.
    parameters
        Parameter -> value as text.
    inputs
        Role -> digest of each input.
    seed, code
        Seed of random choices (None: there were none) and digest of the code.
    versions
        Library -> version.
    size
        Bytes on disk.
    """

    key: str
    name: str
    stage: str
    digest: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    code: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    size: int = 0


@dataclass(frozen=True)
class FigureItem:
    """One figure.

    Attributes
    ----------
    key
        Unique; becomes the anchor of the figure.
    title, caption
        As written by the figure's module.
    group
        Section of the page it belongs to (a stage of the pipeline).
    png
        The picture.
    files
        Label -> file, for the links beside it: `PDF`, `SVG`, `CSV`.
    subject
        What it belongs to, in words for the filter (`model`, `checkpoint`, `dataset`, …).
    origin
        Key of its own `Origin`; empty if unknown.
    """

    key: str
    title: str
    caption: str
    group: str
    png: bytes
    files: Mapping[str, Path] = field(default_factory=dict)
    subject: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""


@dataclass(frozen=True)
class PageItem:
    """An interactive page beside the report.

    Attributes
    ----------
    title
        What it is about.
    file
        The page.
    """

    title: str
    file: Path


@dataclass(frozen=True)
class TableItem:
    """One table.

    Attributes
    ----------
    key
        Unique; becomes the anchor of the table.
    title
        Shown above it; may be empty.
    group
        Section: `models`, `data`, `methods` or `numbers`.
    columns, rows
        Headings, and one cell per heading in every row. Numbers sort as numbers.
    note
        A sentence below it.
    """

    key: str
    title: str
    group: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Notice:
    """Something the reader should know before believing a result.

    Attributes
    ----------
    place
        The result it is about.
    text
        The warning, as the stage raised it.
    """

    place: str
    text: str


@dataclass(frozen=True)
class Cost:
    """What one job of the run took.

    Attributes
    ----------
    stage, name
        The stage, and the result it made.
    seconds, cpu_seconds
        Wall-clock and CPU time.
    peak_bytes
        Largest memory of the job's processes.
    """

    stage: str
    name: str
    seconds: float
    cpu_seconds: float | None = None
    peak_bytes: float | None = None


Item = Finding | Origin | FigureItem | PageItem | TableItem | Notice | Cost
