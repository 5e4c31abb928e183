"""Communities at several resolutions, and which of them last."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph import catalogue
from compgraph.communities.agreement import mean_agreement
from compgraph.communities.find import N_NULLS, find_communities
from compgraph.errors import ConfigError
from compgraph.graph_import import as_graph
from compgraph.multiple_testing import benjamini_hochberg

if TYPE_CHECKING:
    import pandas as pd

RESOLUTIONS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Half octaves around 1."""


def resolution_sweep(
    graph: Any,
    resolutions: Sequence[float] = RESOLUTIONS,
    method: str = "leiden",
    seed: int = 0,
    n_nulls: int = N_NULLS,
    **options: Any,
) -> pd.DataFrame:
    """Search at every resolution.

    Parameters
    ----------
    graph, method, seed, n_nulls, options
        As for `find_communities`; the method has the option `resolution`.
    resolutions
        At least 0, increasing.

    Returns
    -------
    DataFrame
        One row a resolution: resolution, n, quality, agreement (mean adjusted Rand index between runs), stability
        (the same with the partitions at the neighbouring resolutions; NaN for a single one), null_mean, z, p,
        q (p adjusted over the resolutions, Benjamini & Hochberg 1995), n_beyond_chance. Communities that deserve
        the name are stable over a range and more than chance in it. Qualities of different resolutions cannot be
        compared, and one community agrees with one community: read stability beside n.

    Raises
    ------
    ConfigError
        If the method has no resolution.
    """
    import pandas as pd

    known = catalogue.COMMUNITIES.get(method)
    if known is not None and not any(option.name == "resolution" for option in known.options):
        raise ConfigError(f"community method {method!r} has no resolution to sweep")
    values = [float(value) for value in resolutions]
    if not values or any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"resolutions must increase, not {values}")
    given = as_graph(graph)
    found = [find_communities(given, method, seed, n_nulls=n_nulls, resolution=value, **options) for value in values]
    labels = [one.labels for one in found]
    rows = []
    for k, (value, one) in enumerate(zip(values, found, strict=True)):
        neighbours = [mean_agreement([labels[k], labels[j]]) for j in (k - 1, k + 1) if 0 <= j < len(values)]
        rows.append(
            {
                "resolution": value,
                "n": one.n,
                "quality": one.quality,
                "agreement": one.agreement,
                "stability": float(np.mean(neighbours)) if neighbours else np.nan,
                "null_mean": float(one.chance.nulls.mean()) if one.chance and len(one.chance.nulls) else np.nan,
                "z": one.z,
                "p": one.p,
                "n_beyond_chance": one.n_beyond_chance,
            }
        )
    table = pd.DataFrame(rows)
    table.insert(8, "q", benjamini_hochberg(table["p"].to_numpy(np.float64)))
    return table
