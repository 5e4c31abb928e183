"""Static circuits of heads: copying, matching and attention by position, a cell for each head."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from compgraph.figures import style
from compgraph.figures.heat import annotated
from compgraph.figures.tables import described
from compgraph.graph import ComputationalGraph

PANELS: dict[str, tuple[str, tuple[float, float], Colormap]] = {
    "ov_copying": ("OV circuit: copying", (-1.0, 1.0), style.DIVERGING),
    "qk_matching": ("QK circuit: matching", (-1.0, 1.0), style.DIVERGING),
    "previous_token": ("attention to the token before", (0.0, 1.0), style.SEQUENTIAL),
}
ROW, GAP, LEFT, TOP, BOTTOM = 0.2, 0.25, 0.5, 0.3, 0.36


@style.styled
def draw(graph: ComputationalGraph, *, width: style.Width = "double") -> Figure:
    """Layers by heads, a panel for each score.

    Parameters
    ----------
    graph
        Of the method `virtual-circuits`.
    width
        Page columns the figure fills.
    """
    table = data(graph)
    layers, heads = table["layer"].nunique(), int(table["head"].max()) + 1
    total = style.WIDTHS[width]
    across = len(PANELS) if width == "double" else 1
    down = -(-len(PANELS) // across)
    wide, high = (total - LEFT - 0.1 - (across - 1) * GAP) / across, ROW * max(layers, 3)
    height = down * (TOP + high + BOTTOM)
    figure = style.new_figure(total, height)
    for k, (name, (title, limits, colours)) in enumerate(PANELS.items()):
        x, y = LEFT + (k % across) * (wide + GAP), height - (k // across) * (TOP + high + BOTTOM) - TOP - high
        axes = figure.add_axes((x / total, y / height, wide / total, high / height))
        matrix = table.pivot(index="layer", columns="head", values=name).to_numpy(dtype=float)
        rows = [f"{layer}" if k % across == 0 else "" for layer in sorted(table["layer"].unique())]
        annotated(axes, matrix, rows, range(heads), (wide, high), limits=limits, form=_short, cmap=colours)
        axes.set_title(title)
        axes.set_xlabel("head", labelpad=2)
        if k % across == 0:
            axes.set_ylabel("layer", labelpad=3)
    return figure


def data(graph: ComputationalGraph) -> pd.DataFrame:
    """A row per head: layer, head and its scores."""
    nodes = graph.nodes[graph.nodes["previous_token"].notna()]
    place = nodes["site"].astype(str).str.split(".").str[1].astype(int)
    scores = [name for name in nodes.columns if name not in ("name", "site", "label", "size", "level")]
    table = pd.DataFrame({"layer": place, "head": nodes["label"].astype(int)})
    return table.join(nodes[scores]).reset_index(drop=True)


def caption(graph: ComputationalGraph, *, subject: str = "") -> str:
    """What to look for, and what this graph shows.

    Parameters
    ----------
    graph
        As for `draw`.
    subject
        The model the graph belongs to, in words.
    """
    table = data(graph)
    found = []
    for name, words in (("ov_copying", "copies most"), ("previous_token", "looks most at the token before")):
        if table[name].notna().any():
            best = table.loc[table[name].idxmax()]
            found.append(
                f"attn.{int(best['layer'])}/head.{int(best['head'])} {words} ({style.number(float(best[name]))})"
            )
    direct = float(graph.attributes.get("direct_copying", np.nan))
    return (
        f"Static circuits of heads{described(graph, subject)}, from the weights without any data. Copying: eigenvalues"
        " of the map from tokens to logits through the head alone, the sum of real parts over that of absolute values,"
        " 1 where every token raises itself, -1 where it lowers itself. Matching: the same of the map by which tokens"
        " attend to tokens. Right: mean attention to the position before in a stream of the mean embedding. Look for"
        " heads that copy and for heads that look back: together they make induction."
        f" In this run {', and '.join(found)}; the path from the embedding straight to the logits copies"
        f" {style.number(direct)}."
    )


def _short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".") if abs(value) < 1 else f"{value:.0f}"
