"""``compgraph show``: what a result is, how it was made, whether it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from compgraph.store import Result


CELL = 32
"""Widest cell of a table, in characters."""


@verb("show")
@click.argument("file", type=TO_BE_GIVEN)
@click.option("--rows", type=click.IntRange(1), default=10, help="Rows of the table to show.")
@click.option("--fast", is_flag=True, help="Compare sizes only, instead of reading every byte.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the manifest, and rows of the table.")
def command(call: Call, file: Path, rows: int, fast: bool, as_json: bool) -> None:
    """FILE is a manifest, or the payload beside it."""
    from rich.console import Console

    from compgraph import store

    manifest = manifest_of(file)
    result = store.open(manifest, lazy=True) if fast else store.verify(manifest)
    if as_json:
        click.echo(json.dumps(as_data(result, rows, every_byte=not fast)))
        return
    console = Console(highlight=False)
    whole = "sizes as written" if fast else "whole: every byte is as written"
    console.print(f"[bold]{manifest}[/bold]\n{result.kind}, {store.format_bytes(result.size)}, {whole}\n")
    _print_pairs(console, result.summary)
    _print_origin(console, result)
    for warning in result.warnings:
        console.print(f"note: {warning}")
    picture(console, result, rows)


def as_data(result: Result, rows: int, *, every_byte: bool) -> dict[str, Any]:
    """What the verb shows, as plain data; numbers that JSON lacks are null in rows of the table."""
    table = _table(result)
    return {
        "manifest": str(result.manifest_path),
        "kind": result.kind,
        "digest": result.digest,
        "bytes": result.size,
        "compared": "every byte" if every_byte else "sizes",
        "summary": result.summary,
        "provenance": result.provenance.to_dict(),
        "warnings": list(result.warnings),
        "n_rows": 0 if table is None else len(table),
        "rows": [] if table is None else json.loads(table.head(rows).to_json(orient="records", double_precision=15)),
    }


def manifest_of(file: Path) -> Path:
    """The manifest of a result, given it or its payload."""
    if file.suffix == ".json" or not file.exists():
        return file
    for candidate in sorted(file.parent.glob("*.json")):
        try:
            content = json.loads(candidate.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and content.get("payload") == file.name:
            return candidate
    return file.with_suffix(".json")


def _print_pairs(console: Console, values: dict[str, Any]) -> None:
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        console.print(f"  {name}: {text if len(text) < 200 else text[:197] + '…'}", markup=False)


def _print_origin(console: Console, result: Result) -> None:
    made = result.provenance
    console.print(f"\nmade by: compgraph {made.stage}")
    _print_pairs(console, made.parameters)
    for role, digest in made.inputs.items():
        console.print(f"  from {role}: {digest[:23]}…", markup=False)
    versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
    console.print(f"  code {made.code}; {versions}\n", markup=False)


def picture(console: Console, result: Result, rows: int) -> None:
    """A small table of the content, where the kind has one."""
    table = _table(result)
    if table is not None and len(table):
        console.print(f"first {min(rows, len(table))} of {len(table)} rows:")
        _print_table(console, table.head(rows))


def _table(result: Result) -> pd.DataFrame | None:
    from compgraph import store

    if result.kind == "graph":
        from compgraph.graph import ComputationalGraph

        graph = ComputationalGraph.load(result.path)
        edges = graph.edges
        return edges.reindex(edges["weight"].abs().sort_values(ascending=False, kind="stable").index)
    if result.kind in ("activations", "attributions"):
        from compgraph.data.buffers import open_buffer

        return open_buffer(result.manifest_path).sites
    if result.kind == "test":
        return store.read_table(result.file(f"{result.summary['tables'][0]}.parquet"))
    if result.path.suffix == ".parquet":
        return store.read_table(result.path)
    if result.kind == "pairs" and (result.path / "items.parquet").is_file():
        return store.read_table(result.path / "items.parquet")
    return None


def _print_table(console: Console, table: pd.DataFrame) -> None:
    """As many columns as fit."""
    from rich.table import Table

    cells = {str(name): [_cell(value) for value in table[name].tolist()] for name in table.columns}
    shown, width = Table(box=None, header_style="bold", pad_edge=False), 0
    names: list[str] = []
    for name, column in cells.items():
        width += max(map(len, [name, *column])) + 2
        if width > console.width and names:
            break
        names.append(name)
        shown.add_column(name, no_wrap=True)
    for row in zip(*(cells[name] for name in names), strict=True):
        shown.add_row(*row)
    console.print(shown)
    if len(names) < len(cells):
        console.print(f"… and {len(cells) - len(names)} more columns: {', '.join(list(cells)[len(names) :])}")


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= CELL else text[: CELL - 1] + "…"
