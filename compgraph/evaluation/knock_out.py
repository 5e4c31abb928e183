"""Knocking a circuit in and out: faithfulness of the circuit, completeness of what is left without it.

Where parts of a network stand in for each other, the circuit does the whole work and so does the network without it;
where both are needed, neither does any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.ablation.baselines import Baseline
from compgraph.ablation.circuits import masks_for
from compgraph.errors import GraphError
from compgraph.evaluation.curve import SAME
from compgraph.evaluation.intervals import LEVEL, resamples
from compgraph.evaluation.scores import Scores, circuit_scores, normalised
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("faithfulness", "completeness", "overlap")


def knock_in_out(
    net: Network,
    circuits: Sequence[ComputationalGraph],
    pairs: Any,
    *,
    metrics: Sequence[str] = ("logit_difference",),
    ablation: str = "edge",
    baseline: str | Baseline = "counterfactual",
    n_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """Faithfulness, completeness and their overlap.

    Parameters
    ----------
    circuits
        Of one partition of the network.
    ablation
        Under `node` the complement keeps inputs and outputs (`CircuitMasks.complement`).

    Returns
    -------
    DataFrame
        One row per circuit and metric: `circuit` (number), `n_edges`, `metric`, `value`, `complement` (means of the
        metric), `model`, `empty`; `faithfulness` f and `completeness` c of the complement (0 for a complete circuit);
        `overlap` = f + c - 1: above 0 what circuit and complement can both do (back-up parts), below 0 what takes the
        two together; each with `_low` and `_high`, 95 % bootstrap intervals over examples; `reason` (why numbers are
        missing, else "").

    Raises
    ------
    GraphError, DataError
        No circuits, or circuits of another network or partition; a metric or baseline the data cannot serve.
    """
    import pandas as pd

    if not circuits:
        raise GraphError("circuits is empty; at least one circuit is needed")
    frame = masks_for(net, circuits[0])
    masks = np.stack([frame.mask(circuit) for circuit in circuits])
    left = np.stack([frame.complement(mask, ablation) for mask in masks])
    everything = np.concatenate([np.zeros((1, frame.n_edges), bool), masks, left])
    scores = circuit_scores(
        net, frame, everything, pairs, metrics, ablation=ablation, baseline=baseline, batch_size=batch_size, seed=seed
    )
    weights = resamples(pairs.n, n_bootstrap, seed)
    rows = []
    for k, mask in enumerate(masks):
        for m, metric in enumerate(metrics):
            about = {"circuit": k, "n_edges": int(mask.sum()), "metric": metric}
            rows.append(about | _row(scores[[0, 1, 2 + k, 2 + len(masks) + k], m], weights))
    return pd.DataFrame(rows)


def _row(scores: Scores, weights: Scores) -> dict[str, Any]:
    """From the examples' scores of model, empty graph, circuit and complement, [4, n]."""
    model, empty, value, complement = scores.mean(1)
    row: dict[str, Any] = {"value": value, "complement": complement, "model": model, "empty": empty}
    columns = [column for name in NUMBERS for column in (name, f"{name}_low", f"{name}_high")]
    row |= dict.fromkeys(columns, np.nan) | {"reason": ""}
    shares = normalised(np.array([value, complement]), model, empty)
    if shares is None:
        return row | {"reason": SAME}
    m, e, c, r = (weights @ scores.T).T
    with np.errstate(divide="ignore", invalid="ignore"):
        f, g = (c - e) / (m - e), (r - e) / (m - e)
    found = (shares[0], f), (shares[1], g), (shares.sum() - 1, f + g - 1)
    for name, (number, resampled) in zip(NUMBERS, found, strict=True):
        low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        row |= {name: float(number), f"{name}_low": float(low), f"{name}_high": float(high)}
    return row
