"""The folder of a graph: `nodes.parquet`, `edges.parquet`, `graph.json`, and `partition/` if it has one.

Edges hold node numbers, not names, so that 10^7 of them are read and written in a second. Parquet files
are written with zstd (half the size at the same speed), without statistics; their bytes depend on the
graph alone.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.architecture import Architecture
from compgraph.errors import GraphError, MissingDependency, StoreError
from compgraph.formats import other_format
from compgraph.graph_checks import NODE_COLUMNS
from compgraph.partition import Partition
from compgraph.tables import read_arrow

if TYPE_CHECKING:
    from compgraph.graph import ComputationalGraph

FORMAT = 1
ANEW = "make it anew, by compgraph run or the verb that compgraph show names"
_EDGE_TYPES = {"source": "int32", "target": "int32", "channel": "int8"}


def write(graph: ComputationalGraph, folder: Path) -> None:
    """Write beside the final place and swap, so that a graph is never half there."""
    page = json.dumps(_page(graph), sort_keys=True, indent=1, allow_nan=False) + "\n"
    if (
        folder.exists()
        and not (folder / "graph.json").exists()
        and (folder.is_file() or any(folder.iterdir()))
    ):
        raise GraphError(f"{folder} is in the way: it is not a graph that could be replaced")
    partial = folder.with_name(folder.name + ".writing")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        _write_table(
            {name: _plain(values) for name, values in graph.node_columns.items()}, partial / "nodes.parquet"
        )
        edges = {
            "source": graph.source,
            "target": graph.target,
            "channel": graph.channel,
            "weight": graph.weight,
        }
        _write_table({**edges, **graph.columns}, partial / "edges.parquet")
        if graph.partition is not None:
            graph.partition.save(partial / "partition")
        (partial / "graph.json").write_text(page)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def read(folder: Path) -> dict[str, Any]:
    """Arguments of `ComputationalGraph`.

    Raises
    ------
    GraphError
        If a file is missing, unreadable, or disagrees with `graph.json`.
    """
    page = _read_page(folder / "graph.json")
    try:
        nodes = _read_table(folder / "nodes.parquet", int(page["n_nodes"]))
        further = [str(name) for name in page.get("node_columns", [])]  # older graphs lack it
        edges = _read_table(folder / "edges.parquet", int(page["n_edges"]))
        expected = ["source", "target", "channel", "weight", *page["columns"]]
        arguments = {key: page[key] for key in ("channels", "directed", "kind", "attributes")}
        described, digest = page["architecture"], page["partition"]
        architecture = None if described is None else Architecture.from_dict(described)
    except KeyError as error:
        raise GraphError(f"{folder / 'graph.json'} lacks {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise GraphError(f"{folder / 'graph.json'} does not describe a graph: {error}") from error
    if list(edges) != expected:
        raise GraphError(f"{folder / 'edges.parquet'} has columns {list(edges)}, not {expected}")
    if missing := [name for name in further if name not in nodes]:
        raise GraphError(f"{folder / 'nodes.parquet'} has no column {missing[0]!r}, which graph.json lists")
    for name, kind in _EDGE_TYPES.items():
        if edges[name].dtype != kind:
            raise GraphError(
                f"{folder / 'edges.parquet'}: column {name!r} is {edges[name].dtype}, not {kind}"
            )
    partition = Partition.load(folder / "partition") if digest is not None else None
    if partition is not None and partition.digest != digest:
        raise GraphError(f"{folder / 'partition'} is another partition than graph.json was written for")
    return {
        "nodes": nodes,
        "source": edges.pop("source"),
        "target": edges.pop("target"),
        "channel": edges.pop("channel"),
        "weight": edges.pop("weight"),
        "columns": edges,
        "node_columns": {name: nodes.pop(name) for name in further},
        "partition": partition,
        "architecture": architecture,
        **arguments,
    }


def _page(graph: ComputationalGraph) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": graph.kind,
        "directed": graph.directed,
        "channels": list(graph.channels),
        "n_nodes": graph.n_nodes,
        "n_edges": graph.n_edges,
        "columns": list(graph.columns),
        "node_columns": [name for name in graph.node_columns if name not in NODE_COLUMNS],
        "attributes": graph.attributes,
        "architecture": None if graph.architecture is None else graph.architecture.to_dict(),
        "partition": None if graph.partition is None else graph.partition.digest,
    }


def _read_page(path: Path) -> dict[str, Any]:
    try:
        page = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise GraphError(f"{path} is not a readable graph: {error}") from error
    found = page.get("format") if isinstance(page, dict) else None
    if found != FORMAT:
        raise GraphError(other_format(path, "graph", found, FORMAT, ANEW))
    return page


def _plain(values: np.ndarray) -> Any:
    return values.tolist() if values.dtype == object else values


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependency(f"graphs are stored with pyarrow, which cannot be loaded: {error}") from error
    return pyarrow


def _write_table(columns: dict[str, Any], path: Path) -> None:
    arrow = _arrow()
    table = arrow.table({name: arrow.array(values) for name, values in columns.items()})
    arrow.parquet.write_table(
        table,
        path,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        row_group_size=2**20,
        write_page_checksum=True,
    )


def _read_table(path: Path, rows: int) -> dict[str, np.ndarray]:
    _arrow()
    try:
        table = read_arrow(path)
    except StoreError as error:
        raise GraphError(str(error)) from error
    if table.num_rows != rows:
        raise GraphError(f"{path} has {table.num_rows} rows, but graph.json says {rows}")
    return {name: table[name].to_numpy() for name in table.column_names}
