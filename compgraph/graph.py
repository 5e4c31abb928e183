"""ComputationalGraph: nodes with names, weighted edges as arrays, and what people ask of them.

Edges are columns of numbers (10^7 of them are fine); tables with names, and the graphs of other libraries,
are made only when asked for.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from compgraph import catalogue, graph_checks, graph_export, graph_io
from compgraph.architectural import architectural_edges, edge_channels, input_sites, output_sites
from compgraph.architecture import Architecture
from compgraph.errors import GraphError
from compgraph.graph_select import Order, on_path, strength, strongest, sums_by_node
from compgraph.partition import HasArchitecture, NodeColumns, Partition
from compgraph.patterns import with_patterns

if TYPE_CHECKING:
    import graph_tool
    import igraph
    import networkx
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["ComputationalGraph", "architectural_edges", "edge_channels"]


class ComputationalGraph:
    """A weighted graph over the nodes of a partition.

    Parameters
    ----------
    nodes
        A `Partition` (every part a node); or columns `name`, and optionally `site`, `label`, `size`, `level`
        (a mapping of arrays or a DataFrame); or a sequence of names. Names are unique.
    source, target
        Node numbers, int [E]. An undirected edge is listed once, in either direction;
        source < target is kept.
    channel
        Index into `channels`, int [E]; None for all 0.
    weight
        float [E], finite; float32 is kept, all else becomes float64.
    channels
        Names of the ways a target reads: ("",) or ("", "q", "k", "v").
    directed
        False for functional graphs.
    kind
        `effective`, `structural`, `functional` or `generic`.
    attributes
        What else is known, JSON-able.
    columns
        Further columns of the edge table, name -> array [E] (`stderr`, `z`, …).
    node_columns
        Further columns of the node table, name -> numbers [n_nodes] (sums over edges that are not kept, …).
    partition
        What the nodes are parts of. The graph may have fewer nodes (after `prune`, or without constant
        units).
    architecture
        What may read what; needed by `inputs`, `outputs` and `prune`.

    Raises
    ------
    GraphError
        If the columns do not fit together, a weight is not finite, an edge is listed twice or joins a node to
        itself; the message names the first such edge.

    Notes
    -----
    Arrays given in the right type are not copied; they are handed out read-only. Graphs are never changed:
    `top`, `threshold`, `subgraph` and `prune` return new ones and record what they did in
    `attributes["selection"]`.
    """

    def __init__(
        self,
        nodes: Partition | Mapping[str, Any] | pd.DataFrame | Sequence[str],
        source: npt.ArrayLike,
        target: npt.ArrayLike,
        channel: npt.ArrayLike | None,
        weight: npt.ArrayLike,
        *,
        channels: Sequence[str] = ("",),
        directed: bool = True,
        kind: str = "generic",
        attributes: Mapping[str, Any] | None = None,
        columns: Mapping[str, npt.ArrayLike] | None = None,
        node_columns: Mapping[str, npt.ArrayLike] | None = None,
        partition: Partition | None = None,
        architecture: Architecture | None = None,
    ) -> None:
        if isinstance(nodes, Partition):
            partition = partition or nodes
        table = graph_checks.node_columns(nodes, architecture)
        table |= graph_checks.further_node_columns(node_columns or {}, table)
        edges = graph_checks.edge_columns(source, target, channel, weight, columns or {}, directed)
        names = tuple(str(name) for name in channels)
        graph_checks.check_edges(edges, table["name"], names, directed)
        graph_checks.check_kind(kind)
        graph_checks.check_partition(table, partition)
        self._set(
            table, edges, names, bool(directed), kind, graph_checks.json_object(attributes), partition,
            architecture,
        )  # fmt: skip

    def _set(
        self,
        nodes: NodeColumns,
        edges: dict[str, npt.NDArray[Any]],
        channels: tuple[str, ...],
        directed: bool,
        kind: str,
        attributes: dict[str, Any],
        partition: Partition | None,
        architecture: Architecture | None,
    ) -> None:
        for array in (*nodes.values(), *edges.values()):
            array.flags.writeable = False
        self._nodes, self._edges = nodes, edges
        self.channels, self.directed, self.kind = channels, directed, kind
        self.attributes, self.partition, self.architecture = attributes, partition, architecture

    @classmethod
    def from_matrix(
        cls,
        weights: npt.ArrayLike,
        names: Sequence[str] | None = None,
        directed: bool = False,
        drop_zeros: bool = False,
        **options: Any,
    ) -> ComputationalGraph:
        """Graph of a square matrix: `weights[i, j]` is the weight of i -> j; the diagonal is not read.

        Every entry off the diagonal is an edge, zeros too unless `drop_zeros`. An undirected matrix must be
        symmetric (to rounding); its upper triangle is read row by row.

        Parameters
        ----------
        weights
            float [n, n].
        names
            n unique names; default `node.0`, `node.1`, …
        directed, drop_zeros
            See above.
        options
            Further arguments of `ComputationalGraph` (`kind`, `attributes`, …; `nodes` instead of `names`).

        Raises
        ------
        GraphError
            If the matrix is not square, not symmetric though undirected, or has an edge that is not finite.
        """
        matrix = graph_checks.square_matrix(weights, symmetric=not directed)
        n = len(matrix)
        nodes = options.pop("nodes", None)
        if nodes is None:
            nodes = [f"node.{k}" for k in range(n)] if names is None else [str(name) for name in names]
        if directed:
            target, source = np.nonzero(~np.eye(n, dtype=bool))
        else:
            source, target = np.triu_indices(n, k=1)
        weight = matrix[source, target]
        if drop_zeros:
            keep = weight != 0
            source, target, weight = source[keep], target[keep], weight[keep]
        graph = cls(nodes, source, target, None, weight, directed=directed, **options)
        if graph.n_nodes != n:
            raise GraphError(f"graph: the matrix has {n} rows, but {graph.n_nodes} nodes are named")
        return graph

    @classmethod
    def from_architecture(
        cls,
        net: HasArchitecture,
        partition: Partition,
        weight: npt.ArrayLike | None = None,
        *,
        split_qkv: bool = True,
        **options: Any,
    ) -> ComputationalGraph:
        """All edges the architecture allows, in the canonical order, with the given weights (default 1).

        Where parts are finer than heads, the graph has pattern nodes too (`compgraph.patterns`).
        """
        source, target, channel = architectural_edges(net, partition, split_qkv)
        architecture, partition = with_patterns(net, partition)
        return cls(
            partition,
            source,
            target,
            channel,
            np.ones(len(source)) if weight is None else weight,
            channels=edge_channels(architecture, split_qkv),
            architecture=architecture,
            **options,
        )

    # ---- columns and tables ---------------------------------------------------------------------------

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self._nodes["name"])

    @property
    def n_edges(self) -> int:
        """Number of edges; an edge in three channels counts three times."""
        return len(self._edges["weight"])

    @property
    def source(self) -> npt.NDArray[np.int32]:
        """Source node of each edge, int32 [E], read-only."""
        return self._edges["source"]

    @property
    def target(self) -> npt.NDArray[np.int32]:
        """Target node of each edge, int32 [E], read-only."""
        return self._edges["target"]

    @property
    def channel(self) -> npt.NDArray[np.int8]:
        """Index into `channels` of each edge, int8 [E], read-only."""
        return self._edges["channel"]

    @property
    def weight(self) -> npt.NDArray[np.floating[Any]]:
        """Weight of each edge, float [E], read-only."""
        return self._edges["weight"]

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The further columns of the edges, name -> array [E]."""
        return {name: values for name, values in self._edges.items() if name not in graph_checks.EDGE_COLUMNS}

    @property
    def node_columns(self) -> NodeColumns:
        """`name`, `site`, `label`, `size`, `level` and further columns as arrays [n_nodes], without pandas."""
        return dict(self._nodes)

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """Names of the nodes in order."""
        return tuple(self._nodes["name"])

    @cached_property
    def nodes(self) -> pd.DataFrame:
        """Table of nodes: name, site, label, size (number of units), level, further columns."""
        import pandas as pd

        return pd.DataFrame(dict(self._nodes))

    @cached_property
    def edges(self) -> pd.DataFrame:
        """Table of edges: source, target, channel (categories are the names), weight, further columns."""
        import pandas as pd

        names = pd.Index(self._nodes["name"])
        named = {
            "source": pd.Categorical.from_codes(self.source, categories=names),
            "target": pd.Categorical.from_codes(self.target, categories=names),
            "channel": pd.Categorical.from_codes(self.channel, categories=pd.Index(self.channels)),
        }
        return pd.DataFrame(named | {"weight": self.weight} | self.columns)

    @cached_property
    def inputs(self) -> npt.NDArray[np.int64]:
        """Numbers of the nodes whose site reads no other (`embed`, `input`), int64."""
        return self._at_sites(input_sites(self._architecture_for("inputs")))

    @cached_property
    def outputs(self) -> npt.NDArray[np.int64]:
        """Numbers of the nodes whose site no other reads (`logits`), int64."""
        return self._at_sites(output_sites(self._architecture_for("outputs")))

    def _at_sites(self, sites: frozenset[str]) -> npt.NDArray[np.int64]:
        return np.flatnonzero([site in sites for site in self._nodes["site"]])

    def _architecture_for(self, what: str) -> Architecture:
        if not self.directed:
            raise GraphError(f"graph: {what} needs directed edges; this {self.kind} graph is undirected")
        if self.architecture is None:
            raise GraphError(f"graph: {what} needs to know input and output; this graph has no architecture")
        return self.architecture

    def node_scores(self, by: Literal["out", "in"] = "out", absolute: bool = False) -> npt.NDArray[np.float64]:
        """Sum of the weights of each node's edges, float64 [n_nodes], in the order of `nodes`.

        Under `eap` the outgoing sum is the node's own attribution (`compgraph.node_scores`).

        Parameters
        ----------
        by
            `out` (edges the node is the source of) or `in`. An undirected edge counts for both its nodes.
        absolute
            Sum |weight|.
        """
        if by not in ("out", "in"):
            raise ValueError(f"by must be 'out' or 'in', not {by!r}")
        weight = strength(self.weight, "abs") if absolute else self.weight
        ends = (by,) if self.directed else ("out", "in")
        return sums_by_node(self.source, self.target, weight, self.n_nodes, ends)

    # ---- selection ------------------------------------------------------------------------------------

    def top_mask(self, k: int, by: Order = "abs") -> npt.NDArray[np.bool_]:
        """Which edges are the k strongest, bool [E]; all of them if there are fewer than k.

        Parameters
        ----------
        k
            How many, at least 0.
        by
            `abs` (largest |weight|), `signed` (largest weight) or `negative` (most negative weight first: the
            order that circuit-discovery benchmarks call signed, since they score the loss).

        Notes
        -----
        Of edges with equal weight the earlier ones are taken.
        """
        return strongest(strength(self.weight, by), operator.index(k))

    def top(self, k: int, by: Order = "abs") -> ComputationalGraph:
        """The k strongest edges, in their old order, with all nodes (see `top_mask`)."""
        return self._select(self.top_mask(k, by), {"top": int(k), "by": by})

    def threshold(self, t: float, by: Order = "abs") -> ComputationalGraph:
        """The edges whose strength (|weight|, weight, or -weight for `negative`) is at least t; all nodes."""
        if not np.isfinite(t):
            raise ValueError(f"t must be finite, not {t}")
        return self._select(strength(self.weight, by) >= t, {"threshold": float(t), "by": by})

    def subgraph(self, edges: npt.ArrayLike) -> ComputationalGraph:
        """The edges where a boolean array [E], in the order of `edges`, is true; all nodes.

        Raises
        ------
        GraphError
            If the mask is not boolean or not one entry an edge.
        """
        mask = np.asarray(edges)
        if mask.dtype != bool or mask.shape != (self.n_edges,):
            raise GraphError(
                f"graph: a mask must be boolean of shape ({self.n_edges},), not {mask.dtype} of {mask.shape}"
            )
        return self._select(mask, {"mask": int(mask.sum())})

    def prune(self) -> ComputationalGraph:
        """Without the nodes, and their edges, that are on no path from an input to an output.

        For a layered graph this is the fixed point of dropping nodes that lack in-edges or out-edges, where
        inputs need no in-edge and outputs no out-edge. Channels do not matter: a head with only a `k` edge
        left has an input. If no path is left, neither is a node.

        Raises
        ------
        GraphError
            For an undirected graph, or one without an architecture, where input and output mean nothing.
        """
        self._architecture_for("prune")
        alive = on_path(self.source, self.target, self.n_nodes, self.inputs, self.outputs)
        return self._select(alive[self.source] & alive[self.target], {"prune": True}, alive)

    def mask_of(self, other: ComputationalGraph) -> npt.NDArray[np.bool_]:
        """Which edges of this graph are edges of `other` (a pruned circuit, say), by names; bool [E].

        Raises
        ------
        GraphError
            Naming the first edge of `other` that is not an edge here.
        """
        return graph_checks.edges_within(self, other)

    def _select(
        self,
        edges: npt.NDArray[np.bool_],
        record: Mapping[str, Any],
        nodes: npt.NDArray[np.bool_] | None = None,
    ) -> ComputationalGraph:
        kept = {name: values[edges] for name, values in self._edges.items()}
        node_columns = self._nodes
        if nodes is not None and not nodes.all():
            number = (np.cumsum(nodes) - 1).astype(np.int32)
            kept["source"], kept["target"] = number[kept["source"]], number[kept["target"]]
            node_columns = {name: values[nodes] for name, values in self._nodes.items()}
        attributes = json.loads(json.dumps(self.attributes))
        attributes["selection"] = [*attributes.get("selection", []), dict(record)]
        graph = object.__new__(type(self))
        graph._set(
            dict(node_columns), kept, self.channels, self.directed, self.kind, attributes, self.partition,
            self.architecture,
        )  # fmt: skip
        return graph

    # ---- other forms ----------------------------------------------------------------------------------

    def matrix(
        self, signed: bool = True, reduce: Literal["sum", "max", "mean"] = "sum"
    ) -> npt.NDArray[np.float64]:
        """Dense weights, float64 [n, n]: row source, column target, 0 where there is no edge.

        Parameters
        ----------
        signed
            False takes absolute values, before channels are joined.
        reduce
            How the channels of a pair are joined: `sum`, `max` (the one of largest magnitude, with its sign)
            or `mean` (over the channels that are there).

        Notes
        -----
        Symmetric for an undirected graph. Takes 8 n² bytes.
        """
        return graph_export.dense_matrix(self, signed, reduce)

    def to_networkx(self) -> networkx.Graph:
        """MultiDiGraph keyed by channel where there are channels, else DiGraph or Graph; nodes are names."""
        return graph_export.to_networkx(self)

    def to_igraph(self) -> igraph.Graph:
        """Vertices and edges carry the columns of `nodes` and `edges` as attributes."""
        return graph_export.to_igraph(self)

    def to_graph_tool(self) -> graph_tool.Graph:
        """Vertices and edges carry the columns of `nodes` and `edges` as internal property maps.

        Raises
        ------
        MissingDependency
            If graph-tool is not installed.
        """
        return graph_export.to_graph_tool(self)

    def save(self, path: str | Path) -> None:
        """Write a folder: `nodes.parquet`, `edges.parquet`, `graph.json`, `partition/`.

        The same graph gives the same bytes. A graph that is already there is replaced once the new one is
        complete.

        Raises
        ------
        GraphError
            If something that is not a graph is in the way.
        """
        graph_io.write(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> ComputationalGraph:
        """Read what `save` wrote, checking it as the constructor does.

        Raises
        ------
        GraphError
            If the folder is not a graph, or is torn; the message names the file.
        """
        arguments = graph_io.read(Path(path))
        try:
            return cls(**arguments)
        except (GraphError, TypeError, ValueError, AttributeError) as error:
            raise GraphError(f"{path} is not a valid graph: {error}") from error

    def plot(self, **options: Any) -> Figure:
        """The figure of the graph's kind (`compgraph figure structural`, `functional`, `effective`).

        Parameters
        ----------
        options
            Those of the figure: `edges` (how many of the strongest, not of functional graphs), `width` (`single`,
            `double`).

        Raises
        ------
        GraphError
            For a generic graph, which has no figure of its own.
        """
        if self.kind not in catalogue.FIGURES:
            raise GraphError(f"no figure is made for kind {self.kind!r}, but for structural, functional, effective")
        figure: Figure = catalogue.load(catalogue.FIGURES[self.kind])(self, **options)
        return figure

    def __repr__(self) -> str:
        arrow = "directed" if self.directed else "undirected"
        split = f", channels {' '.join(c for c in self.channels if c)}" if len(self.channels) > 1 else ""
        return f"ComputationalGraph({self.kind}, {arrow}: {self.n_nodes} nodes, {self.n_edges} edges{split})"

    def _repr_html_(self) -> str:
        return graph_export.html_summary(self)
