"""Pages that show everything a page can show, on small made-up graphs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from compgraph.explorer import Curve, Grouping, Page, View
from compgraph.explorer.examples import Example, Examples
from compgraph.explorer.views import Texts
from compgraph.graph import ComputationalGraph
from tests.figures.examples import functional_graph, transformer_graph

HOSTILE = '</script><script>document.title="taken"</script><img src=x onerror="document.title=\'taken\'">'


def curve(n_edges: int) -> Curve:
    """Two metrics at four sizes, with a band of random circuits; one size has no ratio."""
    rows = []
    for metric, top in (("logit_difference", 0.9), ("kl", 0.8)):
        for fraction in (0.01, 0.1, 0.5, 1.0):
            value = top * fraction**0.3
            rows.append(
                {
                    "task": "all", "metric": metric, "fraction": fraction, "n_edges": round(fraction * n_edges),
                    "n_nodes": 10, "value": value, "faithfulness": value if fraction > 0.01 else float("nan"),
                    "low": value - 0.05, "high": value + 0.05, "null_mean": 0.1, "null_low": 0.05, "null_high": 0.2,
                    "p": 0.01,
                }
            )  # fmt: skip
    return Curve("edge ablation, baseline counterfactual", pd.DataFrame(rows))


def examples(graph: ComputationalGraph) -> Examples:
    """One sentence for every node."""
    found = {
        name: (Example(7, 2.0 - number, np.arange(4), np.array([0.0, 1.0, 2.0 - number, -1.0])),)
        for number, name in enumerate(graph.node_names)
    }
    return Examples("attribution of logit_difference", found, 64)


def full_page(n_layers: int = 3, n_heads: int = 4) -> Page:
    """Three kinds of graphs, two checkpoints, nested blocks, regions, tasks and examples, some with hostile names."""
    graph = transformer_graph(n_layers, n_heads)
    views = [
        View(graph, "heads", "step-000100", (curve(graph.n_edges),), "sha256:abc"),
        View(transformer_graph(n_layers, n_heads, seed=1), "heads", "step-000000"),
        View(transformer_graph(n_layers, n_heads, kind="structural"), "heads", "step-000100"),
        View(functional_graph(graph), "heads", "step-000100"),
    ]
    names = graph.node_names
    groupings = [
        Grouping("blocks, nested, level 0", {name: str(k % 4) for k, name in enumerate(names[:-1])}),
        Grouping("blocks, nested, level 1", {name: str(k % 2) for k, name in enumerate(names)}),
        Grouping("communities, louvain", dict.fromkeys(names, HOSTILE)),
    ]
    share = {name: {"ioi": k / len(names), HOSTILE: 1 - k / len(names)} for k, name in enumerate(names)}
    texts = Texts({7: HOSTILE}, {7: ["The", " cat", HOSTILE, " sat"]})
    return Page(f"toy, {HOSTILE}", views, groupings, share, [examples(graph)], texts, ["Something is not shown."])
