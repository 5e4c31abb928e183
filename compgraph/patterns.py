"""Attention patterns as nodes of their own, where parts are finer than heads.

A head's pattern is shared by all of its units. Where the parts of an attention site are not made of whole heads,
the pattern of every head becomes a node, `attn.3/head.5/pattern`, which reads the stream through channels q and k;
the parts read values through channel v, and get one edge (channel "") from the pattern of every head that some
unit of theirs belongs to.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture, Site
from compgraph.partition import HasArchitecture, Partition

SUFFIX = ".pattern"
"""`attn.3.pattern` is the site of the patterns of `attn.3`; one unit and one part per head."""


def splits_heads(site: Site, labels: npt.NDArray[np.integer]) -> bool:
    """Whether some head of an attention site has units in more than one part.

    A feature of a dictionary at the site is read off all heads: there, whether the units have more than one part.
    """
    if site.n_features:
        return bool((np.asarray(labels) != labels[0]).any())
    heads = np.asarray(labels).reshape(site.n_heads, -1)
    return bool((heads != heads[:, :1]).any())


def pattern_of(site: str) -> str:
    """Name of the site of an attention site's patterns."""
    return site + SUFFIX


def with_patterns(net: HasArchitecture, partition: Partition) -> tuple[Architecture, Partition]:
    """Architecture and partition with pattern sites in front of the attention sites that need them.

    Both come back as they are where every part is made of whole heads, or the patterns are there already.
    """
    architecture = net.architecture
    known = {site.name for site in architecture.sites}
    fine = [
        site.name
        for site in architecture.node_sites
        if site.kind == "attn"
        and site.name in partition.labels
        and pattern_of(site.name) not in known
        and splits_heads(site, partition.labels[site.name])
    ]
    if not fine:
        return architecture, partition
    return _architecture(architecture, fine), _partition(architecture, partition, fine)


def _architecture(architecture: Architecture, fine: list[str]) -> Architecture:
    sites: list[Site] = []
    reads, channels = dict(architecture.reads), dict(architecture.channels)
    for site in architecture.sites:
        if site.name in fine:
            pattern = pattern_of(site.name)
            sites.append(Site(pattern, "pattern", site.level, site.n_heads, n_heads=site.n_heads))
            reads[pattern], channels[pattern] = reads[site.name], ("q", "k")
            reads[site.name], channels[site.name] = (*reads[site.name], pattern), ("v",)
        sites.append(site)
    ranks = {key: rank for rank, key in enumerate(sorted({_depth(site) for site in sites}))}
    leveled = tuple(replace(site, level=ranks[_depth(site)]) for site in sites)
    return replace(architecture, sites=leveled, reads=reads, channels=channels)


def _depth(site: Site) -> tuple[int, int]:
    return site.level, 0 if site.kind == "pattern" else 1


def _partition(architecture: Architecture, partition: Partition, fine: list[str]) -> Partition:
    labels: dict[str, npt.NDArray[np.int32]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for site, values in partition.labels.items():
        if site in fine:
            heads = architecture.site(site).n_heads
            labels[pattern_of(site)] = np.arange(heads, dtype=np.int32)
            names[pattern_of(site)] = tuple(f"head.{k}" for k in range(heads))
        labels[site], names[site] = values, partition.names[site]
    return Partition(labels, names, partition.kind, partition.reasons, partition.empty)


def served_parts(site: Site, partition: Partition) -> npt.NDArray[np.bool_]:
    """Which parts the pattern of each head serves: bool [parts, heads]; every feature is served by all."""
    if site.n_features:
        return np.ones((partition.n_parts(site.name), site.n_heads), dtype=bool)
    labels = np.asarray(partition.labels[site.name])
    heads = np.arange(site.n_units) // (site.n_units // site.n_heads)
    table = np.zeros((partition.n_parts(site.name), site.n_heads), dtype=bool)
    table[labels[labels >= 0], heads[labels >= 0]] = True
    return table
