"""A graph in other forms: dense matrix, networkx, igraph, graph-tool, HTML."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.errors import MissingDependency

if TYPE_CHECKING:
    import graph_tool
    import igraph
    import networkx

    from compgraph.graph import ComputationalGraph


def dense_matrix(graph: ComputationalGraph, signed: bool, reduce: str) -> npt.NDArray[np.float64]:
    """See `ComputationalGraph.matrix`."""
    n = graph.n_nodes
    weight = graph.weight.astype(np.float64)
    if not signed:
        weight = np.abs(weight)
    cells = graph.source.astype(np.int64) * n + graph.target
    flat: npt.NDArray[np.float64] = np.zeros(n * n)
    if reduce == "max":
        order = np.argsort(np.abs(weight), kind="stable")  # of several writes to one cell the last one stays
        flat[cells[order]] = weight[order]
    elif reduce in ("sum", "mean"):
        flat += np.bincount(cells, weights=weight, minlength=n * n)
        if reduce == "mean":
            flat /= np.maximum(np.bincount(cells, minlength=n * n), 1)
    else:
        raise ValueError(f"reduce must be 'sum', 'max' or 'mean', not {reduce!r}")
    matrix = flat.reshape(n, n)
    return matrix if graph.directed else matrix + matrix.T


def to_networkx(graph: ComputationalGraph) -> networkx.Graph:
    """See `ComputationalGraph.to_networkx`."""
    import networkx

    multiple = len(graph.channels) > 1
    if graph.directed:
        made = networkx.MultiDiGraph() if multiple else networkx.DiGraph()
    else:
        made = networkx.MultiGraph() if multiple else networkx.Graph()
    made.graph.update({"kind": graph.kind, **graph.attributes})
    columns = {name: values.tolist() for name, values in graph.node_columns.items() if name != "name"}
    for k, name in enumerate(graph.node_names):
        made.add_node(name, **{column: values[k] for column, values in columns.items()})
    names = graph.node_names
    data = {"weight": graph.weight.tolist()} | {k: v.tolist() for k, v in graph.columns.items()}
    rows = (dict(zip(data, values, strict=True)) for values in zip(*data.values(), strict=True))
    ends = zip(graph.source.tolist(), graph.target.tolist(), graph.channel.tolist(), rows, strict=True)
    if multiple:
        made.add_edges_from(
            (names[u], names[v], graph.channels[c], row | {"channel": graph.channels[c]})
            for u, v, c, row in ends
        )
    else:
        made.add_edges_from((names[u], names[v], row) for u, v, _, row in ends)
    return made


def to_igraph(graph: ComputationalGraph) -> igraph.Graph:
    """See `ComputationalGraph.to_igraph`."""
    import igraph

    ends = np.stack([graph.source, graph.target], axis=1).astype(np.int64)
    made = igraph.Graph(n=graph.n_nodes, edges=ends, directed=graph.directed)
    for name, values in graph.node_columns.items():
        made.vs[name] = values.tolist()
    for name, values in {"weight": graph.weight, **graph.columns}.items():
        made.es[name] = values.tolist()
    if len(graph.channels) > 1:
        made.es["channel"] = [graph.channels[code] for code in graph.channel.tolist()]
    made["kind"] = graph.kind
    return made


def to_graph_tool(graph: ComputationalGraph) -> graph_tool.Graph:
    """See `ComputationalGraph.to_graph_tool`."""
    try:
        import graph_tool
    except ImportError as error:
        raise MissingDependency(
            "graph-tool is not installed; get it with `apt install python3-graph-tool` (Debian, for the "
            "system's Python) or `conda install -c conda-forge graph-tool`"
        ) from error
    made = graph_tool.Graph(directed=graph.directed)
    made.add_vertex(graph.n_nodes)
    ends = np.stack([graph.source, graph.target], axis=1).astype(np.int64)
    made.add_edge_list(ends)
    for name, values in graph.node_columns.items():
        kind = "string" if values.dtype == object else _graph_tool_type(values)
        made.vp[name] = made.new_vertex_property(kind, vals=values.tolist() if kind == "string" else values)
    # Property arrays follow the order in which edges were added.
    for name, values in {"weight": graph.weight, "channel": graph.channel, **graph.columns}.items():
        made.ep[name] = made.new_edge_property(_graph_tool_type(values), vals=values)
    made.gp["channels"] = made.new_graph_property("vector<string>", list(graph.channels))
    made.gp["kind"] = made.new_graph_property("string", graph.kind)
    return made


def _graph_tool_type(values: np.ndarray) -> str:
    if np.issubdtype(values.dtype, np.floating):
        return "double"
    if values.dtype == bool:
        return "bool"
    return "int64_t" if values.dtype.itemsize == 8 else "int32_t"


def html_summary(graph: ComputationalGraph, strongest: int = 5) -> str:
    """A line of numbers and the strongest edges, for notebooks."""
    best = graph.top(strongest)
    order = np.argsort(-np.abs(best.weight), kind="stable")
    rows = "".join(_edge_row(best, int(k)) for k in order)
    head = "<tr><th>source</th><th>target</th><th>channel</th><th>weight</th></tr>"
    return f"<p>{html.escape(repr(graph))}</p><table>{head}{rows}</table>"


def _edge_row(graph: ComputationalGraph, at: int) -> str:
    cells: list[Any] = [
        graph.node_names[graph.source[at]],
        graph.node_names[graph.target[at]],
        graph.channels[graph.channel[at]],
        f"{graph.weight[at]:.4g}",
    ]
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"
