"""What the formats of other tools have in common: scores of edges between heads, MLPs, the input and the output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compgraph.architecture import Architecture
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.partition import HasArchitecture, Partition

Edge = tuple[str, str, str]
"""Source, target and channel by our names: `attn.0/head.1`, `attn.1/head.0`, `q`."""

NODE = re.compile(r"attn\.(?P<attn>\d+)/head\.(?P<head>\d+)|mlp\.(?P<mlp>\d+)|(?P<end>embed|logits)")


def transformer_of(net: HasArchitecture, what: str) -> Architecture:
    """The architecture of a transformer.

    Raises
    ------
    GraphError
        For another kind of network.
    """
    architecture = net.architecture
    if architecture.kind != "transformer":
        raise GraphError(f"{what} holds edges of transformers; this network is of the kind {architecture.kind!r}")
    return architecture


def graph_from_scores(
    net: HasArchitecture, scores: Mapping[Edge, float], *, split_qkv: bool, attributes: Mapping[str, Any], where: str
) -> ComputationalGraph:
    """A head-level graph with these scores.

    Raises
    ------
    GraphError
        If an edge of the network has no score, or a score belongs to no edge; naming the first.
    """
    partition = Partition.heads(net)
    bare = ComputationalGraph.from_architecture(net, partition, split_qkv=split_qkv)
    keys = edges_of(bare)
    weight = np.empty(bare.n_edges)
    for edge, key in enumerate(keys):
        if key not in scores:
            raise GraphError(f"{where} has no score for {in_words(key)}, which is an edge of this network")
        weight[edge] = scores[key]
    if unknown := next((key for key in scores if key not in set(keys)), None):
        raise GraphError(f"{where} has a score for {in_words(unknown)}, which is no edge of this network")
    return ComputationalGraph.from_architecture(
        net, partition, weight, split_qkv=split_qkv, kind="effective", attributes=dict(attributes)
    )


def edges_of(graph: ComputationalGraph) -> list[Edge]:
    """Source, target and channel of each edge, in the order of the graph."""
    names = graph.node_names
    ends = zip(graph.source, graph.target, graph.channel, strict=True)
    return [(names[source], names[target], graph.channels[channel]) for source, target, channel in ends]


def in_words(edge: Edge) -> str:
    """`attn.0/head.1 -> attn.1/head.0 (q)`."""
    source, target, channel = edge
    return f"{source} -> {target}" + (f" ({channel})" if channel else "")


def check_heads(graph: ComputationalGraph, what: str) -> Architecture:
    """The architecture of a head-level graph of a transformer.

    Raises
    ------
    GraphError
        If a node is neither a whole head, a whole MLP, the input nor the output, or the architecture is not known.
    """
    if graph.architecture is None or graph.architecture.kind != "transformer" or not graph.directed:
        raise GraphError(f"{what} holds directed graphs of transformers that know their architecture")
    for name in graph.node_names:
        if not NODE.fullmatch(name):
            raise GraphError(f"{what} holds heads and whole MLPs; the node {name!r} is neither")
    return graph.architecture


def sizes_of(architecture: Architecture) -> tuple[int, int, bool]:
    """Layers, heads a layer, and whether MLPs run beside attention instead of behind it.

    Raises
    ------
    GraphError
        If layers have different numbers of heads.
    """
    attention = [site for site in architecture.node_sites if site.kind == "attn"]
    heads = {site.n_heads for site in attention}
    if len(heads) != 1:
        raise GraphError(f"all layers must have the same number of heads, not {sorted(heads)}")
    first = next((site for site in architecture.node_sites if site.kind == "mlp"), None)
    parallel = first is not None and first.level == attention[0].level
    return len(attention), heads.pop(), parallel


def finite(values: NDArray[Any], where: str) -> NDArray[np.float64]:
    """The values as float64.

    Raises
    ------
    GraphError
        If one is not finite.
    """
    out = np.asarray(values, dtype=np.float64)
    if not np.isfinite(out).all():
        raise GraphError(f"{where} has a score that is not finite")
    return out
