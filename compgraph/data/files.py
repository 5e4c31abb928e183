"""Prompt pairs from files: JSON lines, a JSON list or CSV, with columns of any name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compgraph.data.encoding import tokenizer_of
from compgraph.data.prompts import PromptPairs
from compgraph.data.screening import Report
from compgraph.data.tasks.greater_than import continuations
from compgraph.data.tasks.items import Item
from compgraph.data.token_arrays import Padding
from compgraph.data.tokenise import tokenise
from compgraph.errors import DataError

Row = dict[str, Any]
#: What a column can hold, and the names it is looked for under where none is given.
ROLES: dict[str, tuple[str, ...]] = {
    "clean": ("clean",),
    "corrupted": ("corrupted",),
    "answer": ("answer", "answers"),
    "distractor": ("distractor", "distractors"),
    "answer_id": ("answer_id", "answer_ids"),
    "distractor_id": ("distractor_id", "distractor_ids"),
    "task": ("task",),
    "id": ("id",),
}
#: Between several answers in one cell of a CSV file.
SEPARATOR = "|"


@dataclass(frozen=True)
class Preset:
    """A known file format.

    Attributes
    ----------
    marks : tuple of str
        Columns by which it is recognised.
    columns : dict of str to str
        Role -> column.
    derive : callable, optional
        Row -> answers and distractors, where no column holds them.
    """

    marks: tuple[str, ...]
    columns: dict[str, str]
    derive: Callable[[Row], tuple[tuple[str, ...], tuple[str, ...]]] | None = None


def _names(row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where the hard counterfactual differs it has the answer, and the clean prompt the subject."""
    for subject, answer in zip(row["clean"].split(), row["corrupted_hard"].split(), strict=False):
        if subject != answer:
            return (f" {answer.strip('.,')}",), (f" {subject.strip('.,')}",)
    raise ValueError("clean and corrupted_hard do not differ")


def _years(row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    year = int(row["label"])
    if not 0 <= year <= 98:
        raise ValueError(f"label {year} is not between 0 and 98")
    return continuations(year)


PRESETS: dict[str, Preset] = {
    # Marks et al. 2024, "Sparse feature circuits": subject-verb agreement.
    "feature-circuits": Preset(
        ("clean_prefix", "patch_prefix", "clean_answer", "patch_answer"),
        {
            "clean": "clean_prefix",
            "corrupted": "patch_prefix",
            "answer": "clean_answer",
            "distractor": "patch_answer",
        },
    ),
    # Hanna et al. 2024, EAP-IG. The ids in the file belong to one tokenizer, so the names are read off the
    # prompts. In the column corrupted_hard the answer flips: columns = {"corrupted": "corrupted_hard"}.
    "eap-ig-ioi": Preset(
        ("clean", "corrupted", "corrupted_hard", "correct_idx", "incorrect_idx"),
        {"clean": "clean", "corrupted": "corrupted"},
        _names,
    ),
    "eap-ig-greater-than": Preset(
        ("clean", "corrupted", "label"), {"clean": "clean", "corrupted": "corrupted"}, _years
    ),
}


def file_pairs(
    path: str | Path,
    source: Any,
    columns: Mapping[str, str] | None = None,
    *,
    n: int | None = None,
    seed: int = 0,
    test_share: float = 0.2,
    split_seed: int = 0,
    padding: Padding = "right",
    prepend_bos: bool | None = None,
) -> tuple[PromptPairs, Report]:
    """Prompt pairs of a file that this tokenizer can express, and what was dropped.

    Parameters
    ----------
    path, columns
        As for `read_items`.
    source
        A tokenizer, or a network that carries one.
    n
        Take so many pairs, chosen at random; by default all, in the order of the file.
    seed
        Of the choice.
    test_share, split_seed, padding, prepend_bos
        As for `compgraph.data.tokenise.tokenise`.

    Raises
    ------
    DataError
        If the file cannot be read, or has fewer than `n` usable pairs.
    """
    items = read_items(path, columns)
    if n is not None:
        if n > len(items):
            raise DataError(f"{path}: {n} pairs were asked for and the file has {len(items)}")
        items = [items[index] for index in np.random.default_rng(seed).permutation(len(items))]
    return tokenise(
        items,
        tokenizer_of(source),
        n=n,
        min_items=n or 1,
        padding=padding,
        prepend_bos=prepend_bos,
        test_share=test_share,
        split_seed=split_seed,
    )


def read_items(path: str | Path, columns: Mapping[str, str] | None = None) -> list[Item]:
    """Items of a pair file.

    Parameters
    ----------
    path
        ``.csv``; ``.jsonl`` or ``.json`` with one object a line or one list of objects.
    columns
        Which column holds what: ``clean``, ``corrupted``, ``answer`` or ``answer_id`` (token ids),
        ``distractor`` or ``distractor_id``, ``task``, ``id``. ``preset`` names a known format, whose columns
        the others replace. By default the format is known by its columns, else columns have the names of what
        they hold. Several answers are a list in JSON and parted by ``|`` in CSV. Integers in JSON are token
        ids.

    Returns
    -------
    list of Item
        Without a column ``task`` their task is the name of the file, without ``id`` they are numbered.

    Raises
    ------
    DataError
        If the file is missing, empty or malformed (with the line), or lacks a column.
    """
    source = Path(path)
    rows = list(_read_rows(source))
    if not rows:
        raise DataError(f"{source}: the file is empty; it must hold at least one pair")
    found, derive = _find_columns(source, list(rows[0][1]), columns)
    items = [_item(source, line, row, index, found, derive) for index, (line, row) in enumerate(rows)]
    seen: dict[str, int] = {}
    for (line, _), item in zip(rows, items, strict=True):
        if item.id in seen:
            raise DataError(f"{source}, line {line}: id {item.id!r} was already given in line {seen[item.id]}")
        seen[item.id] = line
    return items


def _read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Line number and row, for each row."""
    readers = {".csv": _read_csv, ".jsonl": _read_json, ".json": _read_json}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: a pair file ends in one of {', '.join(readers)}, not {path.suffix!r}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a UTF-8 text ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    return readers[path.suffix.lower()](path, text)


def _read_csv(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = cells
            elif len(cells) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells where the header has {len(header)}"
                )
            else:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from None


def _read_json(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    if text.lstrip().startswith("["):
        rows = _parse(path, 1, text)
        numbered = list(enumerate(rows, start=1))
    else:
        lines = enumerate(text.split("\n"), start=1)
        numbered = [(number, _parse(path, number, line)) for number, line in lines if line.strip()]
    for number, row in numbered:
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: {str(row)[:40]!r} is not an object of columns and values")
        yield number, row


def _parse(path: Path, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = line + error.lineno - 1
        raise DataError(f"{path}, line {where}: not valid JSON ({error.msg}, column {error.colno})") from None


def _find_columns(
    path: Path, header: list[str], given: Mapping[str, str] | None
) -> tuple[dict[str, str], Callable[[Row], Any] | None]:
    wanted = dict(given or {})
    name = wanted.pop("preset", None)
    unknown = [role for role in wanted if role not in ROLES]
    if unknown:
        raise DataError(f"{path}: columns has no {unknown[0]!r}; valid: preset, {', '.join(ROLES)}")
    if name is not None and name not in PRESETS:
        raise DataError(f"{path}: there is no preset {name!r}; valid: {', '.join(PRESETS)}")
    if name is None and not {"answer", "answer_id"} & set(wanted):
        name = next((key for key, preset in PRESETS.items() if set(preset.marks) <= set(header)), None)
    preset = PRESETS[name] if name is not None else Preset((), {})
    columns = {role: column for role, names in ROLES.items() for column in names[::-1] if column in header}
    columns |= preset.columns | wanted
    derive = None if {"answer", "answer_id"} & set(wanted) else preset.derive
    for role, column in columns.items():
        if column not in header:
            raise DataError(f"{path}: there is no column {column!r} for {role}; it has: {', '.join(header)}")
    if "clean" not in columns:
        raise DataError(f"{path}: no column for clean; name one of: {', '.join(header)}")
    if derive is None and not {"answer", "answer_id"} & set(columns):
        raise DataError(f"{path}: no column for answer or answer_id; name one of: {', '.join(header)}")
    return columns, derive


def _item(
    path: Path, line: int, row: Row, index: int, columns: dict[str, str], derive: Callable[[Row], Any] | None
) -> Item:
    def cell(role: str) -> Any:
        column = columns.get(role)
        if column is None:
            return None
        if row.get(column) is None:
            raise DataError(f"{path}, line {line}: the column {column!r} for {role} is missing")
        return row[column]

    def text(role: str, default: str) -> str:
        value = cell(role)
        return default if value is None else str(value)

    try:
        if derive is not None:
            answers, distractors = derive(row)
        else:
            answers = _targets(cell("answer"), cell("answer_id"), path)
            distractors = _targets(cell("distractor"), cell("distractor_id"), path)
    except (ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{path}, line {line}: no answers can be read ({error})") from None
    task = text("task", path.stem)
    return Item(
        text("id", f"{task}/{index:06d}"),
        task,
        text("clean", ""),
        text("corrupted", ""),
        answers,
        distractors,
    )


def _targets(texts: Any, ids: Any, path: Path) -> tuple[str | int, ...]:
    """Texts and token ids of one cell each; a cell of CSV may hold several."""

    def several(value: Any) -> list[Any]:
        if value is None:
            return []
        if isinstance(value, str) and path.suffix.lower() == ".csv":
            return value.split(SEPARATOR)
        return value if isinstance(value, list) else [value]

    out: list[str | int] = []
    for value in several(texts):
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ValueError(f"{value!r} is neither a text nor a token id")
        out.append(value)
    out += [int(value) for value in several(ids)]
    return tuple(out)
