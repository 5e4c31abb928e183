"""Regions that are given: a label for each unit, from a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from compgraph.errors import DataError
from compgraph.rois.number import Number
from compgraph.rois.signals import Units

COLUMNS = ("site", "unit", "label")


def find(units: Units, n_rois: Number, seed: int, *, path: str = "") -> npt.NDArray[np.int64]:
    """Labels of a table (CSV with a heading, or Parquet) with the columns site, unit and label.

    Parameters
    ----------
    units
        What is divided; every live one must be in the table. Labels may be words.
    n_rois
        None: the table decides.
    seed
        Not used.
    path
        The table.

    Raises
    ------
    DataError
        No such table or column, or a live unit without a label or with two.
    """
    if n_rois is not None:
        raise DataError("rois: labels are given by the table; leave n_rois out")
    table = _read(path)
    found = []
    for site, one in units.sites.items():
        own = table[table["site"].astype(str) == site]
        if own["unit"].duplicated().any():
            twice = own.loc[own["unit"].duplicated(), "unit"].iloc[0]
            raise DataError(f"rois: {path} has two labels for unit {twice} of {site!r}")
        labels = own.set_index("unit")["label"].reindex(one.live)
        if labels.isna().any():
            missing = int(one.live[labels.isna().to_numpy().argmax()])
            raise DataError(f"rois: {path} has no label for unit {missing} of {site!r}; every live unit needs one")
        found.append(labels.astype(str).to_numpy())
    _, numbers = np.unique(np.concatenate(found), return_inverse=True)
    return numbers.astype(np.int64)


def _read(path: str) -> pd.DataFrame:
    if not path:
        raise DataError("rois: labels needs the path of a table with the columns site, unit and label")
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"rois: there is no table {path}")
    table = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    if missing := [name for name in COLUMNS if name not in table]:
        raise DataError(f"rois: {path} lacks the columns {', '.join(missing)}")
    return table
