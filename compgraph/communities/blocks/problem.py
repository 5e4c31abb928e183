"""What is asked about the blocks of a graph, or of several graphs over the same nodes as layers of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.block_model import BlockModel
from compgraph.communities.blocks.masked import MaskedModel
from compgraph.communities.blocks.observed import Covariate, Observed
from compgraph.communities.blocks.starts import cut
from compgraph.communities.pairs import Integers, Pairs, allowed_pairs
from compgraph.communities.sbm_weights import Evidence, evidence
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.graph_import import as_graph

Graphs = Any
"""Anything that `as_graph` takes, or a mapping, list or tuple of such as layers."""

LAYERS = ("none", "channels")
"""What the edges of one graph are divided by: nothing, or the channel in which they are read."""

DIRECT = "direct"
"""Layer of the edges that are read in no channel: those into MLPs and the logits."""


@dataclass(frozen=True)
class Problem:
    """A graph with the evidence of each of its layers, on common nodes.

    Attributes
    ----------
    names, sites
        Of the nodes.
    node_levels
        int64 [n].
    layers
        Name and evidence of each layer; one nameless layer for a single graph.
    nodes
        Numbers of the nodes that the model can tell something about, int64.
    allowed
        Pairs that could have an edge, bool [n, n]; None where every pair could, or presence is not explained.
    notes
        Sentences that a reader of a result should know.
    presence
        Whether presence is explained where the constraint leaves it open.
    """

    names: tuple[str, ...]
    sites: tuple[str, ...]
    node_levels: Integers
    layers: tuple[tuple[str, Evidence], ...]
    nodes: Integers
    allowed: npt.NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    presence: bool = True

    @property
    def first(self) -> Evidence:
        """The evidence of the first layer."""
        return self.layers[0][1]

    @property
    def directed(self) -> bool:
        """Whether pairs are ordered."""
        return self.first.pairs.directed

    @property
    def topology(self) -> bool:
        """Whether presence is explained, by models that know no forbidden pairs."""
        return self.presence and all(seen.topology for _, seen in self.layers)

    @property
    def n_pairs(self) -> int:
        """Number of pairs that are explained, over all layers."""
        return sum(len(seen.used) for _, seen in self.layers)

    @property
    def complete(self) -> bool:
        """Whether every pair of the nodes has an edge in every layer."""
        n = len(self.nodes)
        every = n * (n - 1) // (1 if self.directed else 2)
        return all(len(seen.used) == every and not self.loops for _, seen in self.layers)

    @property
    def loops(self) -> int:
        """Number of pairs that join a node with itself."""
        return sum(int((seen.source == seen.target).sum()) for _, seen in self.layers)

    @property
    def observed(self) -> Observed:
        """The problem as graph-tool sees it, on the nodes that it is about."""
        number = np.full(len(self.names), -1)
        number[self.nodes] = np.arange(len(self.nodes))
        sources = [number[seen.source] for _, seen in self.layers]
        layer = np.repeat(np.arange(len(sources)), [len(one) for one in sources])
        return Observed(
            n_nodes=len(self.nodes),
            source=np.concatenate(sources),
            target=np.concatenate([number[seen.target] for _, seen in self.layers]),
            covariates=_stacked([seen.covariates for _, seen in self.layers]),
            directed=self.directed,
            topology=self.topology,
            levels=self.node_levels[self.nodes],
            layer=layer if len(sources) > 1 else None,
            kinds=self._kinds(),
        )

    @property
    def masked(self) -> MaskedModel:
        """The presence of edges among the allowed pairs."""
        if self.allowed is None:
            raise ValueError("presence is explained without an architecture")
        seen = self.observed
        allowed = self.allowed[np.ix_(self.nodes, self.nodes)]
        return MaskedModel.of(seen.source, seen.target, allowed, seen.kinds)

    def _kinds(self) -> Integers | None:
        constraint = self.first.constraint
        if constraint == "levels":
            return _numbered(self.node_levels[self.nodes])
        return self.sides[self.nodes] if constraint == "bipartite" else None

    @property
    def sides(self) -> Integers:
        """Side of every node of a bipartite graph, int64 [n]; of each component the side of its first node is 0.

        Raises
        ------
        GraphError
            If the graph has an odd cycle.
        """
        import igraph

        ends = np.stack([self.first.pairs.source, self.first.pairs.target], axis=1)
        bipartite, sides = igraph.Graph(n=len(self.names), edges=ends).is_bipartite(return_types=True)
        if not bipartite:
            raise GraphError("sbm: constraint 'bipartite' needs a graph without odd cycles, and this one has some")
        return np.asarray(sides, np.int64)

    def cut(self, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Labels of the nodes that the model is about, cut where the constraint keeps nodes apart."""
        return cut(labels, self._kinds())

    def on_all_nodes(self, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Labels of all nodes from those of the nodes that the model is about; -1 for the others, int32 [n]."""
        full = np.full(len(self.names), -1, np.int32)
        full[self.nodes] = labels
        return full

    def without(self, held_out: Sequence[npt.NDArray[np.bool_]]) -> Problem:
        """The same with fewer pairs: those that `held_out`, bool [pairs] a layer, does not take away.

        Where every pair has an edge, presence is left unexplained: that some are held out is no news.
        """
        layers = tuple(
            (name, _kept(seen, ~gone)) for (name, seen), gone in zip(self.layers, held_out, strict=True)
        )
        return replace(self, layers=layers, presence=self.presence and not self.complete)


def describe(
    graphs: Graphs,
    *,
    weights: str | Sequence[str] | None = "real-normal",
    standardise: bool | str = True,
    constraint: str = "auto",
    layers: str = "none",
) -> Problem:
    """What a block model of a graph, or of several as layers, explains; the arguments are those of `fit_sbm`.

    Raises
    ------
    GraphError
        If it cannot be described in the way asked for, or the graphs cannot be layers of one.
    """
    if layers not in LAYERS:
        raise ValueError(f"layers must be one of {', '.join(LAYERS)}, not {layers!r}")
    named = _named(graphs, layers)
    found = {name: evidence(graph, weights, standardise, constraint) for name, graph in named.items()}
    if len(named) == 1:
        ((name, graph),) = named.items()
        return _single(graph, found[name])
    return _stack(named, found)


def described_again(graphs: Graphs, fit: BlockModel) -> Problem:
    """What a fit explained, from the graphs it was made of.

    Raises
    ------
    GraphError
        If their nodes are not those of the fit.
    """
    told = fit.parameters
    found = describe(
        graphs,
        weights=told["weights"],
        standardise=told["standardise"],
        constraint=told["constraint"],
        layers=told["layers"],
    )
    if found.names != tuple(fit.names) or found.n_pairs != told["pairs"]:
        raise GraphError("sbm: the fit is of another graph: its nodes or edges are not those of the graph given")
    return found


def _named(graphs: Graphs, layers: str) -> dict[str, ComputationalGraph]:
    if not isinstance(graphs, Mapping | list | tuple):
        graph = as_graph(graphs)
        found = np.unique(graph.channel)
        if layers == "none" or len(found) < 2:
            return {"": graph}
        return {graph.channels[k] or DIRECT: graph.subgraph(graph.channel == k) for k in found}
    if layers != "none":
        raise GraphError("sbm: layers='channels' divides one graph; several graphs are layers already")
    named = dict(graphs) if isinstance(graphs, Mapping) else {f"layer {k}": one for k, one in enumerate(graphs)}
    if not named:
        raise GraphError("sbm: no graph was given")
    return {name: as_graph(one) for name, one in named.items()}


def _single(graph: ComputationalGraph, seen: Evidence) -> Problem:
    # Presence is a fact about all nodes; a value only about those of a pair that has one.
    nodes = np.arange(graph.n_nodes) if seen.topology or seen.masked else _touched([seen])
    made = Problem(
        names=graph.node_names,
        sites=tuple(str(site) for site in graph.node_columns["site"]),
        node_levels=np.asarray(graph.node_columns["level"], np.int64),
        layers=(("", seen),),
        nodes=nodes,
        allowed=allowed_pairs(graph) if seen.masked else None,
        notes=seen.notes,
    )
    if seen.constraint == "bipartite":
        _ = made.sides  # refused here, before any work
    return made


def _stack(graphs: Mapping[str, ComputationalGraph], found: Mapping[str, Evidence]) -> Problem:
    """Layers on the union of the graphs' nodes, matched by name."""
    _check_layers(graphs, found)
    columns: dict[str, tuple[str, int]] = {}
    for graph in graphs.values():
        rows = zip(graph.node_names, graph.node_columns["site"], graph.node_columns["level"], strict=True)
        for name, site, level in rows:
            columns.setdefault(name, (str(site), int(level)))
    number = {name: k for k, name in enumerate(columns)}
    directed = all(graph.directed for graph in graphs.values())
    layers, notes = [], []
    for name, graph in graphs.items():
        seen, place = found[name], np.array([number[node] for node in graph.node_names], np.int64)
        layers.append((name, replace(seen, pairs=_placed(seen.pairs, place, len(number), directed, name))))
        notes += [f"{name}: {note}" for note in seen.notes]
    if any(seen.layered for _, seen in layers) and not all(seen.layered for _, seen in layers):
        notes.append("presence is given by the architecture in some layers, so it is explained in none")
    if not directed and any(graph.directed for graph in graphs.values()):
        notes.append("some layers have no direction, so directions are explained in none")
    topology = all(seen.topology for _, seen in layers)
    return Problem(
        names=tuple(columns),
        sites=tuple(site for site, _ in columns.values()),
        node_levels=np.array([level for _, level in columns.values()], np.int64),
        layers=tuple(layers),
        nodes=np.arange(len(columns)) if topology else _touched([seen for _, seen in layers]),
        notes=tuple(notes),
    )


def _check_layers(graphs: Mapping[str, ComputationalGraph], found: Mapping[str, Evidence]) -> None:
    for name, seen in found.items():
        if seen.masked:
            raise GraphError(
                f"sbm: layer {name!r}: presence among allowed pairs is explained of one graph at a time; give weights"
            )
        if seen.constraint == "bipartite":
            raise GraphError("sbm: constraint 'bipartite' is for one graph, not for several layers")
        if not len(seen.used):
            raise GraphError(f"sbm: layer {name!r} has no pair that could be explained; leave it out")
    kinds = {name: tuple(one.model for one in seen.covariates) for name, seen in found.items()}
    if len(set(kinds.values())) > 1:
        told = "; ".join(f"{name}: {', '.join(kind) or 'presence only'}" for name, kind in kinds.items())
        raise GraphError(f"sbm: layers must be explained by the same things, and here they are not ({told})")


def _placed(pairs: Pairs, place: Integers, n_nodes: int, directed: bool, layer: str) -> Pairs:
    """Pairs on other node numbers, without their directions where those do not count."""
    source, target = place[pairs.source], place[pairs.target]
    if not directed:
        source, target = np.minimum(source, target), np.maximum(source, target)
    if len(np.unique(source * n_nodes + target)) < len(source):
        raise GraphError(
            f"sbm: layer {layer!r} joins two nodes in both directions, and the other layers have no direction"
        )
    return replace(pairs, n_nodes=n_nodes, source=source, target=target, directed=directed)


def _stacked(layers: Sequence[tuple[Covariate, ...]]) -> tuple[Covariate, ...]:
    return tuple(
        replace(same[0], values=np.concatenate([one.values for one in same])) for same in zip(*layers, strict=True)
    )


def _kept(seen: Evidence, keep: npt.NDArray[np.bool_]) -> Evidence:
    def part(values: Any) -> Any:
        return None if values is None else values[keep]

    return replace(seen, used=seen.used[keep], value=part(seen.value), sign=part(seen.sign))


def _touched(found: Sequence[Evidence]) -> Integers:
    """Nodes with a used pair."""
    nodes: Integers = np.unique(np.concatenate([end for seen in found for end in (seen.source, seen.target)]))
    return nodes


def _numbered(values: Integers) -> Integers:
    numbers: Integers = np.unique(values, return_inverse=True)[1]
    return numbers
