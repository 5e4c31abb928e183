"""Saving what several verbs make: graphs and tables, with the numbers that ``compgraph show`` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compgraph import catalogue

if TYPE_CHECKING:
    import pandas as pd

    from compgraph.cli.console import Call
    from compgraph.graph import ComputationalGraph
    from compgraph.models.network import Network
    from compgraph.store import Result


def method_options(method: catalogue.Entry, entry: Any) -> dict[str, Any]:
    """The options of an entry that belong to its method alone."""
    return {option.name: getattr(entry, option.name) for option in method.options}


def save_graph(
    call: Call, make: Callable[..., ComputationalGraph], output: Path, inputs: Mapping[str, Result]
) -> None:
    """Write a graph as this call's result.

    `make` makes it; where the entry asks for the matrix of all scores it is told `matrix`, and what it writes there
    becomes a folder of the result.
    """
    with call.result(output, "graph", ".graph", inputs=inputs) as draft:
        dtype = getattr(call.entry, "matrix", "none")
        if dtype == "none":
            graph = make()
            graph.save(draft.path)
        else:
            from compgraph.connectivity.blockwise.score_matrix import INSIDE, MatrixInside

            graph = make(matrix=MatrixInside(draft.path / INSIDE, dtype))
            _save_around(graph, draft.path)
        draft.summary.update(
            kind=graph.kind, n_nodes=graph.n_nodes, n_edges=graph.n_edges, channels=list(graph.channels)
        )
        if "passes" in graph.attributes:  # of an effective method, per example
            draft.summary["passes"] = graph.attributes["passes"]


def _save_around(graph: ComputationalGraph, folder: Path) -> None:
    """Save a graph into the folder that its matrix was written to."""
    from compgraph.connectivity.blockwise.score_matrix import INSIDE

    whole = folder.with_name(f"{folder.name}.whole")
    graph.save(whole)
    (folder / INSIDE).rename(whole / INSIDE)
    folder.rmdir()
    whole.rename(folder)


def save_table(
    call: Call,
    table: pd.DataFrame,
    output: Path,
    kind: str,
    inputs: Mapping[str, Result],
    summary: Mapping[str, Any] | None = None,
    notes: Iterable[str] = (),
) -> None:
    """Write a table as this call's result."""
    from compgraph.store import write_table

    with call.result(output, kind, ".parquet", inputs=inputs) as draft:
        write_table(table, draft.path)
        draft.summary.update({"rows": len(table), "columns": list(table.columns)}, **(summary or {}))
        for note in notes:
            draft.warn(note)


def model_summary(net: Network) -> dict[str, Any]:
    """What the manifest of a model says about it.

    ``input_shape`` is that of images, None for prompts; ``tokenizer`` is the digest of its tokenizer, None without one.
    """
    from compgraph.models.size import depth, n_parameters

    sites = net.architecture.sites
    return {
        "kind": net.kind,
        "family": net.family,
        "digest": net.digest,
        "n_parameters": n_parameters(net),
        "depth": depth(net),
        "input_shape": list(sites[0].shape) or None,
        "tokenizer": _tokenizer(net),
        "sites": {site.name: site.n_units for site in sites},
    }


def _tokenizer(net: Network) -> str | None:
    from compgraph.cli.inputs import tokenizer_digest
    from compgraph.errors import ModelError

    try:
        tokenizer = getattr(net, "tokenizer", None)
    except ModelError:  # there is none
        return None
    return None if tokenizer is None else tokenizer_digest(tokenizer)
