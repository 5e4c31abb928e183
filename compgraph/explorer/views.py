"""What a page shows: graphs on common nodes, curves, groupings of the nodes, examples."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compgraph.errors import GraphError
from compgraph.explorer.placing import place_nodes

if TYPE_CHECKING:
    import pandas as pd

    from compgraph.explorer.examples import Examples
    from compgraph.graph import ComputationalGraph

MOST_EDGES = 200_000
"""Edges of one graph in a page; of larger graphs the strongest, and the page says so."""
MOST_IN_ALL = 2_000_000
"""Edges of all graphs of a page, shared evenly between graphs."""


@dataclass(frozen=True)
class Curve:
    """A faithfulness curve of a graph.

    Attributes
    ----------
    name
        What was run, as `edge ablation, baseline counterfactual`.
    table
        Columns of an evaluation (`task`, `metric`, `fraction`, `n_edges`, `faithfulness`, `low`, `high`; with random
        circuits `null_mean`, `null_low`, `null_high`, `p`).
    """

    name: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Grouping:
    """A division of the nodes: blocks of a level, communities, regions.

    Attributes
    ----------
    name
        As shown.
    groups
        Name of a node -> its group; nodes without one are missing.
    view
        Key of the view it was made from, if it belongs to one alone.
    """

    name: str
    groups: Mapping[str, str]
    view: str = ""


@dataclass(frozen=True)
class View:
    """One graph of a page.

    Attributes
    ----------
    graph
        Its nodes are found in the page's by name.
    method
        Entry or method, as shown.
    checkpoint
        As shown; empty if there is none.
    curves
        Its faithfulness curves; the first is shown first.
    digest
        Of the result it was read from; empty if there is none.
    """

    graph: ComputationalGraph
    method: str = ""
    checkpoint: str = ""
    curves: Sequence[Curve] = ()
    digest: str = ""

    @property
    def key(self) -> str:
        """Names the view within a page and in its link."""
        return "/".join(part for part in (self.checkpoint, self.graph.kind, self.method) if part)


@dataclass(frozen=True)
class Texts:
    """Items in words: number -> (task, text of each position), and the class names of images.

    Attributes
    ----------
    task
        Number of an item -> its task or class.
    tokens
        Number of an item -> text of each position.
    images
        Number of an item -> uint8 [height, width] or [height, width, 3].
    """

    task: Mapping[int, str] = field(default_factory=dict)
    tokens: Mapping[int, Sequence[str]] = field(default_factory=dict)
    images: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """Everything that one page holds.

    Attributes
    ----------
    title
        Headline.
    views
        At least one; the first has the page's nodes, is shown first and decides their places.
    groupings
        Divisions of the nodes.
    task_share
        Name of a node -> task -> its share of the node's attribution; empty if unknown.
    examples
        Several kinds can be given.
    texts
        The items that examples name.
    notes
        Sentences about what is not shown.
    """

    title: str
    views: Sequence[View]
    groupings: Sequence[Grouping] = ()
    task_share: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    examples: Sequence[Examples] = ()
    texts: Texts = field(default_factory=Texts)
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, as the page's program reads it; arrays are base64 of little-endian numbers.

        Raises
        ------
        GraphError
            If there is no view, two have the same key, or one has no node in common with the first.
        """
        if not self.views:
            raise GraphError("a page needs at least one graph")
        for first, second in itertools.combinations(self.views, 2):
            if first.key == second.key:
                raise GraphError(f"two graphs of the page are called {first.key!r}; give them other names")
        graph = self.views[0].graph
        number = {name: index for index, name in enumerate(graph.node_names)}
        notes = list(self.notes)
        most = min(MOST_EDGES, MOST_IN_ALL // len(self.views))
        return {
            "format": 1,
            "title": self.title,
            "nodes": _nodes(graph),
            "views": [_view(view, number, notes, most) for view in self.views],
            "groupings": [_grouping(one, number) for one in self.groupings],
            "tasks": _tasks(self.task_share, number),
            "examples": [_examples(one, number) for one in self.examples],
            "items": _items(self.texts, self.examples, number),
            "notes": notes,
        }


def packed(values: NDArray[Any], kind: str) -> dict[str, str]:
    """Numbers as text: `kind` is a numpy type (`f4`, `u4`, `u2`, `i4`, `u1`)."""
    data = np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()
    return {"type": kind, "data": base64.b64encode(data).decode("ascii")}


def _nodes(graph: ComputationalGraph) -> dict[str, Any]:
    columns = graph.node_columns
    x, row = place_nodes(columns["level"], columns["site"], graph.source, graph.target, graph.weight)
    return {
        "name": list(graph.node_names),
        "site": [str(site) for site in columns["site"]],
        "size": packed(columns["size"], "u4"),
        "level": packed(columns["level"], "i4"),
        "x": packed(x, "f4"),
        "row": packed(row, "u4"),
    }


def _view(view: View, number: Mapping[str, int], notes: list[str], most: int) -> dict[str, Any]:
    graph = view.graph
    to_page = np.array([number.get(name, -1) for name in graph.node_names], dtype=np.int64)
    if not (to_page >= 0).any():
        raise GraphError(f"the graph {view.key!r} has no node in common with the page's first graph")
    source, target = to_page[graph.source], to_page[graph.target]
    both = np.flatnonzero((source >= 0) & (target >= 0))
    order = both[np.argsort(-np.abs(graph.weight[both]), kind="stable")][:most]
    missing = [name for name in graph.node_names if name not in number]
    if missing:
        notes.append(f"{view.key}: {len(missing):,} of its nodes are not nodes of the first graph, and not shown.")
    if len(order) < len(both):
        notes.append(f"{view.key}: the {len(order):,} strongest of {len(both):,} edges are in this page.")
    columns = graph.columns
    extra = {name: packed(columns[name][order], "f4") for name in ("stderr", "z", "q") if name in columns}
    return {
        "key": view.key,
        "kind": graph.kind,
        "method": view.method,
        "checkpoint": view.checkpoint,
        "digest": view.digest,
        "directed": graph.directed,
        "channels": list(graph.channels),
        "total": len(both),
        "source": packed(source[order], "u4"),
        "target": packed(target[order], "u4"),
        "channel": packed(graph.channel[order], "u1"),
        "weight": packed(graph.weight[order], "f4"),
        "columns": extra,
        "inputs": _ends(graph, to_page, "inputs"),
        "outputs": _ends(graph, to_page, "outputs"),
        "curves": [_curve(curve) for curve in view.curves],
    }


def _ends(graph: ComputationalGraph, to_page: NDArray[np.int64], which: str) -> list[int]:
    """Nodes where paths begin or end; none for graphs that have no direction or architecture."""
    if not graph.directed or graph.architecture is None:
        return []
    return [int(node) for node in to_page[getattr(graph, which)] if node >= 0]


CURVE_COLUMNS = ("fraction", "n_edges", "n_nodes", "value", "faithfulness", "low", "high", "null_mean", "null_low",
                 "null_high", "p")  # fmt: skip


def _curve(curve: Curve) -> dict[str, Any]:
    table = curve.table
    columns = [name for name in CURVE_COLUMNS if name in table]
    series = []
    if "true" in table:  # confusion of classes is no curve
        table = table[table["true"].isna()]
    for (task, metric), rows in table.groupby(["task", "metric"], sort=False, observed=True):
        ordered = rows.sort_values("fraction", kind="stable")
        points = {name: [_number(value) for value in ordered[name]] for name in columns}
        series.append({"task": str(task), "metric": str(metric), "points": points})
    return {"name": curve.name, "series": series}


def _number(value: Any) -> float | int | None:
    """JSON has neither NaN nor infinity."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(value) if np.isfinite(value) else None


def _grouping(one: Grouping, number: Mapping[str, int]) -> dict[str, Any]:
    names = list(dict.fromkeys(one.groups.values()))
    index = {name: position for position, name in enumerate(names)}
    label = np.full(len(number), -1)
    for node, group in one.groups.items():
        if node in number:
            label[number[node]] = index[group]
    return {"name": one.name, "view": one.view, "groups": names, "label": packed(label, "i4")}


def _tasks(share: Mapping[str, Mapping[str, float]], number: Mapping[str, int]) -> dict[str, Any] | None:
    names = sorted({task for shares in share.values() for task in shares})
    if len(names) < 2:
        return None
    values = np.zeros((len(number), len(names)))
    for node, shares in share.items():
        if node in number:
            values[number[node]] = [shares.get(task, 0.0) for task in names]
    return {"names": names, "share": packed(values, "f4")}


def _examples(examples: Examples, number: Mapping[str, int]) -> dict[str, Any]:
    nodes = {}
    for name, found in examples.nodes.items():
        if name in number and found:
            nodes[number[name]] = [
                {
                    "item": one.item,
                    "peak": float(f"{one.peak:.4g}"),
                    "position": one.position.tolist(),
                    "value": [float(f"{value:.3g}") for value in one.value],
                    "place": [round(part, 3) for part in one.place],
                }
                for one in found
            ]
    return {"quantity": examples.quantity, "nodes": nodes, "looked": examples.n_items}


def _items(texts: Texts, examples: Sequence[Examples], number: Mapping[str, int]) -> dict[str, Any]:
    """Only the items that are shown."""
    used = {one.item for kind in examples for name, found in kind.nodes.items() if name in number for one in found}
    items: dict[str, Any] = {}
    for item in sorted(used):
        entry: dict[str, Any] = {"task": texts.task.get(item, "")}
        if item in texts.tokens:
            entry["tokens"] = list(texts.tokens[item])
        if item in texts.images:
            image = texts.images[item]
            entry["image"] = {"shape": list(image.shape), **packed(image, "u1")}
        items[str(item)] = entry
    return items
