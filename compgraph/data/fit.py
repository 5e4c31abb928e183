"""Whether data and metrics fit a network, told before any pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from compgraph.data.batches import batch_of
from compgraph.errors import DataError
from compgraph.metrics import describe, get_metric
from compgraph.models.network import Network
from compgraph.models.transformer import Transformer


def check_data(net: Network, pairs: Any) -> None:
    """Refuse data that a network cannot read.

    Raises
    ------
    DataError
        Data of another kind than the network's inputs, or pairs of another shape than their counterfactuals; ids that
        the network does not have; prompts longer than it can read.
    """
    _check_inputs(net, pairs)
    _check_ids(net, pairs)


def check_metric(net: Network, pairs: Any, name: str, *, differentiable: bool = False) -> None:
    """Refuse a metric that does not fit the data, by trying it on the logits of no information, which costs nothing.

    Raises
    ------
    DataError
        An unknown metric, one without a gradient where it is needed, one without what it compares with, or one that
        does not give a number an example.
    """
    metric = get_metric(name, differentiable=differentiable)
    batch = batch_of(net, pairs, np.arange(min(2, pairs.n)))
    logits = torch.zeros(len(batch), net.architecture.site("logits").n_units, dtype=net.dtype, device=net.device)
    targets = replace(batch.targets, reference=logits) if describe(name).needs_reference else batch.targets
    with torch.no_grad():
        value = metric(logits, targets)
    shape = list(getattr(value, "shape", ()))
    if shape != [len(batch)]:
        raise DataError(f"metric {name!r} gives {shape} for {len(batch)} examples; one number an example is needed")


def _check_inputs(net: Network, pairs: Any) -> None:
    tokens = pairs.clean.ndim == 2 and np.issubdtype(pairs.clean.dtype, np.integer)
    if tokens != (net.kind == "transformer"):
        wanted = "token ids [n, t]" if net.kind == "transformer" else "images"
        raise DataError(f"a {net.kind} network reads {wanted}; the data are {pairs.clean.dtype} {pairs.clean.shape}")
    corrupted = getattr(pairs, "corrupted", None)
    if corrupted is not None and corrupted.shape != pairs.clean.shape:
        raise DataError(
            f"corrupted has shape {list(corrupted.shape)} and clean {list(pairs.clean.shape)}; a counterfactual must "
            "be as long as its clean input"
        )
    if isinstance(net, Transformer) and net.weights.positions is not None:
        lengths = np.full(pairs.n, pairs.clean.shape[1]) if pairs.mask is None else pairs.mask.sum(1)
        longest, known = int(lengths.argmax()), len(net.weights.positions)
        if lengths[longest] > known:
            raise DataError(
                f"example {str(pairs.ids[longest])!r} has {int(lengths[longest])} tokens; this network reads at most "
                f"{known}"
            )


def _check_ids(net: Network, pairs: Any) -> None:
    known = net.architecture.site("logits").n_units
    names = ("clean", "corrupted") if net.kind == "transformer" else ()
    for name in (*names, "answers", "distractors"):
        values = getattr(pairs, name, None)
        if values is None:
            continue
        low = 0 if name in names else -1  # answers are padded with -1
        strange = ((values >= known) | (values < low)).any(axis=1)
        if strange.any():
            row = int(strange.argmax())
            value = next(int(v) for v in values[row] if not low <= v < known)
            raise DataError(
                f"example {str(pairs.ids[row])!r}: {name} holds {value}; this network's ids are 0 to {known - 1}"
            )
