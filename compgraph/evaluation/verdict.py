"""One sentence about a circuit, from its row of a faithfulness table and the table of its edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def verdict(row: Mapping[str, Any], parts: pd.DataFrame | None = None) -> str:
    """What a circuit keeps, what random ones keep, and how many of its edges are not needed.

    Parameters
    ----------
    row
        A row of `FaithfulnessCurve.table`, best with random circuits.
    parts
        What `minimality` says of its edges or nodes.

    Returns
    -------
    str
        `This circuit of 3 % of the edges keeps 0.91 ± 0.02 of the logit difference, random ones 0.12, p < 0.001; 4 of
        its 20 edges are not needed.` Behind ± is half the width of the 95 % interval. An edge counts as not needed
        where its loss is not larger than chance at the level that `minimality` was asked for.
    """
    size = f"This circuit of {_percent(float(row['fraction']))} of the edges"
    metric = str(row["metric"]).replace("_", " ")
    if not np.isfinite(row["faithfulness"]):
        said = f"{size} cannot be judged by {metric}: {row['reason']}"
    else:
        said = f"{size} keeps {row['faithfulness']:.2f}"
        if np.isfinite(row["low"]):
            said += f" ± {(row['high'] - row['low']) / 2:.2f}"
        said += f" of the {metric}"
        if np.isfinite(row.get("null_mean", np.nan)):
            said += f", random ones {row['null_mean']:.2f}, {p_words(float(row['p']))}"
    if parts is not None and len(parts):
        idle = int((~parts["needed"].astype(bool)).sum())
        what = "edges" if "source" in parts else "nodes"
        some = f"; {idle} of its {len(parts)} {what} {'is' if idle == 1 else 'are'} not needed"
        said += some if idle else f"; all of its {len(parts)} {what} are needed"
    return said + "."


def p_words(p: float) -> str:
    """`p < 0.001`, or `p = 0.004`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
