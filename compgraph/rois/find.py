"""The library call that divides sites into regions of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from compgraph import catalogue
from compgraph.architecture import Architecture
from compgraph.communities.agreement import canonical
from compgraph.connectivity.functional.recordings import Recording
from compgraph.errors import ConfigError, DataError
from compgraph.granularity import match_rules
from compgraph.partition import DEAD, Partition
from compgraph.progress import track
from compgraph.rois.number import Number, check_number
from compgraph.rois.recordings import ArrayRecording, Concatenated
from compgraph.rois.signals import ERROR, Units, units_of

KIND = "rois"
SCOPES = ("site", "layer", "all")

Numbers = Number | Sequence[int] | Mapping[str, int | Sequence[int]]


def find_rois(
    signals: Recording | npt.ArrayLike | Sequence[Recording],
    site: str | Sequence[str] | None = None,
    method: str = "sbm",
    n_rois: Numbers = None,
    seed: int = 0,
    *,
    scope: str = "site",
    **options: Any,
) -> Partition:
    """Divide sites into regions of interest: units that vary together over the data.

    Parameters
    ----------
    signals
        A buffer of activations or attributions (`compgraph.open_buffer`), weights
        (`compgraph.rois.weights.weight_signals`), or several of these of one network, of which each counts alike
        (their mean correlation is used); or plain signals of one site, float [rows, units].
    site
        Of a buffer: name, pattern (`mlp.*`) or several of them; None for every recorded node site. Patterns
        and None leave `embed` and `logits` of a transformer whole (their units are coordinates of the stream
        and words); give their name to divide them. Of a matrix: the name its site gets, `units` if None.
    method
        A name of `compgraph.catalogue.ROIS`.
    n_rois
        ROIs per site (or group of sites), the same for all or by site name (of a group: of its first site): a number,
        or the least and the most; None lets the method decide, if it can.
    seed
        The same seed gives the same partition.
    scope
        What is divided together: each `site` by itself, the sites of each `layer` (`attn.3` and `mlp.3`), or `all`
        chosen sites. A region of several sites is a part of each of them, under one name, so that nodes stay within
        sites and graphs causal.
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
        If there is no such method or scope.
    DataError
        If a site was not recorded, values are not finite, there are too few rows, no unit is alive, or more
        ROIs are asked for than there are live units.
    """
    if method not in catalogue.ROIS:
        raise ConfigError(f"ROI method {method!r} is not known; valid are {', '.join(catalogue.ROIS)}")
    if scope not in SCOPES:
        raise ConfigError(f"ROI scope {scope!r} is not known; valid are {', '.join(SCOPES)}")
    recording = recording_of(signals, site)
    bare = isinstance(recording, ArrayRecording) and not recording.architecture.reads
    names = list(recording.arrays) if bare else chosen_sites(recording, site)  # type: ignore[attr-defined]
    groups = [units_of(recording, group) for group in grouped(names, scope)]
    found = _divided(groups, method, n_rois, seed, options)
    if bare:
        return found
    # A name is its own pattern; everything else keeps its module.
    mixed = Partition.mixed(recording.architecture, dict.fromkeys(found.sites, found))
    reasons = {name: whys for name, whys in mixed.reasons.items() if whys}
    return Partition(mixed.labels, mixed.names, KIND, reasons)


def recording_of(
    signals: Recording | npt.ArrayLike | Sequence[Recording], site: str | Sequence[str] | None = None
) -> Recording:
    """One recording from what `find_rois` takes."""
    if hasattr(signals, "chunks"):
        return cast(Recording, signals)
    if isinstance(signals, (list, tuple)) and signals and hasattr(signals[0], "chunks"):
        recordings = cast("Sequence[Recording]", signals)
        return recordings[0] if len(recordings) == 1 else Concatenated(recordings)
    name = site or "units"
    if not isinstance(name, str):
        raise DataError(f"rois: signals of one site were given, but {len(name)} names for it")
    return ArrayRecording(None, {name: cast(npt.ArrayLike, signals)})


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


def grouped(sites: Sequence[str], scope: str) -> list[list[str]]:
    """Sites that are divided together: each by itself, those of one layer (`attn.3`, `mlp.3`), or all."""
    if scope == "all":
        return [list(sites)]
    groups: dict[str, list[str]] = {}
    for name in sites:
        _, _, layer = name.partition(".")
        groups.setdefault(layer if scope == "layer" and layer else name, []).append(name)
    return list(groups.values())


def _divisible(architecture: Architecture, name: str) -> bool:
    return architecture.kind != "transformer" or not any(
        fnmatchcase(name, pattern) for pattern in ("embed", "logits", "resid.*")
    )


def _divided(groups: Sequence[Units], method: str, n_rois: Numbers, seed: int, options: Mapping[str, Any]) -> Partition:
    find = catalogue.load(catalogue.ROIS[method])
    wanted = [_number(n_rois, next(iter(units.sites))) for units in groups]
    for units, number in zip(groups, wanted, strict=True):  # all are checked before the first is divided
        check_number(number, units.n, sum(one.n_units for one in units.sites.values()), units.name)
    labels: dict[str, npt.NDArray[np.int32]] = {}
    names: dict[str, list[str]] = {}
    several = len(groups) > 1 and any(len(units.sites) > 1 for units in groups)
    for place, (units, number) in enumerate(track(zip(groups, wanted, strict=True), "ROIs", total=len(groups))):
        found = canonical(find(units, number, seed, **options))
        prefix = f"roi.{place}." if several else "roi."
        first = 0
        for site, one in units.sites.items():
            own = found[first : first + len(one.live)]
            first += len(one.live)
            present, numbers = np.unique(own, return_inverse=True)
            labels[site] = np.full(one.n_units, DEAD, np.int32)
            labels[site][one.live] = numbers
            names[site] = [f"{prefix}{k}" for k in present]
            if one.n_error:
                labels[site][-one.n_error :] = len(names[site])
                names[site].append(ERROR)
    reasons = {site: one.dead for units in groups for site, one in units.sites.items() if one.dead}
    return Partition.from_labels(labels, names=names, reasons=reasons, kind=KIND)


def _number(n_rois: Numbers, site: str) -> Number:
    value = n_rois.get(site) if isinstance(n_rois, Mapping) else n_rois
    if value is None or isinstance(value, int):
        return value
    low, high = value
    return int(low), int(high)
