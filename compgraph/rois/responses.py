"""How regions respond to inputs, and whether their responses tell classes (or tasks) apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.recordings import Recording
from compgraph.errors import DataError
from compgraph.multiple_testing import adjust
from compgraph.partition import DEAD, Partition
from compgraph.rois.signals import n_regions, units_of

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Responses:
    """Responses of regions to items.

    Attributes
    ----------
    nodes
        Names of the regions (`mlp.0/roi.3`).
    items
        Numbers of the items, int64 [items].
    values
        float64 [items, regions]: mean over the region's live units, each standardised over all rows, and over the rows
        of the item.
    classes
        Class or task of each item, str [items]; None where it is not known.
    """

    nodes: tuple[str, ...]
    items: npt.NDArray[np.int64]
    values: Floats
    classes: npt.NDArray[np.str_] | None

    def to_table(self, most: int = 1000) -> pd.DataFrame:
        """One row a region and item: roi, item, class, response; of more than `most` items evenly spaced ones."""
        import pandas as pd

        count = min(most, len(self.items))
        chosen = np.linspace(0, len(self.items) - 1, count).round().astype(int) if count else np.zeros(0, int)
        classes = np.full(len(self.items), "") if self.classes is None else self.classes
        return pd.DataFrame(
            {
                "roi": np.repeat(np.array(self.nodes, object), count),
                "item": np.tile(self.items[chosen], len(self.nodes)),
                "class": np.tile(classes[chosen].astype(object), len(self.nodes)),
                "response": self.values[chosen].T.ravel().astype(np.float32),
            }
        )


def roi_responses(partition: Partition, recording: Recording, sites: Sequence[str] | None = None) -> Responses:
    """Responses of the regions of some sites; the recording may be of other data than the regions were found on.

    Parameters
    ----------
    partition
        Regions.
    recording
        Of the same network.
    sites
        Recorded sites of the partition; None for those with more than one region. The error of a dictionary is none.

    Raises
    ------
    DataError
        A site that was not recorded.
    """
    names = divided(partition, recording) if sites is None else list(sites)
    items = recording.items
    numbers, item = np.unique(items["item"].to_numpy(np.int64), return_inverse=True)
    columns = []
    for site in names:
        units = units_of(recording, [site])
        columns.append(_item_means(units.rows(), _membership(partition, site, units.sites[site].live), item))
    nodes = [name for site in names for name in region_names(partition, site)]
    classes = None
    if "task" in items:
        first = np.unique(item, return_index=True)[1]
        classes = items["task"].to_numpy()[first].astype(np.str_)
    values = np.concatenate([np.zeros((len(numbers), 0)), *columns], axis=1)
    return Responses(tuple(nodes), numbers, values, classes)


def divided(partition: Partition, recording: Recording) -> list[str]:
    """Recorded sites of a partition with more than one region."""
    names = [str(site) for site in recording.sites["site"]]
    return [site for site in names if site in partition.labels and n_regions(partition, site) > 1]


def region_names(partition: Partition, site: str) -> list[str]:
    """Names of the nodes of a site that are regions."""
    return list(partition.node_names[partition.node_slice(site)])[: n_regions(partition, site)]


def selectivity(responses: Responses, *, n_permutations: int = 199, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """How much of each region's response over items is about their class, against shuffled classes.

    Parameters
    ----------
    responses
        With classes.
    n_permutations
        Shuffles of the classes over the items; 0 for no null.
    seed
        Of the shuffles.

    Returns
    -------
    dict
        Arrays [regions]. `top_class`: of the largest mean response. `selectivity`: share of the response's variance
        over items that lies between classes (eta squared, in [0, 1]; 0 for a constant response). `null`: its mean over
        the shuffles. `p`, `p_adjusted`: how often a shuffle reached it (one more in both counts), and the same after
        Benjamini-Hochberg over all regions; NaN without shuffles.

    Raises
    ------
    DataError
        Items without classes, or of one class only.
    """
    if responses.classes is None:
        raise DataError("rois: the recorded items have no class or task, so regions cannot be selective for one")
    names, code = np.unique(responses.classes, return_inverse=True)
    if len(names) < 2:
        raise DataError(f"rois: all items are of the class {names[0]!r}; selectivity needs at least 2")
    centred = responses.values - responses.values.mean(axis=0)
    means, found = _between(centred, code)
    rng = np.random.default_rng(seed)
    null = np.array([_between(centred, rng.permutation(code))[1] for _ in range(n_permutations)])
    p = np.full(len(found), np.nan)
    if n_permutations:
        p = (1 + (null >= found - 1e-12).sum(axis=0)) / (1 + n_permutations)
    return {
        "top_class": names[means.argmax(axis=0)].astype(object),
        "selectivity": found,
        "null": null.mean(axis=0) if n_permutations else np.full(len(found), np.nan),
        "p": p,
        "p_adjusted": adjust(p, "bh") if n_permutations else p,
    }


def _between(centred: Floats, code: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Class means [classes, regions], and the share of the squares that lies between them."""
    counts = np.bincount(code).astype(np.float64)
    sums = np.zeros((len(counts), centred.shape[1]))
    np.add.at(sums, code, centred)
    means = sums / counts[:, None]
    total = (centred**2).sum(axis=0)
    share = np.divide((counts[:, None] * means**2).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    return means, share


def _membership(partition: Partition, site: str, live: npt.NDArray[np.int64]) -> Floats:
    """What each live unit contributes to each region's mean, [live, regions]."""
    labels = partition.labels[site][live]
    weight = np.zeros((len(live), n_regions(partition, site)))
    inside = labels != DEAD
    weight[np.flatnonzero(inside), labels[inside]] = 1
    return weight / np.maximum(weight.sum(axis=0), 1)


def _item_means(rows: Any, membership: Floats, item: npt.NDArray[np.int64]) -> Floats:
    sums, first = np.zeros((int(item.max()) + 1, membership.shape[1])), 0
    for block in rows:
        np.add.at(sums, item[first : first + len(block)], block @ membership)
        first += len(block)
    means: Floats = sums / np.bincount(item)[:, None]
    return means
