"""Baselines: what replaces an ablated value.

Each baseline is a function `(net, batch, sites) -> {site: units}` that returns, for every example of the batch,
the units the site has in the baseline run. Zero is the exception in one respect: under it a whole MLP node
writes nothing at all, its output bias included (design, section 9).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from compgraph.catalogue import BASELINES, load
from compgraph.data.batches import Batch
from compgraph.errors import DataError
from compgraph.models.network import Network
from compgraph.partition import Partition

Units = dict[str, Tensor]


def counterfactual(net: Network, batch: Batch, sites: Collection[str]) -> Units:
    """Units of the corrupted run."""
    if batch.corrupted is None:
        raise DataError("baseline 'counterfactual' needs a corrupted input per example; this dataset has none")
    with torch.no_grad():
        return net.run(batch.corrupted, batch.mask, capture=sites, positions=batch.positions).units


def zero(net: Network, batch: Batch, sites: Collection[str]) -> Units:
    """Zeros, one per unit (patterns of attention: per query and key)."""
    lead = batch.clean.shape[:2] if net.kind == "transformer" else batch.clean.shape[:1]

    def shape(name: str) -> tuple[int, ...]:
        if name.endswith(".pattern"):
            heads = net.architecture.site(name.removesuffix(".pattern")).n_heads
            return lead[0], heads, lead[1], lead[1]
        return *lead, net.architecture.site(name).n_units

    return {name: torch.zeros(shape(name), dtype=net.dtype, device=net.device) for name in sites}


def baseline_units(net: Network, batch: Batch, baseline: str, sites: Collection[str]) -> Units:
    """Units of the baseline run at the given sites.

    Parameters
    ----------
    baseline
        `counterfactual` or `zero`.
    sites
        Names of sites.

    Returns
    -------
    dict
        Site -> [batch, time, n_units], or [batch, n_units] for images.

    Raises
    ------
    DataError
        Unknown baseline, or one the data cannot serve.
    """
    if baseline not in BASELINES:
        raise DataError(f"baseline {baseline!r} is not known; valid are {', '.join(BASELINES)}")
    units: Units = load(BASELINES[baseline])(net, batch, sites)
    return units


def silent_sites(partition: Partition, baseline: str) -> frozenset[str]:
    """MLP sites whose baseline write lacks the output bias: those ablated to zero as one whole node."""
    if baseline != "zero":
        return frozenset()
    return frozenset(name for name in partition.sites if name.startswith("mlp.") and partition.n_parts(name) == 1)
