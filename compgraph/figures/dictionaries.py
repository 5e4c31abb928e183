"""Dictionaries: how often features are active, and how training went."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compgraph.figures import style

QUALITY_COLUMNS = ("site", "n_features", "explained_variance", "l0", "dead_share", "loss_recovered")
DENSITY_COLUMNS = ("site", "density")
BINS = np.linspace(-5, 0, 26)
"""Of the logarithm to base 10 of a density; rarer features are in the first, silent ones in none."""


def data(quality: pd.DataFrame, density: pd.DataFrame, training: pd.DataFrame | None = None) -> pd.DataFrame:
    """Features in each bin: `site`, `low` and `high` (bounds of the density), `features`.

    Parameters
    ----------
    quality, density
        Of `compgraph.dictionaries.quality`.
    training
        Not part of the table; it lies in the result that is drawn.
    """
    for table, needed in ((quality, QUALITY_COLUMNS), (density, DENSITY_COLUMNS)):
        if missing := [name for name in needed if name not in table]:
            raise ValueError(f"the table of dictionaries lacks the columns {', '.join(missing)}")
    parts = []
    for site, rows in density.groupby("site", sort=False):
        alive = np.log10(rows.loc[rows["density"] > 0, "density"].to_numpy())
        counts = np.histogram(np.clip(alive, BINS[0], BINS[-1]), BINS)[0]
        parts.append(pd.DataFrame({"site": site, "low": 10 ** BINS[:-1], "high": 10 ** BINS[1:], "features": counts}))
    return pd.concat(parts, ignore_index=True)


@style.styled
def draw(
    quality: pd.DataFrame,
    density: pd.DataFrame,
    training: pd.DataFrame | None = None,
    *,
    width: style.Width = "double",
) -> Figure:
    """Histogram of the features' densities, and the explained variance during training, a line a site.

    Parameters
    ----------
    quality, density, training
        As for `data`; without `training` the histogram is alone.
    width
        Page columns the figure fills.
    """
    bins = data(quality, density)
    panels = 2 if training is not None and width == "double" else 1
    total = style.WIDTHS[width] if panels == 2 else min(style.WIDTHS[width], 3.6)
    legend = 0.14 * len(quality) + 0.1
    height = 2.2 + legend
    figure = style.new_figure(total, height)
    colours = style.series_colours(quality["site"])
    cell = total / panels
    axes = [
        figure.add_axes(((k * cell + 0.52) / total, 0.42 / height, (cell - 0.7) / total, 1.62 / height))
        for k in range(panels)
    ]
    for line in quality.itertuples():
        rows = bins[bins["site"] == line.site]
        label = (
            f"{line.site}: {line.n_features} features, L0 {line.l0:.1f}, explained variance "
            f"{line.explained_variance:.2f}, loss recovered {line.loss_recovered:.2f}"
        )
        axes[0].stairs(rows["features"], BINS, color=colours[str(line.site)], label=label)
        if panels == 2 and training is not None:
            trained = training[training["site"] == line.site]
            axes[1].plot(trained["rows"], trained["explained_variance"], color=colours[str(line.site)])
    _name(axes[0], "share of the rows in which a feature is active", "features")
    axes[0].set_xticks(range(-5, 1), [f"$10^{{{k}}}$" for k in range(-5, 1)])
    if panels == 2 and training is not None:
        _name(axes[1], "rows trained on", "explained variance")
        axes[1].set_ylim(min(0.0, float(np.quantile(training["explained_variance"], 0.05))), 1.02)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="upper left", frameon=False, fontsize=style.SMALL)
    return figure


def _name(axes: Axes, below: str, beside: str) -> None:
    axes.set_xlabel(below)
    axes.set_ylabel(beside)


def caption(
    quality: pd.DataFrame, density: pd.DataFrame, training: pd.DataFrame | None = None, *, subject: str = ""
) -> str:
    """One paragraph about the figure."""
    best = quality.loc[quality["explained_variance"].idxmax()]
    dead = style.percent(float((density["density"] == 0).mean()))
    of = f" of {subject}" if subject else ""
    return (
        f"Features of {style.count(len(quality), 'dictionary', 'dictionaries')}{of}: how many are active in which "
        f"share of the held-out rows ({dead} in none)"
        + (", and the explained variance of the training rows" if training is not None else "")
        + f". The dictionary of {best['site']} explains {best['explained_variance']:.3f} of the variance with "
        f"{best['l0']:.1f} active features a row; spliced into the network it recovers {best['loss_recovered']:.3f} of "
        "the loss that zero in its place costs."
    )
