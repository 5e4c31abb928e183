"""The tables of a report: models, data, methods, and the numbers behind the figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compgraph import store
from compgraph.errors import StoreError
from compgraph.report.items import Cell, TableItem
from compgraph.report.places import READERS, Place

Placed = tuple[Place, store.Result]
MAX_ROWS = 2000
STAGES = ("train", "import-model", "data", "activations", *READERS)


def tables(results: Sequence[Placed]) -> list[TableItem]:
    """All tables that have a row."""
    made = [
        _models(results),
        _data(results),
        _methods(results),
        _graphs(results),
        _curves(results),
        _blocks(results, "sbm", "Blocks"),
        _blocks(results, "communities", "Communities"),
        _tests(results),
        _statistics(results),
    ]
    return [table for table in made if table is not None]


def of_stage(results: Iterable[Placed], *stages: str) -> list[Placed]:
    """The results of some stages."""
    return [(place, result) for place, result in results if place.stage in stages]


def scalar(value: Any) -> Cell:
    """A value of a summary as a cell: lists and small mappings in words."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {scalar(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(scalar(item)) for item in value)
    return str(value)


def _models(results: Sequence[Placed]) -> TableItem | None:
    """One row per model, from its last checkpoint."""
    found = of_stage(results, "model")
    last = {place.model: (place, result) for place, result in found}
    wanted = ("kind", "family", "n_parameters", "parameters", "accuracy", "loss")
    present = [
        name
        for name in wanted
        if any(isinstance(r.summary.get(name), (str, int, float, dict)) for _, r in last.values())
    ]
    rows = []
    for model, (place, result) in last.items():
        number = sum(other.model == model for other, _ in found)
        sites = result.summary.get("sites", {})
        values = [scalar(result.summary.get(name)) for name in present]
        n_sites = len(sites) if isinstance(sites, (dict, list)) else None
        rows.append(
            (model, number, place.checkpoint, n_sites, *values, str(result.summary.get("digest", ""))[:19])
        )
    columns = (
        "model",
        "checkpoints",
        "last checkpoint",
        "sites",
        *(n.replace("_", " ") for n in present),
        "weights",
    )
    return _table("table-models", "", "models", columns, rows)


def _data(results: Sequence[Placed]) -> TableItem | None:
    rows = []
    for place, result in of_stage(results, "data"):
        summary = result.summary
        said = summary.get("said") or ""
        rows.append(
            (place.dataset, place.model, summary.get("items"), scalar(summary.get("tasks")), scalar(said))
        )
    return _table(
        "table-data", "", "data", ("dataset", "model", "items", "tasks or classes", "made from"), rows
    )


def _methods(results: Sequence[Placed]) -> TableItem | None:
    """One row per stage, entry and set of parameters."""
    rows: dict[tuple[str, str, str], int] = {}
    for place, result in of_stage(results, "model", "data", "activations", *READERS):
        made = result.provenance
        name = {"model": place.model, "data": place.dataset}.get(place.stage, place.entry)
        words = "; ".join(
            f"{key} = {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
            for key, value in made.parameters.items()
            if value is not None and key != "step"  # checkpoints of one recipe share a row
        )
        rows[(made.stage, name, words)] = rows.get((made.stage, name, words), 0) + 1
    order = {stage: place for place, stage in enumerate(STAGES)}
    cells = [
        (stage, name, number, words)
        for (stage, name, words), number in sorted(
            rows.items(), key=lambda row: order.get(row[0][0], len(order))
        )
    ]
    return _table("table-methods", "", "methods", ("stage", "entry", "results", "parameters"), cells)


def _graphs(results: Sequence[Placed]) -> TableItem | None:
    rows = [
        (
            *_where(place),
            place.stage,
            place.entry,
            result.summary.get("n_nodes"),
            result.summary.get("n_edges"),
        )
        for place, result in of_stage(results, "structural", "functional", "effective")
    ]
    return _table("table-graphs", "Graphs", "numbers", (*WHERE, "kind", "entry", "nodes", "edges"), rows)


WHERE = ("model", "checkpoint", "dataset")


def _where(place: Place) -> tuple[Cell, Cell, Cell]:
    return place.model, place.checkpoint, place.dataset or None


def _curves(results: Sequence[Placed]) -> TableItem | None:
    """Areas under the faithfulness curves."""
    rows = []
    for place, result in of_stage(results, "evaluation"):
        for metric, areas in result.summary.get("areas", {}).items():
            rows.append(
                (
                    *_where(place),
                    place.graph.partition(".")[2],
                    result.summary.get("ablation"),
                    result.summary.get("baseline"),
                    metric,
                    *(areas.get(name) for name in ("cpr", "cpr_low", "cpr_high", "cmd", "cmd_low", "cmd_high")),
                )
            )
    areas_shown = ("CPR", "CPR low", "CPR high", "CMD", "CMD low", "CMD high")
    columns = (*WHERE, "graph", "ablation", "baseline", "metric", *areas_shown)
    note = (
        "CPR is the area under faithfulness over the share of edges kept (higher is better), CMD the area"
        " under its distance from 1 (lower is better), both over the sizes that were evaluated; low and high bound"
        " their 95 % intervals over examples."
    )
    return _table("table-faithfulness", "Faithfulness", "numbers", columns, rows, note)


def _blocks(results: Sequence[Placed], stage: str, title: str) -> TableItem | None:
    rows = []
    for place, result in of_stage(results, stage):
        summary = result.summary
        number = summary.get("n_blocks", summary.get("n"))
        value = summary.get("gain", summary.get("quality"))
        chance = summary.get("chance") or {}
        tested = (chance.get("z"), chance.get("p")) if stage == "communities" else ()
        rows.append((*_where(place), place.graph, place.entry, number, value, *tested, summary.get("agreement")))
    measured = ("nats saved",) if stage == "sbm" else ("quality", "z", "p")
    columns = (*WHERE, "graph", "entry", title.lower(), *measured, "agreement of runs")
    note = (
        "Agreement is the mean adjusted Rand index between runs from different seeds: 1 means that all agree."
    )
    if stage == "communities":
        note += " p: how often null graphs reach this quality; communities with a large p are no more than chance."
    return _table(f"table-{stage}", title, "numbers", columns, rows, note)


def _statistics(results: Sequence[Placed]) -> TableItem | None:
    """The rows of every statistics table, with where they belong."""
    rows: list[tuple[Cell, ...]] = []
    columns: tuple[str, ...] = ()
    for place, result in of_stage(results, "statistics"):
        try:
            table = store.read_table(result.path)
        except StoreError:
            continue  # `store.open` has already said so
        columns = columns or tuple(str(name) for name in table.columns)
        if tuple(str(name) for name in table.columns) == columns:
            rows += [(*_where(place), place.graph, *map(plain, row)) for row in table.itertuples(index=False)]
    note = "" if len(rows) <= MAX_ROWS else f"The first {MAX_ROWS:,} of {len(rows):,} rows."
    shown = (*WHERE, "graph", *(name.replace("_", " ") for name in columns))
    return _table("table-statistics", "Network statistics", "numbers", shown, rows[:MAX_ROWS], note)


def _tests(results: Sequence[Placed]) -> TableItem | None:
    """The verdict of every test."""
    rows = [
        (*_where(place), place.graph, result.summary.get("method"), place.entry, result.summary.get("verdict"))
        for place, result in of_stage(results, "tests")
    ]
    return _table("table-tests", "Tests", "numbers", (*WHERE, "graph", "test", "entry", "verdict"), rows)


def plain(value: Any) -> Cell:
    """A table's value as a cell."""
    return scalar(value.item() if hasattr(value, "item") else value)


def _table(
    key: str, title: str, group: str, columns: Sequence[str], rows: Sequence[tuple[Cell, ...]], note: str = ""
) -> TableItem | None:
    """A table without its empty columns; None if it has no row."""
    kept = [k for k in range(len(columns)) if any(row[k] not in (None, "") for row in rows)]
    if not kept:
        return None
    cells = tuple(tuple(row[k] for k in kept) for row in rows)
    return TableItem(key, title, group, tuple(columns[k] for k in kept), cells, note)
