"""From a circuit (a graph) to the masks that runners need."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import on_path
from compgraph.models.network import Network
from compgraph.partition import Partition
from compgraph.patterns import SUFFIX

Kept = dict[str, Tensor]
"""Destination site -> bool [channels, parts, sources]: the edges that a circuit keeps."""


class CircuitMasks:
    """The architectural graph of a partition, as the frame in which circuits are masks.

    Parameters
    ----------
    net, partition
        Of the circuits.
    split_qkv
        Whether the circuits tell queries, keys and values apart; where they do not, an edge keeps all three.
    """

    def __init__(self, net: Network, partition: Partition, split_qkv: bool) -> None:
        self.device = net.device
        self.partition = partition
        self.full = ComputationalGraph.from_architecture(net, partition, split_qkv=split_qkv)
        assert self.full.architecture is not None and self.full.partition is not None
        self.refined: Partition = self.full.partition
        architecture = self.full.architecture
        self.sites = [site.name for site in architecture.node_sites if site.name in architecture.reads]
        self.channels = {name: architecture.channels[name] for name in self.sites}
        self.chain_source = {name: architecture.reads[name][0] for name in self.sites if net.kind == "sequential"}

    @property
    def n_edges(self) -> int:
        """Edges that the architecture allows."""
        return self.full.n_edges

    def mask(self, circuit: ComputationalGraph) -> np.ndarray:
        """bool [n_edges] in canonical order.

        Raises
        ------
        GraphError
            An edge of the circuit is not one that the architecture allows.
        """
        return self.full.mask_of(circuit)

    def nodes(self, mask: np.ndarray) -> np.ndarray:
        """Nodes with a kept edge, bool [n_nodes]."""
        keep = np.zeros(self.full.n_nodes, dtype=bool)
        keep[self.full.source[mask]] = True
        keep[self.full.target[mask]] = True
        return keep

    def note(self, mask: np.ndarray) -> str:
        """What is out of the ordinary about a circuit; empty if nothing is."""
        if not mask.any():
            return "no edge is kept: this is the empty graph"
        source, target = self.full.source[mask], self.full.target[mask]
        alive = on_path(source, target, self.full.n_nodes, self.full.inputs, self.full.outputs)
        return "" if (alive[source] & alive[target]).any() else "no path leads from an input to an output"

    def complement(self, mask: np.ndarray, ablation: str = "edge") -> np.ndarray:
        """What is left of the network without a circuit, bool [n_edges].

        Under edge ablation every other edge. Under node ablation the edges between inputs, outputs and the nodes that
        are not the circuit's: nearly every circuit has the input, without which there is no run to speak of.
        """
        if ablation != "node":
            return ~mask
        left = ~self.nodes(mask)
        left[self.full.inputs] = True
        left[self.full.outputs] = True
        return left[self.full.source] & left[self.full.target]

    def kept(self, mask: np.ndarray) -> Kept:
        """Masks per destination site from bool [n_edges].

        Columns are the nodes of the whole graph, patterns included; for chains the parts of the one site that
        is read.
        """
        out: Kept = {}
        for site in self.sites:
            nodes, names = self.refined.node_slice(site), self.channels[site]
            first, last = np.searchsorted(self.full.target, [nodes.start, nodes.stop])
            edges = slice(first, last)
            table = np.zeros((len(names), nodes.stop - nodes.start, self.full.n_nodes), dtype=bool)
            place = {name: k for k, name in enumerate(names)}
            for code, name in enumerate(self.full.channels):
                own = mask[edges] & (self.full.channel[edges] == code)
                rows, columns = self.full.target[edges][own] - nodes.start, self.full.source[edges][own]
                channels = [place[name]] if name in place else range(len(names))
                for channel in channels:
                    table[channel, rows, columns] = True
            if site in self.chain_source:
                table = table[:, :, self.refined.node_slice(self.chain_source[site])]
            out[site] = torch.from_numpy(np.ascontiguousarray(table)).to(self.device)
        return out


def masks_for(net: Network, circuit: ComputationalGraph, *, same_model: bool = True) -> CircuitMasks:
    """The frame of a circuit.

    Parameters
    ----------
    same_model
        Whether a circuit that says of which model it is (attribute `model`, a digest) must be of this one.

    Raises
    ------
    GraphError
        The circuit is undirected, or was not made for this network.
    """
    if same_model:
        check_model(net, circuit)
    if not circuit.directed or circuit.partition is None:
        raise GraphError(
            f"a circuit must be a directed graph over a partition of the network; this {circuit.kind} graph is not"
        )
    units = [site for site in circuit.partition.sites if not site.endswith(SUFFIX)]
    partition = circuit.partition.restrict(units).check_causal(net)
    return CircuitMasks(net, partition, split_qkv="q" in circuit.channels)


def check_model(net: Network, circuit: ComputationalGraph) -> None:
    """Refuse a circuit that says that it is of another model.

    Raises
    ------
    GraphError
        Naming both digests.
    """
    model = circuit.attributes.get("model")
    if model and net.digest and model != net.digest:
        raise GraphError(
            f"the circuit was made for the model {model}, and this is {net.digest}; to run it here all the same, take "
            "`model` out of its attributes"
        )
