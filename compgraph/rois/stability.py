"""Whether regions are found again: from other seeds, in halves of the data, in resamples of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import (
    adjusted_mutual_information,
    adjusted_rand,
    canonical,
    variation_of_information,
)
from compgraph.communities.optimise import run_seeds
from compgraph.connectivity.functional.recordings import Recording
from compgraph.data.moments import Moments
from compgraph.errors import DataError
from compgraph.partition import DEAD, Partition
from compgraph.progress import track
from compgraph.rois.find import Numbers, chosen_sites, find_rois, recording_of
from compgraph.rois.signals import n_regions

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
SEEDS, HALVES, BOOTSTRAP = "seeds", "halves", "bootstrap"


@dataclass(frozen=True)
class RoiStability:
    """Divisions found again, and how much they agree.

    Attributes
    ----------
    table
        One row a site, kind (`seeds`: all on the same data; `halves`: two disjoint halves of the items; `bootstrap`: a
        resample of the items against all of them) and pair: first, second (numbers of the divisions), ari, ami, vi
        (nats).
    repeats
        All divisions but the first.
    """

    table: pd.DataFrame
    repeats: tuple[Partition, ...]


def roi_stability(
    signals: Recording | npt.ArrayLike | Sequence[Recording],
    partition: Partition,
    site: str | Sequence[str] | None = None,
    method: str = "sbm",
    n_rois: Numbers = None,
    seed: int = 0,
    *,
    n_repeats: int = 5,
    **options: Any,
) -> RoiStability:
    """Divide again, `n_repeats` times from other seeds, as often in pairs of halves, as often in resamples.

    Parameters
    ----------
    signals, site, method, n_rois, seed, options
        What `find_rois` was given for `partition`.
    partition
        What it found.
    n_repeats
        Of each kind, at least 1.

    Raises
    ------
    DataError
        Fewer than one repeat, or fewer than four items.
    """
    import pandas as pd

    if n_repeats < 1:
        raise DataError(f"rois: n_repeats is {n_repeats}; at least 1 is needed")
    recording = recording_of(signals, site)
    sites = list(partition.labels) if len(partition.labels) == 1 else chosen_sites(recording, site)
    item = np.unique(recording.items["item"].to_numpy(np.int64), return_inverse=True)[1]
    n_items = int(item.max(initial=-1)) + 1
    if n_items < 4:
        raise DataError(f"rois: halves of the data need at least 4 items, and there are {n_items}")

    def divide(counts: npt.NDArray[np.int64] | None, own: int) -> Partition:
        drawn = recording if counts is None else Resampled(recording, counts[item])
        return find_rois(drawn, sites, method, n_rois, own, **options)

    rows: list[dict[str, Any]] = []
    repeats: list[Partition] = []
    seeded = [partition]
    for own in track(run_seeds(seed, n_repeats), "ROIs again", unit="repeats"):
        rng = np.random.default_rng(own)
        seeded.append(divide(None, own))
        half = (rng.permutation(n_items) % 2).astype(np.int64)
        first, second = divide(half, own), divide(1 - half, own)
        drawn = divide(np.bincount(rng.integers(n_items, size=n_items), minlength=n_items), own)
        number = len(repeats) + 1
        repeats += [seeded[-1], first, second, drawn]
        rows += _rows(HALVES, first, second, number + 1, number + 2, sites)
        rows += _rows(BOOTSTRAP, partition, drawn, 0, number + 3, sites)
    for a in range(len(seeded)):
        for b in range(a + 1, len(seeded)):
            rows += _rows(SEEDS, seeded[a], seeded[b], _place(a), _place(b), sites)
    table = pd.DataFrame(rows).sort_values(["site", "kind", "first", "second"], kind="stable", ignore_index=True)
    return RoiStability(table, tuple(repeats))


def consensus(partition: Partition, repeats: Sequence[Partition], sites: Sequence[str] | None = None) -> Partition:
    """The regions that repeats agree on: units by how often they share a region (average linkage), as many as before.

    Parameters
    ----------
    partition
        Whose live units are divided, into as many parts as here.
    repeats
        Divisions of the same units; one in which a unit is dead says nothing of it.
    sites
        Which are divided; None for those with several parts, the others stay.
    """
    from scipy.cluster.hierarchy import cut_tree, linkage
    from scipy.spatial.distance import squareform

    chosen = [s for s in partition.sites if n_regions(partition, s) > 1] if sites is None else list(sites)
    labels = {site: np.array(values) for site, values in partition.labels.items()}
    for site in chosen:
        own = labels_divided(partition, site)
        live = np.flatnonzero(own != DEAD)
        if len(live) < 2:
            continue
        together = co_assignment([one.labels[site][live] for one in [partition, *repeats]])
        tree = linkage(squareform(1 - together, checks=False), "average")
        labels[site][live] = canonical(cut_tree(tree, int(own.max()) + 1)[:, 0])
    return Partition(labels, partition.names, "consensus", partition.reasons, partition.empty)


def co_assignment(divisions: Sequence[npt.ArrayLike]) -> Floats:
    """Share of the divisions in which two units are in one part, of those in which both are alive; float [n, n]."""
    n = len(np.asarray(divisions[0]))
    same, known = np.zeros((n, n)), np.zeros((n, n))
    for given in divisions:
        labels = np.asarray(given)
        live = labels != DEAD
        both = live[:, None] & live
        same += both & (labels[:, None] == labels)
        known += both
    share = np.divide(same, known, out=np.zeros_like(same), where=known > 0)
    np.fill_diagonal(share, 1)
    return share


class Resampled:
    """A recording whose rows count several times, or not at all.

    Parameters
    ----------
    recording
        Any.
    counts
        How often each row counts, int [rows].
    """

    def __init__(self, recording: Recording, counts: npt.NDArray[np.int64]) -> None:
        self._recording, self._counts = recording, counts
        self.architecture, self.n_chunks = recording.architecture, recording.n_chunks
        self.n_rows = int(counts.sum())
        self._moments: dict[str, Moments] = {}

    @property
    def sites(self) -> Any:
        """Those of the recording."""
        return self._recording.sites

    @property
    def items(self) -> pd.DataFrame:
        """Rows as often as they count."""
        items = self._recording.items
        return items.loc[items.index.repeat(self._counts)].reset_index(drop=True)

    def chunks(self, sites: Iterable[str]) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Rows in order, each as often as it counts."""
        names, first = list(sites), 0
        for chunk in self._recording.chunks(names):
            size = len(chunk[names[0]])
            counts = self._counts[first : first + size]
            first += size
            yield {site: np.repeat(chunk[site], counts, axis=0) for site in names}

    def mean(self, site: str) -> Floats:
        """Mean [units] over these rows."""
        return self._of(site).mean

    def variance(self, site: str) -> Floats:
        """Population variance [units] over these rows."""
        return self._of(site).variance

    def _of(self, site: str) -> Moments:
        if site not in self._moments:
            total: Moments | None = None
            for chunk in self.chunks([site]):
                part = Moments.of(chunk[site].astype(np.float64))
                total = part if total is None else total.merge(part)
            assert total is not None
            self._moments[site] = total
        return self._moments[site]


def labels_divided(partition: Partition, site: str) -> npt.NDArray[np.int32]:
    """Labels of a site, without those of a dictionary's error, which no method divides."""
    labels = partition.labels[site]
    return np.where(labels < n_regions(partition, site), labels, DEAD).astype(np.int32)


def _place(seeded: int) -> int:
    """Number of a seeded division among all divisions, of which there are four a repeat."""
    return 0 if seeded == 0 else 4 * (seeded - 1) + 1


def _rows(kind: str, first: Partition, second: Partition, a: int, b: int, sites: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"site": site, "kind": kind, "first": a, "second": b, **_agreement(first, second, site)}
        for site in sites
    ]


def _agreement(one: Partition, other: Partition, site: str) -> dict[str, float]:
    first, second = labels_divided(one, site), labels_divided(other, site)
    return {
        "ari": adjusted_rand(first, second),
        "ami": adjusted_mutual_information(first, second),
        "vi": variation_of_information(first, second),
    }
