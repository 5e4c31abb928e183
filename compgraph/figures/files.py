"""A figure as files: the picture in every format, its data beside it, its caption."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from compgraph.figures import style

FORMATS = ("pdf", "png", "svg")
DATA = "data.csv"
CAPTION = "caption.txt"


def save(figure: Figure, stem: str | Path, formats: Iterable[str] = FORMATS) -> list[Path]:
    """Write `stem.pdf`, `stem.png`, … ; the same figure gives the same bytes.

    Parameters
    ----------
    figure
        The figure.
    stem
        Path without a suffix; its folder exists.
    formats
        Of `pdf`, `png`, `svg`.

    Returns
    -------
    The files written.

    Raises
    ------
    ValueError
        For another format.
    """
    written = []
    for kind in formats:
        path = Path(f"{stem}.{kind}")
        path.write_bytes(style.render(figure, kind))
        written.append(path)
    return written


def save_with_data(
    folder: str | Path, figure: Figure, data: pd.DataFrame, caption: str, formats: Iterable[str] = FORMATS
) -> list[Path]:
    """Write a folder that the report can show: `figure.*`, `data.csv`, `caption.txt`.

    Parameters
    ----------
    folder
        Made if it is missing.
    figure, data, caption
        Results of a figure module's `draw`, `data` and `caption`.
    formats
        See `save`.

    Returns
    -------
    The files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = save(figure, folder / "figure", formats)
    data.to_csv(folder / DATA, index=False, lineterminator="\n", float_format="%.6g")
    (folder / CAPTION).write_text(caption + "\n", encoding="utf-8")
    return [*written, folder / DATA, folder / CAPTION]
