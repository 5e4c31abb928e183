"""Partitions: a label for every unit of every site, which turns sites into nodes.

Modules, heads, channels, single units and regions of interest differ only in their partition; everything
else in the package works on sites and a partition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from compgraph import partition_io
from compgraph.architecture import Architecture
from compgraph.errors import GraphError
from compgraph.granularity import listed, match_rules, site_parts
from compgraph.partition_checks import DEAD, check_errors, check_reasons, check_site, label_array, nested

__all__ = ["DEAD", "HasArchitecture", "NodeColumns", "Partition"]

NodeColumns = dict[str, npt.NDArray[Any]]
"""Columns `name`, `site` (objects), `label` (int32), `size` (int64), `level` (int32), a row per node."""


class HasArchitecture(Protocol):
    """A network, or an `Architecture` itself."""

    @property
    def architecture(self) -> Architecture:
        """The sites and which site reads which."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class Partition:
    """For every site a label per unit; a label is a part, a part is a node.

    Nodes are numbered site by site in the order of `labels`, within a site by label.

    Parameters
    ----------
    labels
        Site name -> integer array [n_units]: 0 … n_parts - 1, or -1 for a dead unit, which belongs to
        no node. Stored as read-only int32.
    names
        Site name -> name of each part: `head.5`, `channel.3`, `neuron.17`, `roi.2`, or `""` alone where the
        site is whole. A node is called `site/part`, or `site` where the part is `""`.
    kind
        The granularity word, `labels` or `mixed`. Descriptive: not part of the digest or of equality.
    reasons
        Site name -> {why: indices of the dead units it applies to}. Optional; not part of the digest.
    empty
        Site name -> names of the parts meant to have no unit. Any other part without one is an error.

    Raises
    ------
    GraphError
        If labels and names do not fit together.
    """

    labels: Mapping[str, npt.NDArray[np.int32]]
    names: Mapping[str, tuple[str, ...]]
    kind: str = "labels"
    reasons: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    empty: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = {site: label_array(site, values) for site, values in self.labels.items()}
        if list(self.names) != list(labels):
            raise GraphError(
                f"partition: labels are given for {listed(labels)} but part names for {listed(self.names)}"
            )
        names = {site: tuple(str(part) for part in parts) for site, parts in self.names.items()}
        for site, values in labels.items():
            check_site(site, values, names[site], self.empty.get(site, ()))
        reasons = {
            site: {why: tuple(int(i) for i in units) for why, units in whys.items()}
            for site, whys in self.reasons.items()
        }
        for site, whys in reasons.items():
            check_reasons(site, whys, labels)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "reasons", reasons)
        object.__setattr__(self, "empty", {site: tuple(parts) for site, parts in self.empty.items() if parts})

    # ---- ready-made partitions ------------------------------------------------------------------------

    @classmethod
    def modules(cls, net: HasArchitecture) -> Partition:
        """One part per site."""
        return _by_granularity(net, "modules")

    @classmethod
    def heads(cls, net: HasArchitecture) -> Partition:
        """Attention by head, every other site whole (but the logits of a sequential network by class)."""
        return _by_granularity(net, "heads")

    @classmethod
    def channels(cls, net: HasArchitecture) -> Partition:
        """Sequential networks: images by channel, linear sites by neuron, logits by class.

        Raises
        ------
        GraphError
            For a transformer, which has no channels.
        """
        return _by_granularity(net, "channels")

    @classmethod
    def units(cls, net: HasArchitecture) -> Partition:
        """One part per unit; `embed` and `logits` of a transformer stay whole."""
        return _by_granularity(net, "units")

    @classmethod
    def from_labels(
        cls,
        labels: Mapping[str, npt.ArrayLike],
        prefix: str = "roi",
        names: Mapping[str, Sequence[str]] | None = None,
        reasons: Mapping[str, Mapping[str, Iterable[int]]] | None = None,
        kind: str = "labels",
    ) -> Partition:
        """Parts from labels found elsewhere; part k of a site is called `prefix.k` unless it is in `names`.

        Parameters
        ----------
        labels
            Site name -> integers [n_units], -1 for dead units; without gaps.
        prefix
            First half of the part names.
        names
            Site name -> part names, for sites that have names of their own.
        reasons
            Site name -> {why: indices of dead units}.
        kind
            Descriptive word.
        """
        given = names or {}
        if unknown := set(given) - set(labels):
            raise GraphError(f"partition: names are given for {listed(sorted(unknown))}, which has no labels")
        arrays = {site: label_array(site, values) for site, values in labels.items()}
        for site, values in arrays.items():
            if site not in given and values.max(initial=DEAD) >= len(values):
                raise GraphError(
                    f"partition: label {values.max()} of {site!r}, which has {len(values)} units, leaves "
                    "parts without a unit; renumber the labels without gaps"
                )
        parts = {
            site: tuple(given[site])
            if site in given
            else tuple(f"{prefix}.{k}" for k in range(int(values.max(initial=DEAD)) + 1))
            for site, values in arrays.items()
        }
        frozen = {site: {why: tuple(u) for why, u in whys.items()} for site, whys in (reasons or {}).items()}
        return cls(arrays, parts, kind, frozen)

    @classmethod
    def mixed(
        cls, net: HasArchitecture, rules: Mapping[str, str | Partition], default: str = "modules"
    ) -> Partition:
        """A granularity, or the labels of another partition, per site.

        Parameters
        ----------
        net
            A network or an architecture.
        rules
            Glob over site names -> granularity word or partition; the first that matches a site wins.
            A glob selects views of the stream (`resid.3`) only if it matches no node site, so that `*` means
            the nodes of the network and `resid.*` can still be asked for.
        default
            Granularity of the node sites that no glob matches.

        Raises
        ------
        GraphError
            If a glob matches no site, or a partition given for a site does not fit it.
        """
        architecture = net.architecture
        chosen = match_rules(architecture, rules)
        labels: dict[str, npt.NDArray[np.int32]] = {}
        names: dict[str, tuple[str, ...]] = {}
        reasons: dict[str, Mapping[str, tuple[int, ...]]] = {}
        empty: dict[str, tuple[str, ...]] = {}
        for site in architecture.sites:
            rule = chosen.get(site.name, default if site.node else None)
            if rule is None:
                continue
            if isinstance(rule, str):
                labels[site.name], names[site.name] = site_parts(architecture, site, rule)
                continue
            if site.name not in rule.labels:
                raise GraphError(
                    f"partition: no labels for site {site.name!r} in the partition given for it; "
                    f"it has {listed(rule.labels)}"
                )
            labels[site.name], names[site.name] = rule.labels[site.name], rule.names[site.name]
            reasons[site.name] = rule.reasons.get(site.name, {})
            empty[site.name] = rule.empty.get(site.name, ())
        return cls(labels, names, "mixed", reasons, empty).check(architecture)

    # ---- questions ------------------------------------------------------------------------------------

    @property
    def sites(self) -> tuple[str, ...]:
        """Site names in the order of the nodes."""
        return tuple(self.labels)

    @cached_property
    def digest(self) -> str:
        """`sha256:…` over sites, labels and part names; the same on every machine."""
        digest = hashlib.sha256(b"compgraph partition 1\n")
        for site, values in self.labels.items():
            head = json.dumps([site, len(values), list(self.names[site])], ensure_ascii=True)
            digest.update(head.encode() + b"\n" + np.ascontiguousarray(values, dtype="<i4").tobytes())
        return f"sha256:{digest.hexdigest()}"

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Partition) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Partition({self.kind}: {self.n_nodes} nodes in {len(self.labels)} sites)"

    def size(self, site: str) -> int:
        """Number of units of a site, dead ones included."""
        return len(self._labels(site))

    def n_parts(self, site: str) -> int:
        """Number of nodes of a site."""
        self._labels(site)
        return len(self.names[site])

    def part_names(self, site: str) -> tuple[str, ...]:
        """Names of the parts of a site, by label."""
        self._labels(site)
        return self.names[site]

    def part_sizes(self, site: str) -> npt.NDArray[np.int64]:
        """Number of units of each part of a site, int64 [n_parts]."""
        values = self._labels(site)
        return np.bincount(values[values != DEAD], minlength=self.n_parts(site)).astype(np.int64)

    @cached_property
    def n_nodes(self) -> int:
        """Number of nodes over all sites."""
        return sum(len(parts) for parts in self.names.values())

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """Names of all nodes, in their order."""
        return tuple(_node_name(site, part) for site, parts in self.names.items() for part in parts)

    @cached_property
    def _offsets(self) -> dict[str, int]:
        offsets, total = {}, 0
        for site, parts in self.names.items():
            offsets[site] = total
            total += len(parts)
        return offsets

    def node_slice(self, site: str) -> slice:
        """The nodes of a site as a slice of the numbering of all nodes."""
        first = self._offsets[site] if site in self._offsets else self._missing(site)
        return slice(first, first + len(self.names[site]))

    def node_index(self, site: str) -> npt.NDArray[np.int64]:
        """Number of the node of each unit of a site, -1 for dead units; int64 [n_units]."""
        values = self._labels(site)
        return np.where(values == DEAD, DEAD, values.astype(np.int64) + self._offsets[site])

    def nodes(self, net: HasArchitecture | None = None) -> NodeColumns:
        """The table of nodes as columns.

        `level` is the level of the site in the network, or, without one, the rank of the site here.
        """
        if net is not None:
            self.check(net)
            levels = {site.name: site.level for site in net.architecture.sites}
        else:
            levels = {site: rank for rank, site in enumerate(self.labels)}
        counts = [len(parts) for parts in self.names.values()]
        sizes = [self.part_sizes(site) for site in self.labels]
        sites = np.empty(len(counts), dtype=object)
        sites[:] = list(self.labels)
        names = np.empty(self.n_nodes, dtype=object)
        names[:] = self.node_names
        label = [np.arange(count, dtype=np.int32) for count in counts]
        return {
            "name": names,
            "site": np.repeat(sites, counts),
            "label": np.concatenate(label) if label else np.zeros(0, np.int32),
            "size": np.concatenate(sizes) if sizes else np.zeros(0, np.int64),
            "level": np.repeat(np.array([levels[site] for site in self.labels], dtype=np.int32), counts),
        }

    def restrict(self, sites: Iterable[str]) -> Partition:
        """The same partition on some of its sites, in this partition's order."""
        wanted = set(sites)
        for site in sorted(wanted - set(self.labels)):
            self._missing(site)
        keep = [site for site in self.labels if site in wanted]
        return Partition(
            {site: self.labels[site] for site in keep},
            {site: self.names[site] for site in keep},
            self.kind,
            {site: whys for site, whys in self.reasons.items() if site in wanted},
            {site: parts for site, parts in self.empty.items() if site in wanted},
        )

    def check(self, net: HasArchitecture) -> Partition:
        """Return this partition if every site of it is one of the network's, with as many units.

        Raises
        ------
        GraphError
            Naming the site and both numbers.
        """
        architecture = net.architecture
        known = {site.name: site.n_units for site in architecture.sites}
        owner = f"the {architecture.family} {architecture.kind}"
        for site, values in self.labels.items():
            if site not in known:
                raise GraphError(f"partition: site {site!r} is not one of {owner}'s sites ({listed(known)})")
            if len(values) != known[site]:
                raise GraphError(
                    f"partition: site {site!r} has {len(values)} labels, but in {owner} it has "
                    f"{known[site]} units"
                )
        return self

    def check_causal(self, net: HasArchitecture) -> Partition:
        """Return this partition if it can carry a causal graph: every node site, in the network's order, and
        the logits of a transformer and the errors of dictionaries whole.

        Raises
        ------
        GraphError
            Naming the first site that is missing, out of place or divided.
        """
        architecture = net.architecture
        self.check(architecture)
        expected = [site.name for site in architecture.node_sites]
        for site in expected:
            if site not in self.labels:
                raise GraphError(f"partition: site {site!r} is missing; a causal graph needs {listed(expected)}")
        if (found := [site for site in self.labels if site in expected]) != expected:
            raise GraphError(f"partition: sites must come in the order {listed(expected)}, not {listed(found)}")
        if architecture.kind == "transformer" and self.n_parts("logits") != 1:
            raise GraphError(f"partition: the logits are in {self.n_parts('logits')} parts; they must be one")
        check_errors(architecture, self.labels)
        return self

    def refines(self, other: Partition) -> bool:
        """Whether each part here lies in one part of `other`, for the same sites and no dead unit revived.

        Raises
        ------
        GraphError
            If a site has different numbers of units in the two.
        """
        for site in self.labels.keys() & other.labels.keys():
            if self.size(site) != other.size(site):
                raise GraphError(
                    f"partition: site {site!r} has {self.size(site)} units here and {other.size(site)} "
                    "in the partition it is compared with"
                )
        if self.labels.keys() != other.labels.keys():
            return False
        return all(nested(self.labels[site], other.labels[site]) for site in self.labels)

    def _labels(self, site: str) -> npt.NDArray[np.int32]:
        return self.labels[site] if site in self.labels else self._missing(site)

    def _missing(self, site: str) -> Any:
        raise GraphError(f"partition: no site {site!r}; it has {listed(self.labels)}")

    # ---- files ----------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a folder: `partition.json` (names, reasons) and `labels.npy` (all sites' labels in a row)."""
        partition_io.write(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Partition:
        """Read what `save` wrote.

        Raises
        ------
        GraphError
            If the folder is not a partition, is torn, or its labels are not the ones that were saved.
        """
        arguments, digest = partition_io.read(Path(path))
        try:
            loaded = cls(**arguments)
        except (TypeError, ValueError, AttributeError) as error:
            raise GraphError(f"{path} is not a readable partition: {error}") from error
        if loaded.digest != digest:
            raise GraphError(f"{path}: labels.npy holds other labels than partition.json was written for")
        return loaded


def _node_name(site: str, part: str) -> str:
    if site.endswith(".pattern"):  # the patterns of `attn.3` are called attn.3/head.5/pattern
        return f"{site.removesuffix('.pattern')}/{part}/pattern"
    return f"{site}/{part}" if part else site


def _by_granularity(net: HasArchitecture, word: str) -> Partition:
    architecture = net.architecture
    parts = {site.name: site_parts(architecture, site, word) for site in architecture.node_sites}
    labels = {site: values for site, (values, _) in parts.items()}
    return Partition(labels, {site: names for site, (_, names) in parts.items()}, word)
