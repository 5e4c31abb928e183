"""Running circuits over data: the public calls of edge and node ablation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline, make_baseline
from compgraph.ablation.circuits import CircuitMasks, check_model, masks_for
from compgraph.ablation.per_example import node_runs
from compgraph.ablation.sweeps import prepared_runs
from compgraph.data.batches import Batch
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.partition import Partition

ABLATIONS = ("edge", "node")
DIRECTIONS = ("denoise", "noise")


def run_graph(
    net: Network,
    circuit: ComputationalGraph,
    pairs: Any,
    *,
    ablation: str = "edge",
    baseline: str | Baseline = "counterfactual",
    batch_size: int | None = None,
    seed: int = 0,
    norm_scale: str = "exact",
    direction: str = "denoise",
    complement: bool = False,
) -> Tensor:
    """Run the network as a circuit.

    Parameters
    ----------
    net
        Transformer or chain.
    circuit
        Edges that are kept (not pruned here: call `.prune()` yourself if you mean it; under zero ablation it
        changes the result).
    pairs
        `PromptPairs` or `ImagePairs`.
    ablation
        `edge`: every node reads the baseline plus the changes of its kept sources. `node`: nodes without any
        kept edge hold their baseline value in an ordinary forward pass.
    baseline
        A name, or one made before (`compgraph.ablation.baselines.make_baseline`), with means of other data, say.
    batch_size
        Examples per pass; chosen to bound memory where None. The result does not depend on it.
    seed
        For baselines that draw.
    norm_scale
        `exact`: every node divides by the scale of the stream that it reads. `frozen`: by that of the clean run at
        its site, at post-norms and in front of the logits too; the whole graph is still the model, but the empty one
        is not the baseline run. Edge ablation only.
    direction
        `denoise`: the circuit carries current values, all else the baseline's. `noise`: the circuit carries the
        baseline's values in an otherwise clean run.
    complement
        Run what the circuit leaves out: the other edges, under node ablation the nodes without a kept edge, and the
        input, without which nothing runs (`CircuitMasks.complement`). Noising a circuit is the same run as denoising
        its complement.

    Returns
    -------
    Tensor
        Logits [n, classes] at the scored positions, in the network's dtype on the CPU.

    Raises
    ------
    GraphError, DataError, ModelError
        The circuit was made for another network; the data lack what the baseline needs.

    Warns
    -----
    UserWarning
        The circuit has no edge, or no path from an input to an output. The result is defined all the same: under edge
        ablation nothing of the input reaches the logits.
    """
    return _run(
        net,
        [circuit],
        pairs,
        ablation=ablation,
        baseline=baseline,
        batch_size=batch_size,
        seed=seed,
        norm_scale=norm_scale,
        direction=direction,
        complement=complement,
    )[0]


def run_circuits(
    net: Network,
    circuits: Sequence[ComputationalGraph],
    pairs: Any,
    *,
    ablation: str = "edge",
    baseline: str | Baseline = "counterfactual",
    batch_size: int | None = None,
    seed: int = 0,
    norm_scale: str = "exact",
    direction: str = "denoise",
    complement: bool = False,
) -> Tensor:
    """Run several circuits of one partition as one batch (see `run_graph`).

    The baseline runs once per batch for all of them, and nodes that read the same in several circuits are computed
    once (`compgraph.ablation.plan`); a circuit's result does not depend on the others.

    Returns
    -------
    Tensor
        Logits [circuits, n, classes].
    """
    return _run(
        net,
        circuits,
        pairs,
        ablation=ablation,
        baseline=baseline,
        batch_size=batch_size,
        seed=seed,
        norm_scale=norm_scale,
        direction=direction,
        complement=complement,
    )


def _run(net: Network, circuits: Sequence[ComputationalGraph], pairs: Any, **settings: Any) -> Tensor:
    """Logits [circuits, n, classes]; warns the caller's caller, once, of circuits that carry nothing."""
    frame = _frame(net, circuits)
    masks = np.stack([frame.mask(circuit) for circuit in circuits])
    odd = [(number, note) for number, mask in enumerate(masks) if (note := frame.note(mask))]
    if odd:
        number, note = odd[0]
        which = f"circuit {number} ({len(odd)} of {len(masks)} such)" if len(masks) > 1 else "the circuit"
        warnings.warn(f"{which}: {note}", stacklevel=3)
    return torch.cat([logits.cpu() for _, logits in run_masks(net, frame, masks, pairs, **settings)], 1)


def run_masks(
    net: Network,
    frame: CircuitMasks,
    masks: np.ndarray,
    pairs: Any,
    *,
    ablation: str = "edge",
    baseline: str | Baseline = "counterfactual",
    batch_size: int | None = None,
    seed: int = 0,
    norm_scale: str = "exact",
    direction: str = "denoise",
    complement: bool = False,
) -> Iterator[tuple[Batch, Tensor]]:
    """Run circuits given as masks, a batch at a time, so that outputs need not be kept (see `run_graph`).

    Parameters
    ----------
    frame
        The architectural graph whose edges the masks select.
    masks
        bool [circuits, edges].

    Yields
    ------
    (batch, logits [circuits, batch, classes])
    """
    if ablation not in ABLATIONS:
        raise GraphError(f"ablation {ablation!r} is not known; valid are {', '.join(ABLATIONS)}")
    if direction not in DIRECTIONS:
        raise GraphError(f"direction {direction!r} is not known; valid are {', '.join(DIRECTIONS)}")
    if ablation == "node" and norm_scale != "exact":
        raise GraphError(f"norm_scale {norm_scale!r} is for edge ablation; under node ablation it must be 'exact'")
    made = make_baseline(baseline, net, pairs, seed=seed, partition=frame.partition)
    other = complement != (direction == "noise")
    if ablation == "node":
        keep = [frame.nodes(frame.complement(mask, "node") if other else mask) for mask in masks]
        yield from _node_runs(net, frame.refined, keep, pairs, made, batch_size)
        return
    masks = ~masks if other else masks
    for batch, run in prepared_runs(net, frame, masks, pairs, made, batch_size=batch_size, norm_scale=norm_scale):
        yield batch, run()


def ablate_nodes(
    net: Network,
    partition: Partition,
    keep: Sequence[np.ndarray],
    pairs: Any,
    *,
    baseline: str | Baseline = "counterfactual",
    batch_size: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Ordinary forward passes in which the nodes that are not kept hold their baseline value.

    Parameters
    ----------
    keep
        One bool [n_nodes] per run, in the order of the partition's nodes. Output nodes (`logits`) cannot be
        ablated and count as kept.

    Returns
    -------
    Tensor
        Logits [runs, n, classes] at the scored positions.
    """
    partition.check_causal(net)
    made = make_baseline(baseline, net, pairs, seed=seed, partition=partition)
    runs = _node_runs(net, partition, keep, pairs, made, batch_size)
    return torch.cat([logits.cpu() for _, logits in runs], 1)


def _node_runs(
    net: Network,
    partition: Partition,
    keep: Sequence[np.ndarray],
    pairs: Any,
    baseline: Baseline,
    batch_size: int | None,
) -> Iterator[tuple[Batch, Tensor]]:
    same_for_all = np.stack(list(keep))[:, None]
    return node_runs(net, partition, lambda rows: same_for_all, pairs, baseline=baseline, batch_size=batch_size)


def _frame(net: Network, circuits: Sequence[ComputationalGraph]) -> CircuitMasks:
    if not circuits:
        raise GraphError("circuits is empty; at least one circuit is needed")
    for circuit in circuits[1:]:
        check_model(net, circuit)
    return masks_for(net, circuits[0])
