"""What is written beside a partition into regions: evidence that they are real, in tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compgraph.connectivity.functional.recordings import Recording
from compgraph.partition import Partition
from compgraph.rois.describe import describe_rois, unit_pairs
from compgraph.rois.overlap import overlap_with_heads
from compgraph.rois.responses import roi_responses
from compgraph.rois.stability import RoiStability
from compgraph.tables import write_table


def write_evidence(
    folder: Path,
    partition: Partition,
    recordings: Sequence[Recording],
    stability: RoiStability | None,
    *,
    n_permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Write the tables of a partition into its folder.

    Parameters
    ----------
    folder
        Of the partition (`Partition.save`).
    partition
        Regions.
    recordings
        What they were found in; the first with items of several classes, else the first, says how they respond.
    stability
        Of `roi_stability`, if it was run.
    n_permutations, seed
        Of the nulls.

    Returns
    -------
    dict
        Numbers for a manifest: `selective` (regions with an adjusted p of at most 0.05), `stability` (mean adjusted
        Rand index by kind), `heads` (adjusted mutual information by site), as far as they are known.
    """
    summary: dict[str, Any] = {}
    recording = next((one for one in recordings if _classes(one) > 1), recordings[0])
    responses = roi_responses(partition, recording)
    repeats = () if stability is None else stability.repeats
    table = describe_rois(
        partition, recording, responses=responses, repeats=repeats, n_permutations=n_permutations, seed=seed
    )
    write_table(table, folder / "rois.parquet")
    write_table(responses.to_table(), folder / "responses.parquet")
    write_table(unit_pairs(partition, recording, table), folder / "units.parquet")
    if "p_adjusted" in table and n_permutations:
        summary["selective"] = int((table["p_adjusted"] <= 0.05).sum())
    if stability is not None:
        write_table(stability.table, folder / "stability.parquet")
        summary["stability"] = {kind: float(ari.mean()) for kind, ari in stability.table.groupby("kind")["ari"]}
    heads = overlap_with_heads(partition, recording.architecture, n_random=n_permutations, seed=seed)
    write_table(heads, folder / "heads.parquet")
    if len(heads):
        summary["heads"] = dict(zip(heads["site"], heads["ami"].tolist(), strict=True))
    return summary


def _classes(recording: Recording) -> int:
    items = recording.items
    return len(np.unique(items["task"].astype(str))) if "task" in items else 0
