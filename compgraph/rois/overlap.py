"""Whether regions are the attention heads over again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compgraph.architecture import Architecture
from compgraph.communities.agreement import adjusted_mutual_information
from compgraph.partition import DEAD, Partition

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("site", "n_rois", "n_heads", "ami", "null", "null_low", "null_high", "p")


def overlap_with_heads(
    partition: Partition, architecture: Architecture, *, n_random: int = 199, seed: int = 0
) -> pd.DataFrame:
    """Adjusted mutual information of regions and heads, against random regions of the same sizes.

    Parameters
    ----------
    partition
        Regions.
    architecture
        Of the network; attention sites with several regions count.
    n_random
        Random divisions.
    seed
        Of these.

    Returns
    -------
    DataFrame
        One row a site: n_rois, n_heads, ami (1: the same division; 0: as random ones on average), null, null_low,
        null_high (mean and 95 % range of the random divisions), p (share of them that reach it, one more in both
        counts).
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    rows = []
    for site in architecture.node_sites:
        if not site.n_heads or site.n_features or site.name not in partition.labels or partition.n_parts(site.name) < 2:
            continue
        labels = partition.labels[site.name]
        live = np.flatnonzero(labels != DEAD)
        heads = live // (site.n_units // site.n_heads)
        found = adjusted_mutual_information(labels[live], heads)
        null = np.array([adjusted_mutual_information(rng.permutation(labels[live]), heads) for _ in range(n_random)])
        low, high = np.percentile(null, [2.5, 97.5]) if n_random else (np.nan, np.nan)
        p = (1 + (null >= found - 1e-12).sum()) / (1 + n_random)
        mean = null.mean() if n_random else np.nan
        rows.append((site.name, partition.n_parts(site.name), site.n_heads, found, mean, low, high, p))
    return pd.DataFrame(rows, columns=list(COLUMNS))
