"""Granularity words: how `modules`, `heads`, `channels` and `units` divide each kind of site into parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture, Site
from compgraph.errors import GraphError

GRANULARITIES = ("modules", "heads", "channels", "units")
"""The words for ready-made partitions, as the configuration and the command line use them."""

Rule = TypeVar("Rule")


def site_parts(
    architecture: Architecture, site: Site, word: str
) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Labels (int32 [n_units]) and part names of one site at a granularity.

    Raises
    ------
    GraphError
        If the word is unknown, or does not apply to this kind of network.
    """
    if word not in GRANULARITIES:
        raise GraphError(f"partition: granularity {word!r} is not one of {listed(GRANULARITIES)}")
    transformer = architecture.kind == "transformer"
    if word == "channels" and transformer:
        raise GraphError(
            f"partition: granularity 'channels' is for sequential networks; {architecture.family} is a "
            "transformer (valid: modules, heads, units)"
        )
    if site.n_features:
        return _feature_parts(site, word)
    stem, per_part = _part_rule(site, word, transformer)
    if not per_part:
        return np.zeros(site.n_units, np.int32), ("",)
    labels = np.arange(site.n_units, dtype=np.int32) // per_part
    return labels, tuple(f"{stem}.{k}" for k in range(-(-site.n_units // per_part)))


def _feature_parts(site: Site, word: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """A site with a dictionary: every feature by itself and the error's coordinates as one part, or all as one."""
    if word != "units":
        return np.zeros(site.n_units, np.int32), ("",)
    labels = np.minimum(np.arange(site.n_units, dtype=np.int32), np.int32(site.n_features))
    names = (f"feature.{k}" for k in range(site.n_features))
    return labels, (*names, "error") if site.has_error else tuple(names)


def _part_rule(site: Site, word: str, transformer: bool) -> tuple[str, int]:
    """First half of the part names and the number of units a part; ("", 0) leaves the site whole."""
    whole = ("", 0)
    if word == "modules":
        return whole
    if site.kind == "logits":
        return whole if transformer else ("class", 1)
    if word == "heads":
        return ("head", site.n_units // site.n_heads) if site.n_heads else whole
    if site.kind == "embed":
        return whole
    if word == "channels" and site.shape:
        return "channel", int(np.prod(site.shape[1:], dtype=np.int64))
    return ("neuron" if site.kind in ("mlp", "linear") else "unit"), 1


def match_rules(architecture: Architecture, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rule of each site: the first whose glob matches its name.

    A glob selects views of the stream (`resid.3`) only if it matches no node site, so that `*` means the
    nodes of the network and `resid.*` can still be asked for.

    Raises
    ------
    GraphError
        If a glob matches no site at all.
    """
    chosen: dict[str, Rule] = {}
    for pattern, rule in rules.items():
        matched = [site for site in architecture.sites if fnmatchcase(site.name, pattern)]
        if not matched:
            names = [site.name for site in architecture.sites]
            raise GraphError(f"partition: {pattern!r} matches no site; sites are {listed(names)}")
        nodes = [site for site in matched if site.node]
        for site in nodes or matched:
            chosen.setdefault(site.name, rule)
    return chosen


def listed(names: Iterable[str], limit: int = 8) -> str:
    """Names for a message, the first `limit` of them."""
    every = list(names)
    text = ", ".join(every[:limit]) or "nothing"
    return f"{text}, … ({len(every)} in all)" if len(every) > limit else text
