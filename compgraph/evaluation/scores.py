"""Scores of many circuits, example by example, and ranks among random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from compgraph.ablation.baselines import Baseline, make_baseline
from compgraph.ablation.circuits import CircuitMasks
from compgraph.ablation.run import run_masks
from compgraph.data.fit import check_metric
from compgraph.errors import DataError
from compgraph.metrics import get_metric
from compgraph.models.network import Network

Scores = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]

MEMORY = 2**28
"""Bytes that the logits of the circuits of one pass may take."""
EXAMPLES = 16
"""Examples a batch, where all logits of all examples would not fit and no other number is given."""
TIE = 1e-12
"""Numbers closer than this share of the largest among them are equal."""


def circuit_scores(
    net: Network,
    frame: CircuitMasks,
    masks: Masks,
    pairs: Any,
    metrics: Sequence[str],
    *,
    ablation: str = "edge",
    baseline: str | Baseline = "counterfactual",
    batch_size: int | None = None,
    seed: int = 0,
    norm_scale: str = "exact",
) -> Scores:
    """Metrics of every example under every circuit.

    The circuits share the run of the baseline. Where their logits would not fit into `MEMORY` they are run in several
    passes over the data; the result does not depend on it.

    Parameters
    ----------
    frame, masks
        Circuits as bool [circuits, edges] (`compgraph.ablation.circuits.masks_for`).
    metrics
        Names; see `compgraph.metrics`.
    ablation, baseline, batch_size, seed, norm_scale
        As for `compgraph.run_graph`.

    Returns
    -------
    ndarray
        float64 [1 + circuits, metrics, examples]; row 0 is the model.

    Raises
    ------
    DataError
        A metric or baseline the data cannot serve, or a metric that is not finite.
    """
    for name in metrics:
        check_metric(net, pairs, name)
    measures = [get_metric(name) for name in metrics]
    made = make_baseline(baseline, net, pairs, seed=seed, partition=frame.partition)
    values = np.empty((1 + len(masks), len(metrics), pairs.n))
    whole = net.architecture.site("logits").n_units * torch.finfo(net.dtype).bits // 8 * pairs.n
    size = batch_size if batch_size or len(masks) * whole <= MEMORY else EXAMPLES
    step = len(masks) if size is None else max(1, MEMORY * pairs.n // (whole * min(size, pairs.n)))
    for start in range(0, len(masks), step):
        some = masks[start : start + step]
        settings: dict[str, Any] = {"ablation": ablation, "baseline": made, "norm_scale": norm_scale}
        runs = run_masks(net, frame, some, pairs, batch_size=size, **settings)
        for batch, logits in runs:
            with torch.no_grad():
                model = net.run(batch.clean, batch.mask, positions=batch.positions).logits
            targets = replace(batch.targets, reference=model)
            for m, measure in enumerate(measures):
                values[0, m, batch.rows] = measure(model, targets).double().cpu().numpy()
                for k, one in enumerate(logits):
                    values[1 + start + k, m, batch.rows] = measure(one, targets).double().cpu().numpy()
    if not np.isfinite(values).all():
        run, m, row = np.argwhere(~np.isfinite(values))[0]
        what = "the model" if run == 0 else f"circuit {run - 1}"
        raise DataError(f"example {pairs.ids[row]!r}: {metrics[m]} of {what} is not finite")
    return values


def rank_p(observed: float, null: Scores, *, lower: bool = False) -> float:
    """(1 + number of null values at least as extreme) / (1 + number of null values); ties count against.

    Parameters
    ----------
    lower
        Whether small values are extreme.
    """
    scale = max(abs(observed), float(np.abs(null).max(initial=0)))
    ahead = observed - null if lower else null - observed
    return float((1 + (ahead >= -TIE * scale).sum()) / (1 + len(null)))


def normalised(circuit: Scores, model: float, empty: float) -> Scores | None:
    """(circuit - empty) / (model - empty), of means; None where model and empty do not differ."""
    if abs(model - empty) <= 1e-6 * max(abs(model), abs(empty), 1e-6):
        return None
    shares: Scores = (circuit - empty) / (model - empty)
    return shares
