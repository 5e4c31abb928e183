"""Whether regions of interest are better nodes than heads or neurons: overlap, faithful circuits, concentration."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from compgraph.figures import style
from compgraph.figures.faithfulness import checked, draw_legend, draw_panel, legend_rows, line_styles

OVERLAP_COLUMNS = ("regions", "site", "ami", "null_low", "null_high")
CARRIED_COLUMNS = ("graph", "of", "n", "share", "carried", "null_mean", "null_low", "null_high")
STATED = 0.1
"""The share of the edges that the caption is about."""
RANDOM = (0, (2, 1.2))
PANEL = 2.25


def data(circuits: pd.DataFrame, carried: pd.DataFrame, overlap: pd.DataFrame) -> pd.DataFrame:
    """The plotted rows, by what they show (column `shows`): overlap, faithfulness, concentration.

    Parameters
    ----------
    circuits, carried
        Tables of the test `against-random` of several graphs, with the column `graph` that names each.
    overlap
        Of `compgraph.rois.overlap.overlap_with_heads`, with the column `regions` that names the division.
    """
    for table, needed in ((overlap, OVERLAP_COLUMNS), (carried, CARRIED_COLUMNS)):
        if missing := [name for name in needed if name not in table]:
            raise ValueError(f"the table lacks the columns {', '.join(missing)}")
    parts = {
        "overlap": overlap.sort_values(["regions", "site"], kind="stable"),
        "faithfulness": _one_metric(circuits),
        "concentration": carried,
    }
    return pd.concat([table.assign(shows=name) for name, table in parts.items() if len(table)], ignore_index=True)


@style.styled
def draw(
    circuits: pd.DataFrame, carried: pd.DataFrame, overlap: pd.DataFrame, *, width: style.Width = "double"
) -> Figure:
    """Faithfulness against the number of edges; the part of the attribution that the strongest edges and nodes carry;
    and the overlap of regions and heads, where some regions are of attention. Dashed: random nodes of equal sizes.

    Parameters
    ----------
    circuits, carried, overlap
        As for `data`; of several metrics the first is drawn.
    width
        Page columns the figure fills; `single`: panels one above the other.
    """
    curves = checked(_one_metric(circuits), "n_edges")
    curves = curves.assign(curve=curves["graph"])
    if curves.empty:
        return style.message(style.new_figure(width, 1.6), "No evaluated circuit to draw.")
    lines = _lines(carried)
    n_panels = 3 + (not overlap.empty)
    across = 2 if width == "double" else 1
    total = style.WIDTHS[width]
    legend = 0.14 * legend_rows(lines, total) + 0.12
    height = PANEL * -(-n_panels // across) + legend
    figure = style.new_figure(total, height)
    cell = total / across
    places = [divmod(number, across) for number in range(n_panels)]
    panels = [
        figure.add_axes((
            (column * cell + 0.56) / total, (height - legend - (row + 1) * PANEL + 0.48) / height,
            (cell - 0.82) / total, (PANEL - 0.72) / height,
        ))
        for row, column in places
    ]  # fmt: skip
    draw_panel(panels[0], curves, lines, "n_edges", first=True)
    panels[0].set_title(f"faithfulness of {str(curves['metric'].iloc[0]).replace('_', ' ')}")
    _chance(panels[0], curves, lines, "n_edges")
    for axes, of in zip(panels[1:], ("edges", "nodes"), strict=False):
        _concentration(axes, carried[carried["of"] == of].assign(curve=carried["graph"]), lines)
        axes.set_xlabel(f"share of {of}, the strongest")
        axes.set_title(f"attribution carried by the strongest {of}")
    if len(panels) > 3:
        _overlap(panels[3], overlap, {name: str(how["color"]) for name, how in lines.items()})
    draw_legend(figure, lines, total)
    return figure


def _one_metric(circuits: pd.DataFrame) -> pd.DataFrame:
    return circuits[circuits["metric"] == circuits["metric"].iloc[0]] if len(circuits) else circuits


def _lines(carried: pd.DataFrame) -> dict[str, dict[str, object]]:
    """Curve name -> how it is drawn; the graphs of the table in its order."""
    named = pd.DataFrame({"graph": carried["graph"].drop_duplicates()})
    lines = line_styles(named)
    return {str(name): lines.get(str(name), next(iter(lines.values()))) for name in named["graph"]}


def _chance(axes: Axes, table: pd.DataFrame, lines: dict[str, dict[str, object]], axis: str) -> None:
    """Mean and range of random nodes, dashed, in the colour of what they are like."""
    for name, how in lines.items():
        own = table[(table["curve"] == name) & table["null_mean"].notna()].sort_values(axis, kind="stable")
        if own.empty:
            continue
        x = own[axis].to_numpy(float)
        axes.plot(x, own["null_mean"].to_numpy(float), color=str(how["color"]), linestyle=RANDOM, linewidth=0.9)
        low, high = own["null_low"].to_numpy(float), own["null_high"].to_numpy(float)
        axes.fill_between(x, low, high, color=str(how["color"]), alpha=0.1, linewidth=0, zorder=1)


def _concentration(axes: Axes, table: pd.DataFrame, lines: dict[str, dict[str, object]]) -> None:
    for name, how in lines.items():
        own = table[table["curve"] == name]
        axes.plot(own["share"].to_numpy(float), own["carried"].to_numpy(float), color=str(how["color"]), zorder=3)
    _chance(axes, table, lines, "share")
    axes.set_xscale("log")
    axes.set_xlim(right=1.0)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("part of all attribution", labelpad=2)


def _overlap(axes: Axes, overlap: pd.DataFrame, of_graphs: dict[str, str]) -> None:
    """Divisions called like a graph have its colour."""
    names, sites = sorted(overlap["regions"].unique()), sorted(overlap["site"].unique())
    colours = style.series_colours(names) | {name: of_graphs[name] for name in names if name in of_graphs}
    for place, name in enumerate(names):
        own = overlap[overlap["regions"] == name].set_index("site")
        x = [sites.index(site) + (place - (len(names) - 1) / 2) * 0.7 / len(names) for site in own.index]
        axes.vlines(x, own["null_low"], own["null_high"], color=style.FAINT, linewidth=4, zorder=1)
        axes.plot(x, own["ami"], "o", color=colours[name], markersize=3.5, label=name, zorder=3)
    axes.set_xticks(range(len(sites)), sites)
    axes.set_xlim(-0.5, len(sites) - 0.5)
    axes.axhline(0, color=style.MUTED, linewidth=0.6, zorder=0)
    axes.set_ylabel("adjusted mutual information")
    axes.set_title("regions and heads")
    if set(names) - set(of_graphs):
        axes.legend(loc="best", fontsize=style.SMALL)


def caption(circuits: pd.DataFrame, carried: pd.DataFrame, overlap: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    circuits, carried, overlap
        As for `data`.
    subject
        Model, checkpoint and data in words.
    """
    opening = f"Regions, heads and neurons as nodes{' of ' + subject if subject else ''}."
    curves = _one_metric(circuits)
    if curves.empty:
        return f"{opening} No circuit was evaluated."
    said = [
        opening,
        "Circuits keep the strongest edges between the nodes; better nodes have a curve further up and to the left."
        " Dashed, with their 95 % range: random nodes of the same sizes.",
        f"At {style.percent(STATED)} of the edges: {_facts(curves, 'fraction', 'faithfulness', '{n:,} edges keep')}.",
    ]
    edges = carried[carried["of"] == "edges"]
    said.append(
        "The steeper attribution rises, the fewer edges or nodes carry it. The strongest "
        f"{style.percent(STATED)} of the edges: {_facts(edges, 'share', 'carried', '{n:,} edges carry')}."
    )
    if len(overlap):
        means = overlap.groupby("regions")[["ami", "null_high"]].mean()
        each = "; ".join(
            f"{name} {row.ami:.2f} (random ones up to {row.null_high:.2f})" for name, row in means.iterrows()
        )
        said.append(
            "Adjusted mutual information of regions and heads is 1 where they are the same; grey: the 95 % range of "
            f"random regions of the same sizes. Mean over sites: {each}."
        )
    return " ".join(said)


def _facts(table: pd.DataFrame, axis: str, column: str, words: str) -> str:
    """What each graph reaches at about the stated share, and random nodes like it."""
    facts = []
    for name, own in table.groupby("graph", sort=False):
        row = own.iloc[(own[axis] - STATED).abs().to_numpy().argmin()]
        n = int(row["n_edges"] if "n_edges" in row else row["n"])
        chance = f" (random {row['null_mean']:.2f})" if pd.notna(row["null_mean"]) else ""
        facts.append(f"{name}: {words.format(n=n)} {row[column]:.2f}{chance}")
    return "; ".join(facts)
