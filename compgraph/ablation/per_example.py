"""Node ablation in which every example keeps nodes of its own.

`compgraph.ablation.run.ablate_nodes` keeps the same nodes for all examples of a run. Where nodes are sorted by their
attribution for each input they differ between examples: here a run's mask has a row per example, and a batch is still
one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compgraph.ablation.baselines import Baseline, Units, check_nodes, make_baseline, silent_sites
from compgraph.data.batches import Batch, batches
from compgraph.errors import GraphError
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition
from compgraph.patterns import SUFFIX
from compgraph.progress import track

NODE_BATCH = 64
"""Examples per pass, which needs no more memory than a forward pass."""

Mask = NDArray[np.bool_]
Keep = Callable[[NDArray[np.int64]], Mask]
"""Rows of examples [b] -> the nodes that each run keeps for them, bool [runs, b, n_nodes]; or [runs, 1, n_nodes]
where all examples keep the same."""


def ablate_nodes_by_example(
    net: Network,
    partition: Partition,
    keep: Mask,
    pairs: Any,
    *,
    baseline: str | Baseline = "counterfactual",
    batch_size: int | None = None,
    seed: int = 0,
) -> Tensor:
    """As `ablate_nodes`, with nodes of its own for every example.

    Parameters
    ----------
    keep
        bool [runs, n, n_nodes], in the order of the partition's nodes. Output nodes (`logits`) cannot be ablated
        and count as kept.

    Returns
    -------
    Tensor
        Logits [runs, n, classes] at the scored positions.

    Raises
    ------
    GraphError
        A mask of another shape; a partition that is none of this network.
    """
    if keep.ndim != 3 or keep.shape[1:] != (pairs.n, partition.n_nodes):
        raise GraphError(
            f"keep has shape {list(keep.shape)}; it must be [runs, {pairs.n} examples, {partition.n_nodes} nodes]"
        )
    partition.check_causal(net)
    made = make_baseline(baseline, net, pairs, seed=seed, partition=partition)
    runs = node_runs(net, partition, lambda rows: keep[:, rows], pairs, baseline=made, batch_size=batch_size)
    return torch.cat([logits.cpu() for _, logits in runs], 1)


def node_runs(
    net: Network,
    partition: Partition,
    keep: Keep,
    pairs: Any,
    *,
    baseline: Baseline,
    batch_size: int | None = None,
) -> Iterator[tuple[Batch, Tensor]]:
    """Node ablation a batch at a time, so that neither masks nor outputs of all examples need to be kept.

    Parameters
    ----------
    partition
        The nodes; patterns of attention are nodes where it holds their sites too (`CircuitMasks.refined`).
    keep
        Gives the masks of a batch; called once for each, in order.
    baseline
        Its run is done once per batch for all masks.

    Yields
    ------
    (batch, logits [runs, batch, classes])
    """
    check_nodes(baseline, partition)
    sites = [site.name for site in net.architecture.node_sites[:-1]]
    sites += [site for site in partition.sites if site.endswith(SUFFIX)]
    whole = silent_sites(partition, baseline)
    size = batch_size or NODE_BATCH
    cut = track(batches(net, pairs, size), description="node ablation", total=-(-pairs.n // size), unit="batch")
    with torch.no_grad():
        for batch in cut:
            base = baseline.units(net, batch, sites)
            run = _runner(net, batch, sites)
            edits = (_edits(partition, one, base, whole) for one in keep(batch.rows))
            yield batch, torch.stack([run(edit) for edit in edits])


Edit = dict[str, Callable[[Tensor], Tensor]]


def _edits(partition: Partition, keep: Mask, base: Units, whole: Collection[str]) -> Edit:
    """What a pass changes so that the examples keep only these nodes, bool [b or 1, n_nodes]."""
    edit: Edit = {}
    for site, value in base.items():
        parts = keep[:, partition.node_slice(site)]
        dead = np.zeros((len(parts), 1), bool)  # label -1 picks it: dead units are not kept
        kept = np.concatenate([parts, dead], 1)[:, partition.labels[site]]
        if kept.all():
            continue
        mask = torch.from_numpy(kept).to(value.device)
        if site.endswith(SUFFIX):
            mask = mask[:, :, None, None]  # [b or 1, heads, query, key]
        elif value.ndim == 3:
            mask = mask[:, None]  # [b or 1, time, n_units]
        edit[site] = partial(_mixed, mask=mask, base=value)
        if site in whole and not parts.all():  # a whole MLP at zero writes nothing, its output bias neither
            gone = torch.from_numpy(~parts).to(value.device)
            edit[f"{site}/write"] = partial(_without, gone=gone[:, None])
    return edit


def _mixed(units: Tensor, mask: Tensor, base: Tensor) -> Tensor:
    return torch.where(mask, units, base)


def _without(write: Tensor, gone: Tensor) -> Tensor:
    return write.masked_fill(gone, 0)


def _runner(net: Network, batch: Batch, sites: list[str]) -> Callable[[Edit], Tensor]:
    """Edits -> logits of the batch."""
    if not isinstance(net, Sequential):
        return lambda edit: net.run(batch.clean, batch.mask, positions=batch.positions, edit=edit).logits
    found = net.run(batch.clean, capture=[*sites, "logits"]).units
    return lambda edit: _run_chain(net, found, edit)


def _run_chain(net: Sequential, clean: Units, edit: Edit) -> Tensor:
    """A chain from its first edited site on: what lies before it is that of the clean run [b, n_units]."""
    sites = list(clean)
    if not edit:
        return clean["logits"]
    first = next(index for index, site in enumerate(sites) if site in edit)
    x = edit[sites[first]](clean[sites[first]])
    for _, site in pairwise(sites[first:]):
        x = net.units_from(site, net.pre_activations(site, x))
        x = edit[site](x) if site in edit else x
    return x
