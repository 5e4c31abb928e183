"""The library call that divides sites into regions of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph import catalogue
from compgraph.architecture import Architecture
from compgraph.communities.agreement import canonical
from compgraph.errors import ConfigError, DataError
from compgraph.granularity import match_rules
from compgraph.partition import DEAD, Partition
from compgraph.progress import track
from compgraph.rois.signals import Recording, UnitCorrelations, from_buffer, from_matrix

KIND = "rois"


def find_rois(
    buffer_or_matrix: Recording | npt.ArrayLike,
    site: str | Sequence[str] | None = None,
    method: str = "sbm",
    n_rois: int | Mapping[str, int] | None = None,
    seed: int = 0,
    **options: Any,
) -> Partition:
    """Divide sites into regions of interest: units that vary together over the data.

    Parameters
    ----------
    buffer_or_matrix
        An activation buffer (`compgraph.open_buffer`), or signals float [rows, units] of one site.
    site
        Of a buffer: name, pattern (`mlp.*`) or several of them; None for every recorded node site. Patterns
        and None leave `embed` and `logits` of a transformer whole (their units are coordinates of the stream
        and words); give their name to divide them. Of a matrix: the name its site gets, `units` if None.
    method
        A name of `compgraph.catalogue.ROIS`.
    n_rois
        ROIs per site, the same for all or by site name; None lets the method decide, if it can.
    seed
        The same seed gives the same partition.
    options
        Of the method (`graph`, `neighbours`, …).

    Returns
    -------
    Partition
        Parts `roi.0`, `roi.1`, …, numbered by their first unit, and the part `error` where units are features of a
        dictionary that leaves one. Units that never vary are labelled -1, with
        the reason in `reasons`. Of a buffer: all node sites of its network; those not chosen are whole.

    Raises
    ------
    ConfigError
        If there is no such method.
    DataError
        If a site was not recorded, values are not finite, there are too few rows, no unit is alive, or more
        ROIs are asked for than there are live units.
    """
    if method not in catalogue.ROIS:
        raise ConfigError(f"ROI method {method!r} is not known; valid are {', '.join(catalogue.ROIS)}")
    if not hasattr(buffer_or_matrix, "chunks"):
        name = site or "units"
        if not isinstance(name, str):
            raise DataError(f"rois: signals of one site were given, but {len(name)} names for it")
        return _partition({name: from_matrix(buffer_or_matrix, name)}, method, n_rois, seed, options)
    buffer: Recording = buffer_or_matrix  # type: ignore[assignment]
    sites = chosen_sites(buffer, site)
    units = {name: from_buffer(buffer, name) for name in track(sites, "unit correlations", unit="sites")}
    architecture = buffer.architecture
    found = _with_errors(_partition(units, method, n_rois, seed, options), architecture)
    # A name is its own pattern; everything else keeps its module.
    mixed = Partition.mixed(architecture, dict.fromkeys(found.sites, found))
    reasons = {name: whys for name, whys in mixed.reasons.items() if whys}
    return Partition(mixed.labels, mixed.names, KIND, reasons)


def chosen_sites(buffer: Recording, site: str | Sequence[str] | None) -> list[str]:
    """Recorded sites that the names and patterns choose, in the order of computation.

    Raises
    ------
    DataError
        If a name was not recorded, or nothing is left.
    """
    wanted = ["*"] if site is None else [site] if isinstance(site, str) else list(site)
    recorded = list(buffer.sites["site"])
    chosen: set[str] = set()
    for pattern in wanted:
        if any(mark in pattern for mark in "*?["):
            matched = match_rules(buffer.architecture, {pattern: None})
            chosen.update(name for name in matched if name in recorded and _divisible(buffer.architecture, name))
        elif pattern in recorded:
            chosen.add(pattern)
        else:
            raise DataError(f"rois: site {pattern!r} was not recorded; the buffer has {', '.join(recorded)}")
    if not chosen:
        raise DataError(
            f"rois: {', '.join(wanted)} selects none of the recorded sites ({', '.join(recorded)}) that can be "
            "divided without being named"
        )
    return [name for name in recorded if name in chosen]


def _divisible(architecture: Architecture, name: str) -> bool:
    return architecture.kind != "transformer" or not any(
        fnmatchcase(name, pattern) for pattern in ("embed", "logits", "resid.*")
    )


def _partition(
    units: Mapping[str, UnitCorrelations],
    method: str,
    n_rois: int | Mapping[str, int] | None,
    seed: int,
    options: Mapping[str, Any],
) -> Partition:
    find = catalogue.load(catalogue.ROIS[method])
    wanted = {name: n_rois.get(name) if isinstance(n_rois, Mapping) else n_rois for name in units}
    for name, site_units in units.items():  # all sites are checked before the first is divided
        _check_count(name, site_units, wanted[name])
    labels = {}
    for name, site_units in track(units.items(), "regions of interest", total=len(units), unit="sites"):
        whole = np.full(site_units.n_units, DEAD, np.int32)
        whole[site_units.live] = canonical(find(site_units.matrix, wanted[name], seed, **options))
        labels[name] = whole
    reasons = {name: site_units.dead for name, site_units in units.items() if site_units.dead}
    return Partition.from_labels(labels, prefix="roi", reasons=reasons, kind=KIND)


def _with_errors(found: Partition, architecture: Architecture) -> Partition:
    """The same, with a part of its own for the error at sites whose units are features of a dictionary."""
    labels, names = dict(found.labels), dict(found.names)
    for site in architecture.sites:
        if site.name in labels and site.has_error:
            error = np.full(site.n_units - site.n_features, len(names[site.name]), np.int32)
            labels[site.name] = np.concatenate([labels[site.name], error])
            names[site.name] = (*names[site.name], "error")
    return Partition(labels, names, found.kind, found.reasons)


def _check_count(name: str, units: UnitCorrelations, n_rois: int | None) -> None:
    if not len(units.live):
        raise DataError(f"rois: none of the {units.n_units} units of {name!r} varies, so there is nothing to divide")
    if n_rois is not None and n_rois < 1:
        raise DataError(f"rois: n_rois of {name!r} must be at least 1, not {n_rois}")
    if n_rois is not None and n_rois > len(units.live):
        raise DataError(
            f"rois: {n_rois} ROIs were asked for in {name!r}, but only {len(units.live)} of its "
            f"{units.n_units} units vary"
        )
