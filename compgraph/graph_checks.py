"""What makes columns a graph: the checks of `ComputationalGraph`, and which edges two graphs share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture
from compgraph.errors import GraphError
from compgraph.partition import NodeColumns, Partition

if TYPE_CHECKING:
    from compgraph.graph import ComputationalGraph

EDGE_COLUMNS = ("source", "target", "channel", "weight")
NODE_COLUMNS = ("name", "site", "label", "size", "level")
KINDS = ("effective", "structural", "functional", "generic")

_NODE_TYPES: dict[str, type[np.generic]] = {"label": np.int32, "size": np.int64, "level": np.int32}


# ---- nodes --------------------------------------------------------------------------------------------


def node_columns(nodes: Any, architecture: Architecture | None) -> NodeColumns:
    """Columns `name`, `site`, `label`, `size`, `level` from any of the forms that are accepted for nodes."""
    if isinstance(nodes, Partition):
        return nodes.nodes(architecture)
    given = nodes if isinstance(nodes, Mapping) or hasattr(nodes, "columns") else {"name": list(nodes)}
    if "name" not in given:
        raise GraphError(f"graph: nodes need a column 'name'; there are {', '.join(map(str, given))}")
    n = len(given["name"])
    columns: NodeColumns = {"name": _texts(given["name"])}
    columns["site"] = _texts(given["site"]) if "site" in given else _texts([""] * n)
    for name, kind in _NODE_TYPES.items():
        default = np.full(n, 1 if name == "size" else 0)
        values = np.asarray(given[name]) if name in given else default
        if len(values) and not np.issubdtype(values.dtype, np.integer):
            raise GraphError(f"graph: node column {name!r} must hold integers, not {values.dtype}")
        columns[name] = values.astype(kind)
    if wrong := [name for name, values in columns.items() if values.shape != (n,)]:
        raise GraphError(f"graph: node column {wrong[0]!r} has shape {columns[wrong[0]].shape}, not ({n},)")
    _check_unique(columns["name"])
    return columns


def further_node_columns(given: Mapping[str, npt.ArrayLike], nodes: NodeColumns) -> NodeColumns:
    """Columns of numbers beside those that every table of nodes has, copied."""
    found: NodeColumns = {}
    for name, column in given.items():
        values = np.array(column)
        if name in NODE_COLUMNS:
            raise GraphError(f"graph: the node column {name!r} is given with the nodes, not in node_columns")
        if values.shape != nodes["name"].shape:
            raise GraphError(f"graph: node column {name!r} has shape {values.shape}, not {nodes['name'].shape}")
        if values.dtype.kind not in "biuf":
            raise GraphError(f"graph: node column {name!r} must hold numbers, not {values.dtype}")
        found[str(name)] = values
    return found


def _texts(values: Any) -> np.ndarray:
    texts = [str(value) for value in values]
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def _check_unique(names: np.ndarray) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise GraphError(f"graph: node name {name!r} is used twice")
        seen.add(name)


def check_partition(nodes: NodeColumns, partition: Partition | None) -> None:
    """Every node must be a part of the partition that the graph carries."""
    if partition is None or len(nodes["name"]) == partition.n_nodes == 0:
        return
    known = set(partition.node_names)
    for name in nodes["name"]:
        if name not in known:
            raise GraphError(f"graph: node {name!r} is no part of the graph's partition ({partition!r})")


# ---- edges --------------------------------------------------------------------------------------------


def edge_columns(
    source: npt.ArrayLike,
    target: npt.ArrayLike,
    channel: npt.ArrayLike | None,
    weight: npt.ArrayLike,
    columns: Mapping[str, npt.ArrayLike],
    directed: bool,
) -> dict[str, np.ndarray]:
    """Vectors of one length in their proper types; undirected edges turned so that source < target."""
    strength = np.asarray(weight)
    if not np.issubdtype(strength.dtype, np.floating):
        if strength.dtype != bool and not np.issubdtype(strength.dtype, np.integer):
            raise GraphError(f"graph: weights must be real numbers, not {strength.dtype}")
        strength = strength.astype(np.float64)
    if strength.dtype not in (np.float32, np.float64):
        strength = strength.astype(np.float64)
    edges = {
        "source": _integers("source", source, np.int32),
        "target": _integers("target", target, np.int32),
        "channel": np.zeros(strength.shape, np.int8)
        if channel is None
        else _integers("channel", channel, np.int8),
        "weight": strength.view(),
    }
    if not directed and edges["source"].shape == edges["target"].shape:
        low, high = np.minimum(edges["source"], edges["target"]), np.maximum(edges["source"], edges["target"])
        edges["source"], edges["target"] = low, high
    for name, values in columns.items():
        if name in EDGE_COLUMNS:
            raise GraphError(f"graph: the column {name!r} is given by its own argument, not in columns")
        edges[str(name)] = np.asarray(values).view()
    for name, values in edges.items():
        if values.shape != (strength.size,):
            raise GraphError(f"graph: edge column {name!r} has shape {values.shape}, not ({strength.size},)")
    return edges


def _integers(name: str, values: npt.ArrayLike, kind: type[np.signedinteger[Any]]) -> np.ndarray:
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(array.shape, kind)
    if not np.issubdtype(array.dtype, np.integer):
        raise GraphError(f"graph: edge column {name!r} must hold integers, not {array.dtype}")
    if array.dtype != kind and (array.min() < np.iinfo(kind).min or array.max() > np.iinfo(kind).max):
        raise GraphError(f"graph: edge column {name!r} holds {array.min()} … {array.max()}")
    return array.astype(kind, copy=False).view()


def check_edges(
    edges: Mapping[str, np.ndarray], names: np.ndarray, channels: tuple[str, ...], directed: bool
) -> None:
    """Ranges, finite weights, no edge twice, none from a node to itself."""
    if not channels or len(set(channels)) != len(channels) or len(channels) > 127:
        raise GraphError(f"graph: channels must be 1 to 127 different names, not {channels!r}")
    for name, bound, what in (
        ("source", len(names), "nodes"),
        ("target", len(names), "nodes"),
        ("channel", len(channels), "channels"),
    ):
        values = edges[name]
        if values.size and (values.min() < 0 or values.max() >= bound):
            first = int(np.flatnonzero((values < 0) | (values >= bound))[0])
            raise GraphError(f"graph: edge {first} has {name} {values[first]}, but there are {bound} {what}")
    for wrong, problem in (
        (~np.isfinite(edges["weight"]), "has a weight that is not finite"),
        (edges["source"] == edges["target"], "joins a node to itself"),
    ):
        if wrong.any():
            raise GraphError(_edge_message(edges, names, channels, int(np.argmax(wrong)), problem))
    if (again := _first_repeat(edges, len(names), len(channels), directed)) is not None:
        raise GraphError(_edge_message(edges, names, channels, again, "is listed twice"))


def _edge_message(
    edges: Mapping[str, np.ndarray], names: np.ndarray, channels: tuple[str, ...], at: int, problem: str
) -> str:
    source, target = names[edges["source"][at]], names[edges["target"][at]]
    channel = channels[edges["channel"][at]]
    via = f" ({channel})" if channel else ""
    weight = edges["weight"][at]
    return f"graph: edge {at}, {source} -> {target}{via}, {problem} (weight {weight})"


def _edge_keys(
    source: np.ndarray, target: np.ndarray, channel: np.ndarray, n_nodes: int, n_channels: int, directed: bool
) -> npt.NDArray[np.int64]:
    """A number per edge that no other edge has, ascending in the usual order of edges."""
    major, minor = (target, source) if directed else (source, target)
    return (major.astype(np.int64) * n_channels + channel) * n_nodes + minor


def _first_repeat(
    edges: Mapping[str, np.ndarray], n_nodes: int, n_channels: int, directed: bool
) -> int | None:
    keys = _edge_keys(edges["source"], edges["target"], edges["channel"], n_nodes, n_channels, directed)
    if (keys[1:] > keys[:-1]).all():  # the canonical order: nothing to sort
        return None
    order = np.argsort(keys, kind="stable")
    repeats = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    return int(order[repeats + 1].min()) if repeats.size else None


def check_kind(kind: str) -> None:
    """The kind of connectivity."""
    if kind not in KINDS:
        raise GraphError(f"graph: kind {kind!r} is not one of {', '.join(KINDS)}")


def json_object(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of the attributes as JSON gives them back."""
    try:
        copy = json.loads(json.dumps(dict(attributes or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise GraphError(f"graph: attributes must be plain JSON values: {error}") from error
    return dict(copy)


def square_matrix(weights: npt.ArrayLike, symmetric: bool) -> npt.NDArray[np.floating[Any]]:
    """A square float matrix, symmetric to rounding if asked."""
    matrix = np.asarray(weights)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise GraphError(f"graph: a matrix of weights must be square, not of shape {matrix.shape}")
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if symmetric and matrix.size:
        gap = np.abs(matrix - matrix.T)
        np.fill_diagonal(gap, 0)
        i, j = np.unravel_index(int(np.nanargmax(gap)) if np.isfinite(gap).any() else 0, gap.shape)
        scale = np.abs(matrix[np.isfinite(matrix)]).max(initial=0)
        if gap[i, j] > 1e4 * np.finfo(matrix.dtype).eps * scale:
            raise GraphError(
                f"graph: an undirected matrix must be symmetric, but [{i}, {j}] is {matrix[i, j]} and "
                f"[{j}, {i}] is {matrix[j, i]}; pass directed=True to keep both"
            )
    return matrix


# ---- comparison ---------------------------------------------------------------------------------------


def edges_within(graph: ComputationalGraph, other: ComputationalGraph) -> npt.NDArray[np.bool_]:
    """Which edges of `graph` are in `other`, matched by node and channel names."""
    if graph.directed != other.directed:
        raise GraphError("graph: a directed and an undirected graph have no edges in common")
    nodes = _positions(other.node_names, graph.node_names, "node")
    channels = _positions(other.channels, graph.channels, "channel")
    n, c, directed = graph.n_nodes, len(graph.channels), graph.directed
    here = _edge_keys(graph.source, graph.target, graph.channel, n, c, directed)
    ends = nodes[other.source], nodes[other.target]
    if not graph.directed:
        ends = np.minimum(*ends), np.maximum(*ends)
    there = _edge_keys(*ends, channels[other.channel], n, c, directed)
    mask = np.isin(here, there)
    if int(mask.sum()) != other.n_edges:
        at = int(np.flatnonzero(~np.isin(there, here))[0])
        names = np.array(other.node_names, dtype=object)
        edges = {name: getattr(other, name) for name in EDGE_COLUMNS}
        raise GraphError(
            _edge_message(edges, names, other.channels, at, "is not an edge of the larger graph")
        )
    return mask


def _positions(names: tuple[str, ...], among: tuple[str, ...], what: str) -> npt.NDArray[np.int64]:
    place = {name: k for k, name in enumerate(among)}
    if missing := [name for name in names if name not in place]:
        raise GraphError(f"graph: {what} {missing[0]!r} of the smaller graph is not in the larger one")
    return np.array([place[name] for name in names], dtype=np.int64)
