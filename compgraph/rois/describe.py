"""A table of regions: how large, how tight, how selective, how stable each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.recordings import Recording
from compgraph.partition import DEAD, Partition
from compgraph.rois.responses import Responses, divided, region_names, roi_responses, selectivity
from compgraph.rois.signals import Floats, n_regions, units_of

if TYPE_CHECKING:
    import pandas as pd


def describe_rois(
    partition: Partition,
    recording: Recording,
    *,
    responses: Responses | None = None,
    repeats: Sequence[Partition] = (),
    n_permutations: int = 199,
    seed: int = 0,
) -> pd.DataFrame:
    """What is known of each region; of the data it was found on, or of others.

    Parameters
    ----------
    partition
        Regions.
    recording
        Of the same network.
    responses
        Of these regions (`roi_responses`); None to compute them.
    repeats
        The same division found again: from other seeds, halves of the data, resamples (`roi_stability`).
    n_permutations, seed
        Of `selectivity`.

    Returns
    -------
    DataFrame
        One row a region of the recorded sites with several (the error of a dictionary is none); none if no site has.
        roi, site, size (units). within, between: mean correlation of its live units with each other and with the site's
        other units (NaN where there is no such pair). snr: variance of its mean signal that its units share over what
        they do not, n r / (1 - r) with r = within (0 if r < 0). Where items have classes: top_class, selectivity, null,
        p, p_adjusted (`selectivity`). stability: mean over the repeats of the largest Jaccard index with one of their regions (Hennig
        2007); NaN without repeats.
    """
    import pandas as pd

    tables = [_site_table(partition, recording, site, repeats) for site in divided(partition, recording)]
    if not tables:
        return pd.DataFrame(columns=["roi", "site", "size", "within", "between", "snr", "stability"])
    table = pd.concat(tables, ignore_index=True)
    answered = roi_responses(partition, recording) if responses is None else responses
    if answered.classes is not None and len(np.unique(answered.classes)) > 1:
        table = table.assign(**selectivity(answered, n_permutations=n_permutations, seed=seed))
    return table


def _site_table(partition: Partition, recording: Recording, site: str, repeats: Sequence[Partition]) -> pd.DataFrame:
    import pandas as pd

    units = units_of(recording, [site])
    labels = partition.labels[site][units.sites[site].live]
    names = region_names(partition, site)
    within, between = densities(units.correlation, labels, len(names))
    sizes = partition.part_sizes(site)[: len(names)]
    shared = np.clip(np.nan_to_num(within), 0, 1 - 1e-12)
    return pd.DataFrame(
        {
            "roi": names,
            "site": site,
            "size": sizes,
            "within": within,
            "between": between,
            "snr": np.where(np.isnan(within), np.nan, sizes * shared / (1 - shared)),
            "stability": _jaccard(partition, repeats, site),
        }
    )


def densities(correlation: Floats, labels: npt.NDArray[np.integer], n_parts: int) -> tuple[Floats, Floats]:
    """Mean correlation of each part's units with each other, and with all other units; -1 is in no part.

    Parameters
    ----------
    correlation
        float [n, n].
    labels
        int [n].
    """
    member = (labels[:, None] == np.arange(n_parts)).astype(np.float64)
    size = member.sum(axis=0)
    sums = member.T @ correlation @ member
    inside = np.diag(sums) - member.T @ np.diag(correlation)
    outside = sums.sum(axis=1) - np.diag(sums)
    pairs, others = size * (size - 1), size * (size.sum() - size)
    nothing = np.full(n_parts, np.nan)
    return (
        np.divide(inside, pairs, out=nothing.copy(), where=pairs > 0),
        np.divide(outside, others, out=nothing.copy(), where=others > 0),
    )


def _jaccard(partition: Partition, repeats: Sequence[Partition], site: str) -> Floats:
    n = n_regions(partition, site)
    if not repeats:
        return np.full(n, np.nan)
    own = partition.labels[site][:, None] == np.arange(n)
    total = np.zeros(n)
    for repeat in repeats:
        other = (repeat.labels[site][:, None] == np.arange(n_regions(repeat, site))).astype(np.float64)
        common = own.T.astype(np.float64) @ other
        union = own.sum(axis=0)[:, None] + other.sum(axis=0) - common
        total += (common / union).max(axis=1)
    return total / len(repeats)


def unit_pairs(partition: Partition, recording: Recording, rois: pd.DataFrame, *, most: int = 256) -> pd.DataFrame:
    """Correlations between the live units of the last divided site: what regions are, to look at.

    Parameters
    ----------
    partition, recording
        As for `describe_rois`.
    rois
        Its table.
    most
        Of more units evenly spaced ones are taken.

    Returns
    -------
    DataFrame
        One row an ordered pair of units: site, unit, roi, top_class (of that region; empty if it is not known), other,
        other_roi, r. Empty if no site is divided.
    """
    import pandas as pd

    sites = divided(partition, recording)
    if not sites:
        return pd.DataFrame(columns=["site", "unit", "roi", "top_class", "other", "other_roi", "r"])
    units = units_of(recording, [sites[-1]])
    labels = partition.labels[sites[-1]][units.sites[sites[-1]].live]
    inside = np.flatnonzero(labels != DEAD)
    chosen = inside[np.linspace(0, len(inside) - 1, min(most, len(inside))).round().astype(int)]
    numbers, parts = units.sites[sites[-1]].live[chosen], labels[chosen]
    names = np.array(partition.part_names(sites[-1]), object)[parts]
    own = rois[rois["site"] == sites[-1]]
    classes = own["top_class"].to_numpy(object)[parts] if "top_class" in own else np.full(len(parts), "", object)
    n = len(chosen)
    return pd.DataFrame(
        {
            "site": sites[-1],
            "unit": np.repeat(numbers, n),
            "roi": np.repeat(names, n),
            "top_class": np.repeat(classes, n),
            "other": np.tile(numbers, n),
            "other_roi": np.tile(names, n),
            "r": units.correlation[np.ix_(chosen, chosen)].ravel(),
        }
    )
