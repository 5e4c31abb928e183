"""Graphs and tables that look like those of a real run, and some that should never occur."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

from compgraph.architecture import Architecture, Site, transformer_architecture
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition


def transformer_graph(
    n_layers: int = 3,
    n_heads: int = 4,
    *,
    kind: str = "effective",
    negative: float = 0.3,
    seed: int = 0,
    parallel: bool = False,
) -> ComputationalGraph:
    """Head-level graph with heavy-tailed weights, stronger through a few hub nodes."""
    architecture = transformer_architecture(
        "toy",
        n_layers=n_layers,
        n_heads=n_heads,
        d_head=4,
        d_model=4 * n_heads,
        d_mlp=8,
        vocabulary=20,
        parallel=parallel,
    )
    partition = Partition.heads(architecture)
    bare = ComputationalGraph.from_architecture(architecture, partition)
    rng = np.random.default_rng(seed)
    hub, reads, writes = (np.exp(0.8 * rng.standard_normal(bare.n_nodes)) for _ in range(3))
    reads[-1], writes[0] = 3 * reads.max(), 3 * writes.max()
    level = bare.nodes["level"].to_numpy()
    size = (
        (hub * writes)[bare.source]
        * (hub * reads)[bare.target]
        * np.exp(-0.1 * (level[bare.target] - level[bare.source]))
    )
    weight = (
        1e-3
        * size
        * np.exp(0.8 * rng.standard_normal(bare.n_edges))
        * np.where(rng.random(bare.n_edges) < negative, -1, 1)
    )
    attributes = (
        {"method": "eap", "metric": "logit_difference"} if kind == "effective" else {"method": "composition"}
    )
    return ComputationalGraph.from_architecture(
        architecture, partition, weight, kind=kind, attributes=attributes
    )


def cnn_graph() -> ComputationalGraph:
    """Channel-level structural graph of a small CNN."""
    shapes = (("input", "input", 1), ("conv.0", "conv", 8), ("conv.1", "conv", 16))
    sites = [Site(name, kind, level, c * 16, shape=(c, 4, 4)) for level, (name, kind, c) in enumerate(shapes)]  # type: ignore[arg-type]
    sites += [Site("linear.0", "linear", 3, 24), Site("logits", "logits", 4, 10)]
    reads = {after.name: (before.name,) for before, after in pairwise(sites)}
    architecture = Architecture(
        "sequential", "sequential", tuple(sites), reads, {name: ("",) for name in reads}
    )
    partition = Partition.channels(architecture)
    n_edges = ComputationalGraph.from_architecture(architecture, partition).n_edges
    weight = np.exp(np.random.default_rng(1).standard_normal(n_edges))
    return ComputationalGraph.from_architecture(
        architecture, partition, weight, kind="structural", attributes={"method": "weight-norm"}
    )


def functional_graph(nodes_of: ComputationalGraph, seed: int = 0) -> ComputationalGraph:
    """Correlations of nodes that share a few factors, and one factor per site."""
    rng = np.random.default_rng(seed)
    n = nodes_of.n_nodes
    site = nodes_of.nodes["site"].astype("category").cat.codes.to_numpy()
    loads = rng.standard_normal((4, n)) * (rng.random((4, n)) < 0.4)
    signal = rng.standard_normal((400, 4)) @ loads + rng.standard_normal((400, site.max() + 1))[:, site]
    matrix = np.corrcoef((signal + rng.standard_normal((400, n))).T)
    return ComputationalGraph.from_matrix(
        matrix, nodes=nodes_of.partition, kind="functional", attributes={"method": "pearson"}
    )


def loose_graph(n: int, n_edges: int, n_levels: int, weight: float | None = None) -> ComputationalGraph:
    """A graph without an architecture: random pairs, inside levels too."""
    rng = np.random.default_rng(0)
    level = np.sort(rng.integers(0, n_levels, n))
    nodes = {
        "name": [f"mlp.{depth}/neuron.{k}" for k, depth in enumerate(level)],
        "site": [f"mlp.{depth}" for depth in level],
        "level": level,
    }
    pairs = np.unique(np.sort(rng.integers(0, n, (n_edges, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    weights = rng.standard_normal(len(pairs)) ** 3 if weight is None else np.full(len(pairs), weight)
    return ComputationalGraph(nodes, pairs[:, 0], pairs[:, 1], None, weights)


def faithfulness_table(
    n_graphs: int = 2, metrics: tuple[str, ...] = ("logit_difference", "kl")
) -> pd.DataFrame:
    """Sigmoid curves, one value far beyond the axis."""
    rows = []
    for graph in range(n_graphs):
        for ablation in ("edge", "node"):
            for metric in metrics:
                for fraction in (0.0, 0.002, 0.01, 0.05, 0.2, 1.0):
                    value = fraction / (fraction + 0.02 * (1 + graph)) * 1.03
                    value = 7.0 if (graph, metric, fraction) == (1, "kl", 0.01) else value
                    rows.append(
                        (
                            f"eap-{graph}",
                            ablation,
                            metric,
                            fraction,
                            round(1000 * fraction),
                            value,
                            value - 0.05,
                            value + 0.05,
                        )
                    )
    names = ["graph", "ablation", "metric", "fraction", "n_edges", "faithfulness", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def emergence_table() -> pd.DataFrame:
    """Three tasks learned one after the other; blocks and modularity of one graph."""
    rows = []
    for step in (0, 10, 40, 160, 640, 2560):
        for late, task in enumerate(("induction", "agreement", "greater_than")):
            value = 0.1 + 0.88 * step / (step + 30 * (1 + late))
            rows += [(step, "accuracy", task, value), (step, "faithfulness", task, value**2)]
        rows += [(step, "n_blocks", "eap", 1 + step // 500), (step, "modularity", "eap", 0.1 + step / 10000)]
    return pd.DataFrame(rows, columns=["step", "quantity", "series", "value"])


def visible_texts(figure: Figure) -> list[Text]:
    """Texts of a figure that say something; not the labels of ticks beyond an axis, which are never drawn."""
    beyond = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in texts if text not in beyond]


def overlapping_texts(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes share more than a sliver."""
    figure.canvas.draw()
    boxes = []
    for text in visible_texts(figure):
        box = text.get_window_extent()
        if box.width > 0 and box.height > 0:
            boxes.append((text.get_text(), box.x0 + 1, box.y0 + 1, box.x1 - 1, box.y1 - 1))
    return [
        (a[0], b[0])
        for k, a in enumerate(boxes)
        for b in boxes[k + 1 :]
        if a[1] < b[3] and b[1] < a[3] and a[2] < b[4] and b[2] < a[4]
    ]


def texts_outside(figure: Figure) -> list[str]:
    """Texts that leave the page."""
    figure.canvas.draw()
    wide, high = figure.bbox.width, figure.bbox.height
    out = []
    for text in visible_texts(figure):
        box = text.get_window_extent()
        if box.x0 < -1 or box.y0 < -1 or box.x1 > wide + 1 or box.y1 > high + 1:
            out.append(text.get_text())
    return out
