"""Node ablation against edge ablation: the networks that really run, drawn edge by edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from compgraph.figures import style

TITLES = {
    "model": "the model",
    "circuit": "a circuit",
    "node ablation": "what node ablation runs",
    "edge ablation": "what edge ablation runs",
}
CHOSEN, OTHER = "#0072B2", "#D55E00"
COLUMNS = ("network", "source", "target", "weight", "used", "chosen")
WIDEST = 2.2


def data(edges: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """The edges that are drawn: `network`, `source`, `target`, `weight`, `chosen`.

    Parameters
    ----------
    edges, networks
        Of `compgraph.evaluation.wiring.Wiring`.
    """
    if missing := [name for name in COLUMNS if name not in edges]:
        raise ValueError(f"the table of edges lacks the columns {', '.join(missing)}")
    used = edges[edges["used"].astype(bool)]
    return used[["network", "source", "target", "weight", "chosen"]].reset_index(drop=True)


@style.styled
def draw(edges: pd.DataFrame, networks: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """One panel a network: layers as rows, the input at the bottom, an edge as wide as its weight.

    Parameters
    ----------
    edges, networks
        Of `compgraph.evaluation.wiring.Wiring`.
    width
        Page columns the figure fills; `single` sets two panels a row.
    """
    rows = data(edges, networks)
    if rows.empty:
        return style.message(style.new_figure(width, 1.6), "No network to draw.")
    columns = 4 if width == "double" else 2
    n_rows = len(TITLES) // columns
    total = style.WIDTHS[width]
    panel, high = total / columns, 1.75
    height = n_rows * (high + 0.48) + 0.3
    figure = style.new_figure(width, height)
    places = _places(edges)
    largest = float(edges["weight"].abs().max())
    said = networks.set_index("network")
    for number, (name, title) in enumerate(TITLES.items()):
        left = (number % columns) * panel
        bottom = height - (number // columns + 1) * (high + 0.48) + 0.16
        axes = figure.add_axes(((left + 0.1) / total, bottom / height, (panel - 0.2) / total, high / height))
        _network(axes, rows[rows["network"] == name], places, largest, name == "model")
        axes.set_title(title, loc="center", pad=3)
        axes.text(0.5, -0.05, _numbers(name, rows, said), transform=axes.transAxes, ha="center", va="top",
                  fontsize=style.SMALL, color=style.MUTED)  # fmt: skip
    figure.legend(
        handles=[Line2D([], [], color=CHOSEN, linewidth=2, label="edge of the circuit"),
                 Line2D([], [], color=OTHER, linewidth=2, label="edge that is run, but is not in the circuit")],
        loc="lower center", bbox_to_anchor=(0.5, 0.0), ncols=2 if width == "double" else 1, frameon=False,
        fontsize=style.SMALL, borderaxespad=0.1, labelspacing=0.2,
    )  # fmt: skip
    return figure


def _places(edges: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """(x, y) of each node: sites as rows in the order of reading, units side by side."""
    pairs = edges[["source", "target"]].drop_duplicates().astype(str)
    sites = {name: name.partition("/")[0] for name in pd.unique(pairs.to_numpy().ravel())}
    row: dict[str, int] = {}
    for source, target in zip(pairs["source"], pairs["target"], strict=True):
        row.setdefault(sites[source], 0)
        row[sites[target]] = max(row.get(sites[target], 0), row[sites[source]] + 1)
    members: dict[str, list[str]] = {}
    for name, site in sites.items():
        members.setdefault(site, []).append(name)
    return {
        name: ((position + 0.5) / len(names), float(row[site]))
        for site, names in members.items()
        for position, name in enumerate(sorted(names, key=_number))
    }


def _number(name: str) -> int:
    return int(name.rpartition(".")[2]) if name.rpartition(".")[2].isdigit() else 0


def _network(
    axes: Axes, rows: pd.DataFrame, places: dict[str, tuple[float, float]], largest: float, plain: bool
) -> None:
    style.clean_axes(axes)
    order = np.argsort(rows["weight"].abs().to_numpy(), kind="stable")
    rows = rows.iloc[order]
    ends = [(places[str(a)], places[str(b)]) for a, b in zip(rows["source"], rows["target"], strict=True)]
    size: NDArray[Any] = (rows["weight"].abs() / (largest or 1.0)).to_numpy(dtype=float)
    chosen = rows["chosen"].to_numpy(dtype=bool)
    colours = [style.MUTED if plain else CHOSEN if one else OTHER for one in chosen]
    lines = LineCollection(ends, colors=colours, linewidths=0.35 + WIDEST * size**0.7, alpha=0.8, zorder=1)
    lines.set_gid("edges")
    axes.add_collection(lines)
    used = set(rows["source"].astype(str)) | set(rows["target"].astype(str))
    for name, (x, y) in places.items():
        shade = style.INK if name in used else style.FAINT
        axes.plot([x], [y], "o", markersize=6, color="white" if name in used else style.BAND, markeredgecolor=shade,
                  markeredgewidth=0.8, zorder=2)  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.25, max(y for _, y in places.values()) + 0.25)


def _numbers(name: str, rows: pd.DataFrame, said: pd.DataFrame) -> str:
    """Edges, and what the network does where it runs."""
    n_edges = int((rows["network"] == name).sum())
    if name not in said.index:
        return f"{n_edges} edges"
    return f"{n_edges} edges, accuracy {style.percent(float(said.loc[name, 'accuracy']))}"


def caption(edges: pd.DataFrame, networks: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what these networks show.

    Parameters
    ----------
    edges, networks
        Of `compgraph.evaluation.wiring.Wiring`.
    subject
        Not used: the network belongs to no study.
    """
    rows = data(edges, networks)
    opening = "Node against edge ablation on a small trained perceptron."
    if rows.empty:
        return f"{opening} There is no network."
    count = rows.groupby("network").size()
    more = int((~rows.loc[rows["network"] == "node ablation", "chosen"].astype(bool)).sum())
    said = networks.set_index("network")["accuracy"].map(style.percent)
    same = _same(rows, "edge ablation")
    return (
        f"{opening} Which edges run is measured, not assumed: an edge is drawn where changing its weight changes the"
        " logits. Both ablations are given the same circuit and baseline zero. Look for the orange edges: node ablation"
        " can only say which nodes stay, so it runs every edge between them, and credits the circuit with what they do."
        f" In this run the circuit has {int(count.get('circuit', 0))} of {int(count.get('model', 0))} edges; node"
        f" ablation runs {more} edges that are not in it and keeps an accuracy of {said.get('node ablation', '–')},"
        f" edge ablation runs {'exactly the circuit' if same else 'other edges than the circuit'} and keeps"
        f" {said.get('edge ablation', '–')} (the model: {said.get('model', '–')})."
    )


def _same(rows: pd.DataFrame, name: str) -> bool:
    """Whether a network runs the circuit's edges and no others."""
    ends = rows.assign(edge=rows["source"].astype(str) + " -> " + rows["target"].astype(str))
    return set(ends.loc[ends["network"] == name, "edge"]) == set(ends.loc[ends["network"] == "circuit", "edge"])
