"""What all methods of functional connectivity share: the data, and what is done to signals before they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.confounds import EACH, design, regress_out
from compgraph.connectivity.functional.ranks import Kind, Ranks, clip_at, order_of
from compgraph.connectivity.functional.recordings import Pool, Recording, chosen_sites
from compgraph.connectivity.functional.signals import (
    Matrix,
    Signals,
    SiteSignals,
    live_partition,
    site_signals,
)
from compgraph.errors import DataError
from compgraph.granularity import listed
from compgraph.multiple_testing import Correction
from compgraph.partition import Partition

Part = Literal["total", "within", "between"]
Samples = Literal["autocorrelation", "rows", "none"]


@dataclass(frozen=True)
class Setting:
    """Data and choices.

    Parameters
    ----------
    buffers
        One recording or several of one network, pooled.
    partition
        The nodes.
    sites
        Sites to use, names or patterns; None for those of the partition that were recorded.
    positions
        First position and the one after the last; None for all.
    confounds
        Columns of the item table to regress out (`confounds`).
    part, by
        `total` co-variation, that `within` the values of the column `by` (after removing each value's mean: noise
        correlation), or that `between` them (of these means, each counting once: signal correlation).
    winsorise
        Share of the rows to clip at either end of each signal.
    samples
        What counts as an independent sample: rows, corrected for `autocorrelation` along the positions of an item;
        `rows` as they are; or `none`, for no tests.
    level, correction
        Level at which edges are called significant, and how p-values are adjusted: `bh`, `by` or `none`.
    threshold
        Keep only edges with a weight of at least this magnitude; None for all.
    max_lag
        Largest number of positions apart that the autocorrelation looks at.

    Raises
    ------
    DataError
        Choices out of range.
    """

    buffers: Recording | Sequence[Recording]
    partition: Partition
    sites: Sequence[str] | None = None
    positions: tuple[int, int] | None = None
    confounds: Sequence[str] = ()
    part: Part = "total"
    by: str = "task"
    winsorise: float = 0.0
    samples: Samples = "autocorrelation"
    level: float = 0.05
    correction: Correction = "bh"
    threshold: float | None = None
    max_lag: int = 64

    def __post_init__(self) -> None:
        for name, value, valid in (
            ("part", self.part, ("total", "within", "between")),
            ("samples", self.samples, ("autocorrelation", "rows", "none")),
            ("correction", self.correction, ("bh", "by", "none")),
        ):
            if value not in valid:
                raise DataError(f"functional: {name} {value!r} is not known; valid are {', '.join(valid)}")
        if not 0 <= self.winsorise < 0.5:
            raise DataError(f"functional: winsorise is {self.winsorise}; a share at either end lies in [0, 0.5)")
        if not 0 < self.level < 1:
            raise DataError(f"functional: level is {self.level}; it lies between 0 and 1")
        if self.threshold is not None and not 0 <= self.threshold < np.inf:
            raise DataError(f"functional: threshold is {self.threshold}; it must be a number of at least 0")
        if self.max_lag < 1:
            raise DataError(f"functional: max_lag is {self.max_lag}; it must be at least 1")
        if self.positions is not None and not 0 <= self.positions[0] < self.positions[1]:
            raise DataError(f"functional: positions {list(self.positions)} are no window; give [first, after the last]")

    def prepare(self, *, standardise: bool = True, transform: Kind | None = None, units: bool = False) -> Prepared:
        """Signals ready to be compared.

        Parameters
        ----------
        standardise
            Whether units are divided by their standard deviation.
        transform
            Replace signals by ranks or normal scores.
        units
            One signal per unit, whatever the nodes.
        """
        pool = Pool.of(self.buffers)
        names = chosen_sites(pool, self.partition, self.sites)
        if pool.n_rows < 2:
            raise DataError(f"functional: a correlation needs at least 2 rows, but the buffer has {pool.n_rows}")
        plans = {site: site_signals(pool, self.partition, site, standardise) for site in names}
        check_two(np.concatenate([plan.nodes for plan in plans.values()]), names, "units")
        signals = Signals(pool, _by_unit(plans, self.partition) if units else plans, self._rows(pool))
        about: dict[str, Any] = {}
        removed = 0
        confounds = [*self.confounds, *([EACH + self.by] if self.part == "within" else [])]
        if confounds:
            residuals = regress_out(signals, design(pool, confounds))
            signals, removed = signals.then(residuals), residuals.rank
            about["confounds"] = {"columns": confounds, "degrees_of_freedom": removed}
        if self.winsorise > 0:
            order = order_of(signals)
            signals = signals.then(clip_at(order, self.winsorise))
            about["winsorised"] = {"share": self.winsorise, "quantiles": "exact" if order.exact else "sketched"}
        if transform is not None:
            order = order_of(signals)
            signals = signals.then(Ranks(order, transform))
            about["ranks"] = "exact" if order.exact else "sketched"
        if self.positions is not None:
            about["positions"] = list(self.positions)
        return Prepared(self, names, plans, signals, removed, about)

    def _rows(self, pool: Pool) -> npt.NDArray[np.int64] | None:
        if self.positions is None:
            return None
        position = pool.column("position")
        rows = np.flatnonzero((position >= self.positions[0]) & (position < self.positions[1]))
        if len(rows) < 2:
            raise DataError(
                f"functional: {len(rows)} rows have positions from {self.positions[0]} up to {self.positions[1]} "
                f"(recorded are {position.min()} to {position.max()}); at least 2 are needed"
            )
        return rows


@dataclass(frozen=True)
class Prepared:
    """Signals, and what there is to say about them.

    Attributes
    ----------
    setting
        The choices.
    sites, plans
        Sites used and how their units became signals.
    signals
        The stream.
    removed
        Degrees of freedom that confounds cost.
    about
        What was done, for the graph's attributes.
    """

    setting: Setting
    sites: list[str]
    plans: dict[str, SiteSignals]
    signals: Signals
    removed: int
    about: dict[str, Any]

    @property
    def item(self) -> npt.NDArray[np.int64]:
        """Number of the item of each row that counts."""
        return self.signals.pool.column("item")[self.signals.row_numbers]

    @property
    def position(self) -> npt.NDArray[np.int64]:
        """Position of each row that counts."""
        return self.signals.pool.column("position")[self.signals.row_numbers].astype(np.int64)

    @property
    def partition(self) -> Partition:
        """The partition on the sites used, constant units dead."""
        return live_partition(self.setting.partition, self.sites, self.plans)

    def attributes(self, method: str) -> dict[str, Any]:
        """What every graph says."""
        recorded = set(self.signals.pool.recorded)
        part = {"part": self.setting.part, "by": self.setting.by} if self.setting.part != "total" else {}
        return {
            "method": method,
            "rows": self.signals.n_rows,
            "sites": self.sites,
            "sites_not_recorded": [site for site in self.setting.partition.sites if site not in recorded],
            "constant_units": {site: len(plan.constant) for site, plan in self.plans.items() if len(plan.constant)},
            "threshold": self.setting.threshold,
            **part,
            **self.about,
        }


def _by_unit(plans: dict[str, SiteSignals], partition: Partition) -> dict[str, SiteSignals]:
    """Plans with a signal per unit; `nodes` still says the node of each."""
    found = {}
    for site, plan in plans.items():
        labels = partition.labels[site]
        order = np.arange(len(labels)) if plan.units is None else plan.units
        nodes = partition.node_slice(site).start + labels[order].astype(np.int64)
        found[site] = replace(plan, starts=None, nodes=nodes)
    return found


def class_means(prepared: Prepared) -> Matrix:
    """Mean of every signal over the rows of each value of `by`, float64 [values, n].

    Raises
    ------
    DataError
        Fewer than three values: two means always correlate perfectly.
    """
    signals = prepared.signals
    values = signals.pool.column(prepared.setting.by)[signals.row_numbers].astype(str)
    names, code = np.unique(values, return_inverse=True)
    if len(names) < 3:
        raise DataError(
            f"functional: part 'between' needs at least 3 values of {prepared.setting.by!r}, whose means vary; "
            f"there are {len(names)}: {listed(names.tolist())}"
        )
    return means_of(signals, code)


def means_of(signals: Signals, code: npt.NDArray[np.integer[Any]]) -> Matrix:
    """Mean of every signal over the rows of each code 0 … k - 1, float64 [k, n]; one pass."""
    from scipy.sparse import csr_array

    size = np.bincount(code)
    total = np.zeros((len(size), len(signals.nodes)))
    for start, block in signals.blocks():
        rows = code[start : start + len(block)]
        total += csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(len(size), len(rows))) @ block
    means: Matrix = total / size[:, None]
    return means


def check_two(nodes: npt.NDArray[np.int64], sites: Sequence[str], what: str) -> None:
    """Refuse fewer than two nodes.

    Raises
    ------
    DataError
        Saying what is missing.
    """
    if len(nodes) < 2:
        raise DataError(
            f"functional: {len(nodes)} nodes of {listed(sites)} have {what} that vary; a correlation needs at least 2"
        )
