"""Functional connectivity: which nodes vary together, whatever the cause."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from compgraph.figures import matrix as grid
from compgraph.figures import style
from compgraph.figures.tables import described, edge_table
from compgraph.graph import ComputationalGraph

MATRIX_INCHES = 4.1


def sorted_nodes(graph: ComputationalGraph) -> NDArray[Any]:
    """Order of the matrix: sites in order of computation, inside a site by the leading eigenvector.

    The eigenvector of the site's own weights puts nodes that vary together side by side.
    """
    weights = graph.matrix(signed=True)
    level = graph.nodes["level"].to_numpy()
    site = graph.nodes["site"].astype(str).to_numpy()
    first = {name: position for position, name in reversed(list(enumerate(site)))}
    order: list[int] = []
    for name in sorted(first, key=lambda s: (level[first[s]], first[s])):
        members = np.flatnonzero(site == name)
        vector = _leading_vector(weights[np.ix_(members, members)])
        order += members[np.argsort(vector, kind="stable")].tolist()
    return np.array(order, dtype=int)


def _leading_vector(block: NDArray[Any], steps: int = 200) -> NDArray[Any]:
    """Leading eigenvector of a symmetric matrix by power iteration, its largest entry positive."""
    n = len(block)
    if n < 3 or not np.any(block):
        return np.zeros(n)
    block = np.nan_to_num(block)
    shifted = block + np.eye(n) * np.abs(block).sum(axis=1).max()  # all eigenvalues >= 0
    vector = np.cos(np.arange(n, dtype=float))
    for _ in range(steps):
        vector = shifted @ vector
        vector /= np.linalg.norm(vector)
    return np.asarray(np.round(vector * np.sign(vector[np.abs(vector).argmax()]), 9))


@style.styled
def draw(graph: ComputationalGraph, *, width: style.Width = "double") -> Figure:
    """Correlation matrix sorted by site, and the distribution of its entries inside and between sites.

    Parameters
    ----------
    graph
        Functional graph, undirected, one edge per pair (`kind="functional"`).
    width
        `double`: matrix and distribution side by side; `single`: the matrix alone.
    """
    if graph.n_nodes < 2 or graph.n_edges == 0:
        return style.message(style.new_figure(width, 1.6), "No pair of nodes to correlate.")
    order = sorted_nodes(graph)
    sites = graph.nodes["site"].astype(str).to_numpy()[order]
    groups = grid.runs(sites.tolist())
    margin = 0.16 + max(style.text_width(str(name), style.SMALL) for name, _, _ in groups)
    total = style.WIDTHS[width]
    side = MATRIX_INCHES if width == "double" else total - margin - 0.62
    height = side + margin + 0.3
    figure = style.new_figure(width, height)
    axes = figure.add_axes((margin / total, margin / height, side / total, side / height))
    _matrix(figure, axes, graph, order, groups, (margin, side, total, height))
    if width == "double":
        left = margin + side + 1.15
        panel = figure.add_axes(
            (
                left / total,
                (margin + 0.35 * side) / height,
                (total - left - 0.12) / total,
                0.65 * side / height,
            )
        )
        _distribution(panel, graph)
    return figure


def _matrix(
    figure: Figure,
    axes: Axes,
    graph: ComputationalGraph,
    order: NDArray[Any],
    groups: list[tuple[object, int, int]],
    sizes: tuple[float, float, float, float],
) -> None:
    margin, side, total, height = sizes
    n = graph.n_nodes
    values = np.array(graph.matrix(signed=True), dtype=float)
    np.fill_diagonal(values, np.nan)
    limit = colour_limit(np.asarray(graph.weight, dtype=float))
    cmap = style.DIVERGING.with_extremes(bad=style.FAINT)
    image = axes.imshow(
        grid.shrink(values[np.ix_(order, order)]),
        cmap=cmap,
        vmin=-limit,
        vmax=limit,
        extent=(0, n, n, 0),
        interpolation="nearest",
        aspect="equal",
    )
    grid.borders(axes, [start for _, start, _ in groups], n)
    grid.group_ticks(axes, groups, n, side)
    grid.frame(axes)
    beyond = float(np.abs(graph.weight).max()) > limit * (1 + 1e-9)
    bar = figure.add_axes(((margin + side + 0.1) / total, margin / height, 0.11 / total, side / height))
    colours = figure.colorbar(image, cax=bar, extend="both" if beyond else "neither")
    colours.outline.set_linewidth(0.4)
    figure.text(
        (margin + side + 0.6) / total,
        1 - 0.15 / height,
        measure(graph),
        ha="right",
        va="center",
        fontsize=style.SMALL,
    )


def colour_limit(weights: NDArray[Any]) -> float:
    """Symmetric end of the colour scale: the 99.5th percentile of the absolute weights, rounded up to 1 or 2
    digits.
    """
    size = np.abs(weights[np.isfinite(weights)])
    top = float(np.quantile(size, 0.995)) if len(size) else 0.0
    if top == 0:
        top = float(size.max()) if len(size) and size.max() > 0 else 1.0
    step = 10.0 ** (math.floor(math.log10(top)) - (0 if top >= 10 ** math.floor(math.log10(top)) * 3 else 1))
    return math.ceil(top / step - 1e-9) * step


def measure(graph: ComputationalGraph) -> str:
    """Axis label of the edge weights."""
    return "Pearson correlation" if graph.attributes.get("method") == "pearson" else "weight"


def _same_site(graph: ComputationalGraph) -> NDArray[Any]:
    site = graph.nodes["site"].astype(str).to_numpy()
    return np.asarray(site[graph.source] == site[graph.target])


def _distribution(axes: Axes, graph: ComputationalGraph) -> None:
    weights = np.asarray(graph.weight, dtype=float)
    same = _same_site(graph)
    limit = colour_limit(weights)
    bins = np.linspace(-limit, limit, 2 * int(np.clip(np.sqrt(len(weights)) / 2, 5, 20)) + 1)
    for chosen, colour, label in (
        (same, style.SITE_COLOURS["attn"], "same site"),
        (~same, style.MUTED, "between sites"),
    ):
        if not chosen.any():
            continue
        shares = np.histogram(np.clip(weights[chosen], -limit, limit), bins)[0] / chosen.sum()
        axes.stairs(
            shares,
            bins,
            color=colour,
            linewidth=1.2,
            label=f"{label}\n({style.count(int(chosen.sum()), 'pair')})",
        )
        axes.stairs(shares, bins, color=colour, alpha=0.12, fill=True)
    axes.axvline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    axes.set_xlabel(measure(graph))
    axes.set_ylabel("share of pairs")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_ylim(bottom=0)
    axes.set_xlim(-limit, limit)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1, alignment="left")


def data(graph: ComputationalGraph) -> pd.DataFrame:
    """The matrix as drawn: a column `node`, then one per node, in sorted order; the diagonal is empty."""
    order = sorted_nodes(graph)
    names = graph.nodes["name"].to_numpy(dtype=object)[order]
    values = np.array(graph.matrix(signed=True), dtype=float)
    np.fill_diagonal(values, np.nan)
    table = pd.DataFrame(values[np.ix_(order, order)], columns=names)
    table.insert(0, "node", names)
    return table


def caption(graph: ComputationalGraph, *, subject: str = "") -> str:
    """What to look for, and what this graph shows.

    Parameters
    ----------
    graph
        As for `draw`.
    subject
        The model, checkpoint and data the graph belongs to, in words.
    """
    opening = f"Functional connectivity{described(graph, subject)}."
    if graph.n_nodes < 2 or graph.n_edges == 0:
        return f"{opening} There is no pair of nodes to correlate."
    weights = np.asarray(graph.weight, dtype=float)
    same = _same_site(graph)
    facts = [
        f"the mean absolute weight is {style.number(float(np.abs(weights[chosen]).mean()))} {words}"
        for chosen, words in ((same, "inside a site"), (~same, "between sites"))
        if chosen.any()
    ]
    best = edge_table(graph).iloc[0]
    return (
        f"{opening} Rows and columns are the same {style.count(graph.n_nodes, 'node')}, sorted by site"
        " (lines) and inside a site so that nodes that vary together are neighbours; red pairs rise"
        " together, blue pairs oppose each other. Look for squares on the diagonal (a site whose parts act"
        " as one) and for bright rectangles away from it (sites that copy each other). In this run"
        f" {' and '.join(facts)}; {style.percent((weights < 0).mean())} of the pairs are negative; the"
        f" strongest pair is {best['source']} and {best['target']} ({style.number(float(best['weight']))})."
    )
