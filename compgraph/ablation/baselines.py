"""Baselines: what replaces an ablated value.

A baseline is an object that gives, for every example of a batch, the units of any site in its baseline run
(`Baseline`). It is made once, for a network and its data (`make_baseline`), and may look at all of the data first:
means and covariances are those of a reference set, the data themselves unless another is given.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from compgraph.catalogue import BASELINES, load, settings_of
from compgraph.data.batches import Batch
from compgraph.data.fit import check_data
from compgraph.errors import DataError
from compgraph.models.network import Network
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.patterns import SUFFIX

Units = dict[str, Tensor]
WRITE = "/write"
"""Behind the name of a site: what it writes rather than its units."""


class Baseline(Protocol):
    """What replaces ablated values.

    Attributes
    ----------
    name
        As registered (`compgraph.catalogue.BASELINES`).
    consistent
        Whether the baseline run is a run of the network on some input: every node's baseline value is then what it
        computes from the baseline stream, so that nodes without a changed input need no computation.
    """

    name: str
    consistent: bool

    def units(self, net: Network, batch: Batch, sites: Collection[str]) -> Units:
        """Site -> its units in the baseline run: [batch, time, n_units], for images [batch, n_units]; patterns of
        attention (`attn.3.pattern`) [batch, heads, query, key]. A consistent baseline is also asked for what sites
        write (`attn.3/write`, [batch, time, d_model]) and heads read (`attn.3/q`, [batch, time, heads, d_head], without
        bias), which its run has at hand."""
        ...

    def about(self) -> dict[str, Any]:
        """What a result says about it: its name and, where there is any, seed and reference."""
        ...


class Counterfactual:
    """The values of the corrupted run."""

    name = "counterfactual"
    consistent = True

    def __init__(self, net: Network, pairs: Any, reference: Any, seed: int) -> None:
        if getattr(pairs, "corrupted", None) is None:
            raise DataError("baseline 'counterfactual' needs a corrupted input per example; this dataset has none")

    def units(self, net: Network, batch: Batch, sites: Collection[str]) -> Units:
        """See `Baseline`."""
        assert batch.corrupted is not None
        with torch.no_grad():
            if isinstance(net, Transformer) and "logits" not in sites:
                return net.capture(batch.corrupted, batch.mask, sites)
            return net.run(batch.corrupted, batch.mask, capture=sites, positions=batch.positions).units

    def about(self) -> dict[str, Any]:
        """See `Baseline`."""
        return {"baseline": self.name}


class Zero:
    """Zero for every unit. A whole MLP node writes nothing then, its output bias included (design, section 9)."""

    name = "zero"
    consistent = False

    def __init__(self, net: Network | None = None, pairs: Any = None, reference: Any = None, seed: int = 0) -> None:
        pass

    def units(self, net: Network, batch: Batch, sites: Collection[str]) -> Units:
        """See `Baseline`."""
        lead = batch.clean.shape[:2] if net.kind == "transformer" else batch.clean.shape[:1]

        def shape(name: str) -> tuple[int, ...]:
            if name.endswith(SUFFIX):
                heads = net.architecture.site(name.removesuffix(SUFFIX)).n_heads
                return lead[0], heads, lead[1], lead[1]
            return *lead, net.architecture.site(name).n_units

        return {name: torch.zeros((), dtype=net.dtype, device=net.device).expand(shape(name)) for name in sites}

    def about(self) -> dict[str, Any]:
        """See `Baseline`."""
        return {"baseline": self.name}


def make_baseline(
    baseline: str | Baseline,
    net: Network,
    pairs: Any,
    *,
    reference: Any = None,
    seed: int = 0,
    partition: Partition | None = None,
    options: Mapping[str, Any] | None = None,
    cache: Path | None = None,
) -> Baseline:
    """The baseline of that name for a network and its data.

    Parameters
    ----------
    baseline
        A registered name (`compgraph.catalogue.BASELINES`), or a baseline made before, returned as it is.
    pairs
        The data that will be run.
    reference
        Other data, from which means, covariances, samples and constants are taken; None: from `pairs`, clean side.
    seed
        Of what is drawn.
    partition
        The nodes that will be ablated, which `optimal` learns a constant for; other baselines do not depend on them.
    options
        The baseline's own (`compgraph.catalogue.BASELINES`).
    cache
        A folder in which what is learned is kept.

    Raises
    ------
    DataError
        Data that the network cannot read; an unknown name; data that lack what the baseline needs; a reference for a
        baseline that has no use for one; an option that it does not have; no partition where one is needed.
    """
    check_data(net, pairs)
    if not isinstance(baseline, str):
        return baseline
    if baseline not in BASELINES:
        raise DataError(f"baseline {baseline!r} is not known; valid are {', '.join(BASELINES)}")
    entry = BASELINES[baseline]
    if reference is not None and not entry.takes_reference:
        takers = ", ".join(name for name, entry in BASELINES.items() if entry.takes_reference)
        raise DataError(f"baseline {baseline!r} takes nothing from other data; those that do: {takers}")
    settings = settings_of(entry, options or {}, "baseline")
    if entry.per_node:
        if partition is None:
            raise DataError(f"baseline {baseline!r} is learned for the nodes of a partition; none is given here")
        settings |= {"partition": partition, "cache": cache}
    made: Baseline = load(entry)(net, pairs, reference, seed, **settings)
    return made


def one_row(units: Tensor) -> Tensor:
    """Units [batch, time, n_units], or one row of them [1, 1, n_units] where they are an expanded constant."""
    return units[:1, :1] if units.stride()[:2] == (0, 0) else units


def check_nodes(baseline: Baseline, partition: Partition) -> None:
    """Refuse a baseline that was learned for other nodes than those of a partition.

    Raises
    ------
    DataError
        Its own partition, where it has one, is another.
    """
    own: Partition | None = getattr(baseline, "partition", None)
    if own is not None and own != unit_sites(partition):
        raise DataError(f"baseline {baseline.name!r} was learned for the nodes of {own}, and these are of {partition}")


def unit_sites(partition: Partition) -> Partition:
    """A partition without its sites of patterns."""
    return partition.restrict([site for site in partition.sites if not site.endswith(SUFFIX)])


def baseline_values(
    baseline: Baseline, net: Network, batch: Batch, names: Collection[str], silent: Collection[str]
) -> Units:
    """Units of sites in the baseline run, and what sites write in it (`mlp.3/write`), whatever the baseline.

    Sites in `silent` write without their output bias.
    """
    written = [name for name in names if name.endswith(WRITE)]
    if baseline.consistent or not written:
        return baseline.units(net, batch, names)
    assert isinstance(net, Transformer)
    found = baseline.units(net, batch, [name.removesuffix(WRITE) for name in names])
    out = {}
    with torch.no_grad():
        for name in names:
            site = name.removesuffix(WRITE)
            units = found.pop(site)
            out[name] = units if site == name else net.write(site, units, silent=site in silent)
    return out


def reference_about(reference: Any) -> dict[str, Any]:
    """What a baseline says about where its values come from: the data themselves, or others (their digest)."""
    return {"baseline_data": "own" if reference is None else str(reference.digest)}


def silent_sites(partition: Partition, baseline: Baseline) -> frozenset[str]:
    """MLP sites whose baseline write lacks the output bias: those ablated to zero as one whole node."""
    if baseline.name != "zero":
        return frozenset()
    return frozenset(name for name in partition.sites if name.startswith("mlp.") and partition.n_parts(name) == 1)
