"""Functional statistics in parts: each made where its buffers are, merged anywhere, read like one buffer.

    scale = unit_scale(buffers)  # moments of units over all the data: small, and no row is read
    part = gather_part(divided(buffers, 0, 4), partition, scale)  # a pass over a quarter of the rows, on any machine
    part.save(folder)
    whole = merge_parts([Part.load(folder) for folder in folders])
    graph = functional_connectivity(whole, partition, "pearson")

All parts standardise units by the same scale, so that their sums are of the same signals: merging is exact up to the
rounding of float64 sums (relative 1e-12 or so), in any order. What reads rows again (ranks, confounds, Ledoit-Wolf)
needs the buffers themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture
from compgraph.arrays import read_array
from compgraph.connectivity.functional.lag_sums import LagSums
from compgraph.connectivity.functional.memory import check_memory
from compgraph.connectivity.functional.moments import gather
from compgraph.connectivity.functional.recordings import Pool, Recording
from compgraph.connectivity.functional.setting import Prepared, Setting
from compgraph.connectivity.functional.streaming import JointMoments, Sums, Tails
from compgraph.data.moments import Moments
from compgraph.errors import DataError, StoreError
from compgraph.formats import other_format
from compgraph.partition import Partition

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
ANEW = "make it anew, by compgraph run or compgraph functional-part"
Scale = Mapping[str, Moments]


def unit_scale(buffers: Recording | Sequence[Recording], sites: Sequence[str] | None = None) -> dict[str, Moments]:
    """Moments of every unit over all buffers, from what these keep: site -> moments."""
    pool = Pool.of(buffers)
    return {site: pool.moments(site) for site in (pool.recorded if sites is None else sites)}


@dataclass(frozen=True)
class Part:
    """What a pass over some of the data keeps; reads like a buffer whose rows are gone.

    Attributes
    ----------
    architecture, partition
        Of the network, and the nodes (on the sites that were gathered).
    scale
        Site -> moments of its units over all the data.
    standardise
        Whether units were divided by their standard deviations (all methods but `covariance`).
    sums
        Of the signals.
    """

    architecture: Architecture
    partition: Partition
    scale: Scale
    standardise: bool
    sums: Sums

    @property
    def kept(self) -> Part:
        """Itself: sums instead of rows."""
        return self

    @property
    def n_rows(self) -> int:
        """Rows behind the sums."""
        return self.sums.joint.count

    @property
    def n_chunks(self) -> int:
        """None are left."""
        return 0

    @cached_property
    def sites(self) -> pd.DataFrame:
        """Sites that were gathered."""
        import pandas as pd

        return pd.DataFrame({"site": list(self.partition.sites)})

    @property
    def items(self) -> NoReturn:
        """Not kept."""
        _no_rows("the item table")

    def chunks(self, sites: Iterable[str]) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """Not kept."""
        _no_rows("the rows")

    def mean(self, site: str) -> npt.NDArray[np.float64]:
        """Mean of each unit over all the data."""
        return self.scale[site].mean

    def variance(self, site: str) -> npt.NDArray[np.float64]:
        """Variance of each unit over all the data."""
        return self.scale[site].variance

    def matching(self, prepared: Prepared, standardise: bool, transform: Any) -> Sums:
        """The sums, if they are of these signals.

        Raises
        ------
        DataError
            They are of other nodes or sites, or otherwise made.
        """
        if transform is not None:
            _no_rows("the rows, which ranks are taken of")
        if prepared.setting.part != "total":
            _no_rows("the item table")
        if prepared.setting.partition.restrict(prepared.sites) != self.partition:
            raise DataError("functional: these parts were gathered for another partition or other sites")
        if standardise != self.standardise:
            how = "standardised" if self.standardise else "plain"
            raise DataError(f"functional: these parts hold sums of {how} units, and the method needs the other kind")
        return self.sums

    @cached_property
    def digest(self) -> str:
        """Of what must agree between parts: network, nodes, scale."""
        found = hashlib.sha256(json.dumps(self.architecture.to_dict(), sort_keys=True).encode())
        found.update(f"{self.partition.digest} {self.standardise}".encode())
        for site in self.partition.sites:
            found.update(self.scale[site].mean.tobytes() + self.scale[site].squares.tobytes())
        return found.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write a folder: `part.json`, `partition/` and an array per file; the same part gives the same bytes."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        self.partition.save(folder / "partition")
        arrays = self._arrays()
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
        page = {
            "format": FORMAT,
            "architecture": self.architecture.to_dict(),
            "standardise": self.standardise,
            "count": self.sums.joint.count,
            "scale": {site: self.scale[site].count for site in self.partition.sites},
            "arrays": {name: _digest(values) for name, values in arrays.items()},
        }
        (folder / "part.json").write_text(json.dumps(page, sort_keys=True, indent=1) + "\n")

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        found: dict[str, npt.NDArray[Any]] = {"mean": self.sums.joint.mean, "upper": self.sums.joint.upper}
        if self.sums.lags is not None:
            found |= {f"lag-{name}": getattr(self.sums.lags, name) for name in LAG_ARRAYS}
        for site in self.partition.sites:
            moments, tails = self.scale[site], self.sums.tails[site]
            found |= {f"{site}-mean": moments.mean, f"{site}-squares": moments.squares, f"{site}-fourth": tails.fourth}
        return found

    @classmethod
    def load(cls, path: str | Path) -> Part:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            The folder is no part, or a file is missing or damaged.
        """
        folder = Path(path)
        try:
            page = json.loads((folder / "part.json").read_text())
            arrays = {name: read_array(folder / f"{name}.npy") for name in page["arrays"]}
            wrong = [name for name, digest in page["arrays"].items() if _digest(arrays[name]) != digest]
        except (StoreError, OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder} is not a whole part of functional statistics: {error}") from error
        if page.get("format") != FORMAT:
            raise DataError(other_format(folder, "part", page.get("format"), FORMAT, ANEW))
        if wrong:
            raise DataError(f"{folder} is damaged: other bytes than were written in {', '.join(wrong)}; {ANEW}")
        count, scale = page["count"], page["scale"]
        lags = None
        if "lag-count" in arrays:
            lags = LagSums(len(arrays["mean"]), len(arrays["lag-count"]))
            for name in LAG_ARRAYS:
                setattr(lags, name, arrays[f"lag-{name}"])
        tails = {}
        for site in scale:
            tails[site] = Tails(len(arrays[f"{site}-fourth"]))
            tails[site].fourth, tails[site].count = arrays[f"{site}-fourth"], count
        return cls(
            Architecture.from_dict(page["architecture"]),
            Partition.load(folder / "partition"),
            {site: Moments(n, arrays[f"{site}-mean"], arrays[f"{site}-squares"]) for site, n in scale.items()},
            page["standardise"],
            Sums(JointMoments.of(count, arrays["mean"], arrays["upper"]), lags, tails),
        )


LAG_ARRAYS = ("count", "first", "second", "product")


def gather_part(
    buffers: Recording | Sequence[Recording],
    partition: Partition,
    scale: Scale,
    *,
    sites: Sequence[str] | None = None,
    standardise: bool = True,
    max_lag: int = 64,
) -> Part:
    """One pass over some of the buffers.

    Parameters
    ----------
    buffers, partition, sites, max_lag
        As for `functional_connectivity`. An item must not be divided between parts.
    scale
        Of all the data (`unit_scale`), the same for all parts.
    standardise
        False for `covariance`.

    Raises
    ------
    DataError
        The scale lacks a site; the square of all nodes does not fit into memory; what `functional_connectivity`
        refuses.
    """
    setting = Setting(_scaled(buffers, scale), partition, sites=sites, max_lag=max_lag)
    prepared = setting.prepare(standardise=standardise)
    check_memory(len(prepared.signals.nodes))
    used = {site: scale[site] for site in prepared.sites}
    restricted = partition.restrict(prepared.sites)
    return Part(prepared.signals.pool.architecture, restricted, used, standardise, gather(prepared))


def merge_parts(parts: Sequence[Part]) -> Part:
    """The sums of all parts.

    Raises
    ------
    DataError
        No part, or parts of other networks, nodes or scales.
    """
    if not parts:
        raise DataError("functional: there is no part; at least one is needed")
    for number, part in enumerate(parts[1:], start=1):
        if part.digest != parts[0].digest:
            raise DataError(
                f"functional: part {number} is of another network, partition or scale than part 0; gather all parts "
                "with one partition and one unit_scale"
            )
    first = parts[0].sums
    size = len(first.joint.mean)
    total = Sums(JointMoments(size), None, {site: Tails(len(tails.fourth)) for site, tails in first.tails.items()})
    for part in parts:
        lags = part.sums.lags
        if lags is not None and total.lags is None:
            total.lags = LagSums(size, lags.n_lags)  # of its own: merging leaves the parts as they were
        total.merge(part.sums)
    return replace(parts[0], sums=total)


class _Scaled:
    """A buffer whose units are measured against all the data."""

    def __init__(self, buffer: Recording, scale: Scale) -> None:
        self._buffer, self._scale = buffer, scale

    def __getattr__(self, name: str) -> Any:
        return getattr(self._buffer, name)

    def mean(self, site: str) -> npt.NDArray[np.float64]:
        return self._known(site).mean

    def variance(self, site: str) -> npt.NDArray[np.float64]:
        return self._known(site).variance

    def _known(self, site: str) -> Moments:
        if site not in self._scale:
            raise DataError(f"functional: the scale has no site {site!r}; make it of all buffers (unit_scale)")
        return self._scale[site]


def _scaled(buffers: Recording | Sequence[Recording], scale: Scale) -> list[Recording]:
    return [_Scaled(buffer, scale) for buffer in Pool.of(buffers).buffers]


def _digest(values: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _no_rows(what: str) -> NoReturn:
    raise DataError(f"functional: this needs {what}, and parts keep only sums; give the buffers themselves")
