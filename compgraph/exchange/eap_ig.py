"""Graphs of EAP-IG (hannamw/EAP-IG) in its JSON form.

A file is an object with `cfg` (`n_layers`, `n_heads`, `parallel_attn_mlp`, `d_model`), `nodes` (name -> whether it is
in the circuit) and `edges` (name -> `score`, `in_graph`). Nodes are `input`, `a0.h1`, `m0`, `logits`; an edge is
`a0.h1->m0`, or `input->a0.h1<q>` where the target reads queries, keys and values apart.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from compgraph.architecture import Architecture
from compgraph.errors import GraphError
from compgraph.exchange.heads import NODE, check_heads, edges_of, finite, graph_from_scores, sizes_of, transformer_of
from compgraph.graph import ComputationalGraph
from compgraph.partition import HasArchitecture, Partition

THEIRS = re.compile(r"a(?P<attn>\d+)\.h(?P<head>\d+)|m(?P<mlp>\d+)|(?P<end>input|logits)")
EDGE = re.compile(r"(?P<source>[^-<>]+)->(?P<target>[^-<>]+)(<(?P<channel>[qkv])>)?")
MOST_BYTES = 1 << 30


def read_eap_ig(path: str | Path, net: HasArchitecture) -> ComputationalGraph:
    """A graph from EAP-IG's JSON.

    Parameters
    ----------
    path
        The file.
    net
        The network that it was made for: `load_network`, or anything with an `architecture`.

    Returns
    -------
    Head-level effective graph with all edges; scores as they are in the file, and an edge column `in_graph` (0 or 1):
    the circuit that was chosen there. `graph.subgraph(graph.columns["in_graph"] > 0)` is that circuit.

    Raises
    ------
    GraphError
        If the file is not of this form, is of another architecture, or lacks an edge of the network; naming what.

    Notes
    -----
    EAP-IG attributes a loss, so that its scores have the opposite sign of ours where its metric is to be maximised.
    """
    architecture = transformer_of(net, "EAP-IG's JSON")
    page = _page(Path(path))
    n_layers, n_heads, parallel = sizes_of(architecture)
    ours: dict[str, Any] = {"n_layers": n_layers, "n_heads": n_heads, "parallel_attn_mlp": parallel}
    for name, value in ours.items():
        if page["cfg"].get(name) != value:
            raise GraphError(f"{path} is of a model with {name} {page['cfg'].get(name)!r}; this network has {value!r}")
    scores: dict[tuple[str, str, str], float] = {}
    kept: dict[tuple[str, str, str], bool] = {}
    for name, entry in page["edges"].items():
        edge = _edge(name, path)
        if not isinstance(entry, dict) or not isinstance(entry.get("score"), (int, float)):
            raise GraphError(f"{path}: edge {name!r} has no number as its score")
        scores[edge], kept[edge] = float(entry["score"]), bool(entry.get("in_graph", False))
    finite(np.array(list(scores.values())), str(path))
    graph = graph_from_scores(
        net, scores, split_qkv=True, attributes={"method": "eap-ig file", "imported": "EAP-IG"}, where=str(path)
    )
    inside = np.array([kept[edge] for edge in edges_of(graph)], dtype=np.float64)
    return ComputationalGraph.from_architecture(
        net, Partition.heads(net), graph.weight, kind="effective", attributes=graph.attributes,
        columns={"in_graph": inside},
    )  # fmt: skip


def write_eap_ig(graph: ComputationalGraph, path: str | Path, *, circuit: ComputationalGraph | None = None) -> Path:
    """Write a graph as EAP-IG's JSON.

    Parameters
    ----------
    graph
        Head-level, of a transformer with MLPs, with q, k and v apart. Edges that it lacks get score 0.
    path
        The file to write.
    circuit
        What becomes `in_graph`; all edges of the graph by default.

    Raises
    ------
    GraphError
        If the graph cannot be said in this form; naming why.
    """
    architecture = check_heads(graph, "EAP-IG's JSON")
    if graph.channels != ("", "q", "k", "v"):
        raise GraphError("EAP-IG's JSON tells queries, keys and values apart; this graph does not (split_qkv)")
    n_layers, n_heads, parallel = sizes_of(architecture)
    if not any(site.kind == "mlp" for site in architecture.node_sites):
        raise GraphError("EAP-IG's JSON has an MLP in every layer; this network has none")
    known = _Known(architecture)
    whole = ComputationalGraph.from_architecture(known, Partition.heads(known))
    weight = dict(zip(edges_of(graph), graph.weight.tolist(), strict=True))
    inside = set(edges_of(circuit if circuit is not None else graph))
    used = {end for edge in inside for end in edge[:2]}
    residual = next(site.n_units for site in architecture.sites if site.kind == "embed")
    page = {
        "cfg": {"n_layers": n_layers, "n_heads": n_heads, "parallel_attn_mlp": parallel, "d_model": residual},
        "nodes": {_theirs(name): {"in_graph": name in used} for name in whole.node_names},
        "edges": {
            _edge_name(edge): {"score": weight.get(edge, 0.0), "in_graph": edge in inside} for edge in edges_of(whole)
        },
    }
    output = Path(path)
    output.write_text(json.dumps(page, allow_nan=False) + "\n", encoding="utf-8")
    return output


class _Known:
    """An architecture where a network is expected."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture


def _page(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MOST_BYTES:
        raise GraphError(f"{path} has {path.stat().st_size:,} bytes; at most {MOST_BYTES:,} are read")
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise GraphError(f"{path} is not JSON: {error}") from error
    if not isinstance(page, dict) or not all(isinstance(page.get(key), dict) for key in ("cfg", "nodes", "edges")):
        raise GraphError(f"{path} is not a graph of EAP-IG: it needs the objects cfg, nodes and edges")
    return page


def _edge(name: str, path: str | Path) -> tuple[str, str, str]:
    found = EDGE.fullmatch(name)
    ends = [THEIRS.fullmatch(found[end]) for end in ("source", "target")] if found else [None]
    if found is None or None in ends:
        raise GraphError(f"{path}: {name!r} is no edge of EAP-IG, as 'a0.h1->m0' or 'input->a0.h1<q>'")
    source, target = (_ours(end) for end in ends if end is not None)
    return source, target, found["channel"] or ""


def _ours(name: re.Match[str]) -> str:
    if name["attn"] is not None:
        return f"attn.{int(name['attn'])}/head.{int(name['head'])}"
    return f"mlp.{int(name['mlp'])}" if name["mlp"] is not None else {"input": "embed"}.get(name["end"], "logits")


def _theirs(name: str) -> str:
    found = NODE.fullmatch(name)
    assert found is not None
    if found["attn"] is not None:
        return f"a{found['attn']}.h{found['head']}"
    return f"m{found['mlp']}" if found["mlp"] is not None else {"embed": "input"}.get(found["end"], "logits")


def _edge_name(edge: tuple[str, str, str]) -> str:
    source, target, channel = edge
    return f"{_theirs(source)}->{_theirs(target)}" + (f"<{channel}>" if channel else "")
