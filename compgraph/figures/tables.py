"""Small facts about a graph that several captions state."""

from __future__ import annotations

import numpy as np
import pandas as pd

from compgraph.figures import style
from compgraph.graph import ComputationalGraph

ARROW = "\u2192"


def edge_table(graph: ComputationalGraph) -> pd.DataFrame:
    """Edges by falling absolute weight: source, target (names), channel, weight."""
    names = graph.nodes["name"].to_numpy(dtype=object)
    table = pd.DataFrame(
        {
            "source": names[np.asarray(graph.source)],
            "target": names[np.asarray(graph.target)],
            "channel": [graph.channels[c] for c in np.asarray(graph.channel)],
            "weight": np.asarray(graph.weight, dtype=float),
        }
    )
    order = np.argsort(-table["weight"].abs().to_numpy(), kind="stable")
    return table.iloc[order].reset_index(drop=True)


def strongest(graph: ComputationalGraph, n: int) -> list[str]:
    """The n strongest edges in words: `embed -> attn.1/head.3 (q), 0.21`."""
    rows = edge_table(graph).head(n).itertuples(index=False)
    return [
        f"{row.source} {ARROW} {row.target}"
        + (f" ({row.channel})" if row.channel else "")
        + f", {style.number(float(row.weight))}"
        for row in rows
    ]


def nodes_used(graph: ComputationalGraph) -> int:
    """Number of nodes with at least one edge."""
    return len(np.union1d(graph.source, graph.target))


def busiest(graph: ComputationalGraph) -> tuple[str, int]:
    """The node with the most edges, the first of equals, and their number."""
    degree = np.bincount(np.concatenate([graph.source, graph.target]), minlength=graph.n_nodes)
    return str(graph.nodes["name"].iloc[int(degree.argmax())]), int(degree.max())


def share_of_weight(part: ComputationalGraph, whole: ComputationalGraph) -> str:
    """Absolute weight of a subgraph as a share of the whole graph's, in percent."""
    total = float(np.abs(np.asarray(whole.weight, dtype=float)).sum())
    if total == 0:
        return "0 %"
    return style.percent(float(np.abs(np.asarray(part.weight, dtype=float)).sum()) / total)


def described(graph: ComputationalGraph, subject: str) -> str:
    """` of SUBJECT (method, metric)`, of what is known."""
    known = [
        str(graph.attributes[key]) for key in ("method", "metric", "baseline") if graph.attributes.get(key)
    ]
    words = f" of {subject}" if subject else ""
    return words + (f" ({', '.join(known)})" if known else "")
