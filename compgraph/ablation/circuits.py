"""From a circuit (a graph) to the masks that runners need."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.partition import Partition

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
        self.sites = [site for site in net.architecture.node_sites if site.name in net.architecture.reads]
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self.copies: dict[str, int] = {}
        self.n_sources = sum(partition.n_parts(s.name) for s in net.architecture.node_sites[:-1])
        for site in self.sites:
            channels = len(net.architecture.channels[site.name])
            reads = sum(partition.n_parts(name) for name in net.architecture.reads[site.name])
            self.shapes[site.name] = (partition.n_parts(site.name), channels if split_qkv else 1, reads)
            self.copies[site.name] = 1 if split_qkv else channels
        self.chain = net.kind == "sequential"

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

    def kept(self, mask: np.ndarray) -> Kept:
        """Masks per destination site from bool [n_edges].

        Columns are the sources in the order of nodes: all sources for transformers (False where a site does
        not read them), the parts of the one site read for chains.
        """
        out: Kept = {}
        start = 0
        for site in self.sites:
            parts, channels, reads = self.shapes[site.name]
            stop = start + parts * channels * reads
            block = mask[start:stop].reshape(parts, channels, reads).transpose(1, 0, 2)
            if not self.chain:
                block = np.pad(block, ((0, 0), (0, 0), (0, self.n_sources - reads)))
            block = np.repeat(block, self.copies[site.name], axis=0)
            out[site.name] = torch.from_numpy(np.ascontiguousarray(block)).to(self.device)
            start = stop
        return out


def masks_for(net: Network, circuit: ComputationalGraph) -> CircuitMasks:
    """The frame of a circuit.

    Raises
    ------
    GraphError
        The circuit is undirected, or was not made for this network.
    """
    if not circuit.directed or circuit.partition is None:
        raise GraphError(
            f"a circuit must be a directed graph over a partition of the network; this {circuit.kind} graph is not"
        )
    circuit.partition.check_causal(net)
    return CircuitMasks(net, circuit.partition, split_qkv="q" in circuit.channels)
