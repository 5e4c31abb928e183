"""Prune scores of AutoCircuit (UFO-101/auto-circuit): a dictionary of tensors, by the module that reads.

`blocks.1.hook_q_input`, `hook_k_input`, `hook_v_input` (or `hook_attn_in`, if they are not told apart) hold
[heads, sources], `blocks.1.hook_mlp_in` and `blocks.<last>.hook_resid_post` (the output) [sources]. Sources are counted
from the input on: the start of the residual stream, then layer by layer the heads and the MLP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compgraph.architecture import Architecture
from compgraph.dictionaries.convert import read_torch_tensors
from compgraph.errors import GraphError
from compgraph.exchange.heads import Edge, check_heads, edges_of, finite, graph_from_scores, sizes_of, transformer_of
from compgraph.graph import ComputationalGraph
from compgraph.partition import HasArchitecture

if TYPE_CHECKING:
    from torch import Tensor

MODULE = re.compile(r"blocks\.(?P<layer>\d+)\.(?P<hook>hook_[qkv]_input|hook_attn_in|hook_mlp_in|hook_resid_post)")


def read_prune_scores(path: str | Path, net: HasArchitecture) -> ComputationalGraph:
    """A graph from prune scores that were saved with `torch.save`. Nothing but tensors is read from the file.

    Parameters
    ----------
    path
        The file.
    net
        The network that it was made for.

    Raises
    ------
    ModelError
        If the file holds anything but tensors by name.
    GraphError
        If these are not scores of this form, are given by position, or do not fit the network; naming what.
    """
    architecture = transformer_of(net, "prune scores")
    found = read_torch_tensors(Path(path))
    tensors = {name: finite(value.double().numpy(), f"{path}: {name}") for name, value in found.items()}
    for name in tensors:
        if not MODULE.fullmatch(name):
            raise GraphError(f"{path}: {name!r} is no module that AutoCircuit scores, as 'blocks.0.hook_q_input'")
    split = not any(name.endswith("hook_attn_in") for name in tensors)
    scores: dict[Edge, float] = {}
    expected = list(_places(architecture, split))
    for module, shape, edges in expected:
        if module not in tensors:
            raise GraphError(f"{path} has no scores of {module}")
        if tensors[module].shape != shape:
            wrong = "x".join(map(str, tensors[module].shape))
            raise GraphError(f"{path}: {module} is {wrong}, not {'x'.join(map(str, shape))} as this network needs")
        scores |= dict(zip(edges, tensors[module].ravel().tolist(), strict=True))
    if more := sorted(set(tensors) - {module for module, _, _ in expected}):
        raise GraphError(f"{path} has scores of {more[0]}, which this network does not have")
    attributes = {"method": "prune scores", "imported": "AutoCircuit"}
    return graph_from_scores(net, scores, split_qkv=split, attributes=attributes, where=str(path))


def write_prune_scores(graph: ComputationalGraph, path: str | Path) -> Path:
    """Write a head-level graph as prune scores, float32; edges that it lacks get 0. Made by `torch.save`, as there.

    Raises
    ------
    GraphError
        If the graph is not one of heads and whole MLPs of a transformer.
    """
    import torch

    architecture = check_heads(graph, "prune scores")
    weight = dict(zip(edges_of(graph), graph.weight.tolist(), strict=True))
    scores: dict[str, Tensor] = {}
    for module, shape, edges in _places(architecture, len(graph.channels) > 1):
        values: NDArray[np.float64] = np.array([weight.get(edge, 0.0) for edge in edges])
        scores[module] = torch.from_numpy(values.reshape(shape)).float()
    torch.save(scores, path)
    return Path(path)


def _places(architecture: Architecture, split: bool) -> Iterator[tuple[str, tuple[int, ...], list[Edge]]]:
    """(module, shape of its tensor, edges in the tensor's order) of every module that is scored."""
    n_layers, n_heads, parallel = sizes_of(architecture)
    has_mlp = any(site.kind == "mlp" for site in architecture.node_sites)
    sources = ["embed"]
    for layer in range(n_layers):
        heads = [f"attn.{layer}/head.{head}" for head in range(n_heads)]
        before = list(sources)
        for channel in ("q", "k", "v") if split else ("",):
            hook = f"hook_{channel}_input" if split else "hook_attn_in"
            edges = [(source, head, channel) for head in heads for source in before]
            yield f"blocks.{layer}.{hook}", (n_heads, len(before)), edges
        sources += heads
        if has_mlp:
            read = before if parallel else list(sources)
            yield f"blocks.{layer}.hook_mlp_in", (len(read),), [(source, f"mlp.{layer}", "") for source in read]
            sources.append(f"mlp.{layer}")
    yield f"blocks.{n_layers - 1}.hook_resid_post", (len(sources),), [(source, "logits", "") for source in sources]
