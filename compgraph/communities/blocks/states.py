"""graph-tool's states of block models of one graph, and the lengths of their descriptions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import Labels, canonical
from compgraph.communities.blocks.hierarchy import hierarchy
from compgraph.communities.blocks.library import load_graph_tool
from compgraph.communities.blocks.observed import Observed

NO_TOPOLOGY = {"adjacency": False, "degree_dl": False, "edges_dl": False}
"""Terms of the description length that are about which edges exist."""

PARTS = {
    "partition": "partition_dl",
    "edge counts": "edges_dl",
    "degrees": "degree_dl",
    "edges": "adjacency",
    "weight parameters": "recs_dl",
    "weights": "recs",
}
"""Parts of a description, in the order in which it is told, and graph-tool's word for each."""

HIERARCHY = "hierarchy"
"""Part of a nested description that is about the levels above the finest."""

WHOLE = "whole"
"""The only part of a description that is not told by parts."""


class States:
    """Flat and nested states of one graph, with one layer or several.

    Several layers share the blocks, and each has edge counts, degrees and weights of its own (Peixoto, Phys. Rev. E
    92, 042807). graph-tool also counts n ln(2^L - 1) nats for which of the L layers a node may be in; all may be in
    all here, so that is left out. The length is then that of the layers one by one with the partition told once.
    """

    def __init__(self, observed: Observed) -> None:
        self._gt = load_graph_tool()
        self.observed = observed
        self.graph = self._gt.Graph(directed=observed.directed)
        self.graph.add_vertex(observed.n_nodes)
        self.graph.add_edge_list(np.stack([observed.source, observed.target], axis=1))
        self.arguments = self._arguments()

    def _arguments(self) -> dict[str, Any]:
        seen = self.observed
        made: dict[str, Any] = {}
        if seen.covariates:
            made |= {
                "recs": [self.graph.new_edge_property("double", vals=one.values) for one in seen.covariates],
                "rec_types": [one.model for one in seen.covariates],
            }
        if seen.kinds is not None:
            kinds = self.graph.new_vertex_property("int", vals=seen.kinds)
            made |= {"clabel": kinds, "pclabel": kinds}
        if self.layered:
            made |= {"ec": self.graph.new_edge_property("int", vals=seen.layer), "layers": True}
        return made

    @cached_property
    def layered(self) -> bool:
        """Whether there are several layers."""
        return self.observed.n_layers > 1

    @cached_property
    def excess(self) -> float:
        """Nats that graph-tool counts and that are no part of the description here."""
        return self.observed.n_nodes * math.log(2**self.observed.n_layers - 1)

    @property
    def flat_terms(self) -> dict[str, Any]:
        """Keywords of `entropy` that leave out what is not explained."""
        return {} if self.observed.topology else dict(NO_TOPOLOGY)

    @property
    def nested_terms(self) -> dict[str, Any]:
        """The same for nested states."""
        if self.observed.topology:
            return {}
        return {**NO_TOPOLOGY, "hentropy_args": NO_TOPOLOGY, "hentropy_args_top": NO_TOPOLOGY}

    def vertices(self, labels: npt.ArrayLike) -> Any:
        """Labels as graph-tool's property of the nodes."""
        return self.graph.new_vertex_property("int", vals=np.asarray(labels))

    def flat(self, labels: npt.ArrayLike, degree_corrected: bool) -> Any:
        """State of a flat model."""
        inference = self._gt.inference
        made = inference.LayeredBlockState if self.layered else inference.BlockState
        return made(self.graph, b=self.vertices(canonical(labels)), deg_corr=degree_corrected, **self.arguments)

    def nested(self, levels: Sequence[Labels], degree_corrected: bool) -> Any:
        """State of a nested model: `levels` label nodes, each level coarser than the one below."""
        inference = self._gt.inference
        base = {"base_type": inference.LayeredBlockState} if self.layered else {}
        arguments = {"deg_corr": degree_corrected, **self.arguments}
        return inference.NestedBlockState(self.graph, bs=hierarchy(list(levels)), state_args=arguments, **base)

    def length_of(self, state: Any, nested: bool) -> float:
        """Length of the description that a state gives, nats."""
        return float(state.entropy(**(self.nested_terms if nested else self.flat_terms))) - self.excess

    def flat_length(self, labels: npt.ArrayLike, degree_corrected: bool) -> float:
        """Length of a flat model's description, nats."""
        return self.length_of(self.flat(labels, degree_corrected), nested=False)

    def nested_length(self, levels: Sequence[Labels], degree_corrected: bool) -> float:
        """Length of a nested model's description, nats."""
        return self.length_of(self.nested(levels, degree_corrected), nested=True)

    def parts(self, levels: Sequence[Labels], degree_corrected: bool, nested: bool) -> dict[str, float]:
        """A description length by what is told, nats; parts that are not told are left out.

        `partition`: which node is in which block; `edge counts`: edges between blocks; `degrees` of the nodes;
        `edges`: where they are, given all that; `weight parameters` and `weights`; `hierarchy` of a nested model:
        all levels above the finest, which say how many edges there are between its blocks.
        """
        state = self.nested(levels, degree_corrected) if nested else self.flat(levels[0], degree_corrected)
        finest = state.levels[0] if nested else state
        found = told_parts(finest, self.flat_terms | ({"edges_dl": False} if nested else {}))
        if not self.observed.covariates:
            found = {name: nats for name, nats in found.items() if not name.startswith("weight")}
        if not degree_corrected:
            found.pop("degrees", None)
        total = self.length_of(state, nested)
        return found | ({HIERARCHY: total - sum(found.values())} if nested else {})


def told_parts(state: Any, terms: Mapping[str, Any]) -> dict[str, float]:
    """Parts of what `state.entropy(**terms)` tells, nats: how much shorter it gets as one after the other is left out.

    In this order: without a likelihood of the weights graph-tool leaves out their parameters too.
    """
    kept, length, found = dict(terms), float(state.entropy(**terms)), {}
    for name, word in PARTS.items():
        if kept.get(word, True):
            kept[word] = False
            shorter = float(state.entropy(**kept))
            found[name], length = length - shorter, shorter
    return found
