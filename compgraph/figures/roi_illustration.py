"""What regions of interest are: units of one site sorted by region, with how they vary together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from compgraph.figures import style
from compgraph.figures.matrix import borders, frame, group_ticks, runs

COLUMNS = ("site", "unit", "roi", "top_class", "other", "r")
PER_LINE = 5
"""Classes on a line of the legend."""


def data(pairs: pd.DataFrame) -> pd.DataFrame:
    """One row a pair of units, as they are drawn: regions by the class they respond to most.

    Parameters
    ----------
    pairs
        Of `compgraph.rois.describe.unit_pairs`.
    """
    if missing := [name for name in COLUMNS if name not in pairs]:
        raise ValueError(f"the table of units lacks the columns {', '.join(missing)}")
    units = pairs.drop_duplicates("unit")[["unit", "roi", "top_class"]]
    order = units.sort_values(["top_class", "roi", "unit"], kind="stable")["unit"].to_numpy()
    place = pd.Series(np.arange(len(order)), index=order)
    sort = pd.DataFrame({"a": pairs["unit"].map(place), "b": pairs["other"].map(place)})
    return pairs.loc[sort.sort_values(["a", "b"], kind="stable").index].reset_index(drop=True)


@style.styled
def draw(pairs: pd.DataFrame, *, width: style.Width = "single") -> Figure:
    """Correlations between the units of a site, sorted by region, the regions coloured by class at the left.

    Parameters
    ----------
    pairs
        As for `data`.
    width
        Page columns the figure fills.
    """
    if pairs.empty:
        return style.message(style.new_figure(width, 1.6), "No site is divided into regions.")
    rows = data(pairs)
    units = rows.drop_duplicates("unit")
    n = len(units)
    matrix: NDArray[np.float64] = rows["r"].to_numpy(np.float64).reshape(n, n)
    groups = runs(units["roi"].tolist())
    classes = units["top_class"].astype(str).tolist()
    total = min(style.WIDTHS[width], 4.2)
    margin = 0.35 + max(style.text_width(str(g[0]), style.SMALL) for g in groups)
    side = total - margin - 0.12
    legend = 0.3 + 0.14 * -(-len(set(classes)) // PER_LINE)
    height = side + 0.3 + (legend if classes[0] else 0)
    figure = style.new_figure(total, height)
    axes = figure.add_axes((margin / total, 1 - (side + 0.25) / height, side / total, side / height))
    axes.imshow(matrix, cmap=style.DIVERGING, vmin=-1, vmax=1, extent=(0, n, n, 0), interpolation="none")
    borders(axes, [start for _, start, _ in groups], n)
    group_ticks(axes, groups, n, side, bottom=False)
    axes.set_title(f"units of {rows['site'].iloc[0]}")
    frame(axes)
    if classes[0]:
        colours = style.series_colours(dict.fromkeys(classes))
        for name, start, stop in runs(classes):
            band = Rectangle((-0.035 * n, start), 0.03 * n, stop - start, color=colours[str(name)], clip_on=False)
            axes.add_patch(band)
        axes.tick_params(axis="y", pad=0.045 * side * 72)
        handles = [Rectangle((0, 0), 1, 1, color=colour, label=name) for name, colour in colours.items()]
        figure.legend(handles=handles, loc="lower left", ncols=PER_LINE, title="class responded to most", borderpad=0)
    return figure


def caption(pairs: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    pairs
        As for `data`.
    subject
        Model, site and data in words.
    """
    opening = f"Regions of interest{' of ' + subject if subject else ''}."
    if pairs.empty:
        return f"{opening} No site is divided into regions."
    inside = pairs["roi"] == pairs["other_roi"]
    others = pairs["unit"] != pairs["other"]
    within, between = (float(pairs.loc[which & others, "r"].mean()) for which in (inside, ~inside))
    return (
        f"{opening} Correlation between {style.count(pairs['unit'].nunique(), 'unit')} of {pairs['site'].iloc[0]}, "
        f"sorted by region ({style.count(pairs['roi'].nunique(), 'region')}), the regions by the class that they "
        "respond to most. Look for dark squares on the diagonal. The mean correlation within regions is "
        f"{within:.2f}, between them {between:.2f}."
    )
