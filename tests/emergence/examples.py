"""Checkpoints of an invented training: two groups of heads appear at step 100, the skill with them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from compgraph.emergence.snapshots import CommunityFit, Snapshot
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import layered, transformer

STEPS = (0, 10, 20, 50, 100, 200, 500, 1000)
FRACTIONS = (0.05, 0.1, 0.2, 0.5)


def graph(step: int, seed: int = 0) -> ComputationalGraph:
    """Groups from step 100 on; before that every checkpoint is drawn anew."""
    return layered(transformer(), seed if step >= 100 else seed + 1 + step, ratio=6.0 if step >= 100 else 1.0)[0]


def curve(step: int, slope: float = 1.0) -> pd.DataFrame:
    """A table of faithfulness with the columns that are read."""
    late = step >= 100
    rows = [
        {
            "task": "all", "metric": metric, "fraction": fraction, "model": (0.95 if late else 0.1) + step * 1e-6,
            "faithfulness": min(1.0, slope * fraction**0.5) if late else 0.0, "low": 0.0, "high": 1.0, "reason": "",
        }
        for metric in ("logit_difference", "accuracy", "kl")
        for fraction in FRACTIONS
    ]  # fmt: skip
    return pd.DataFrame(rows)


def snapshot(step: int, seed: int = 0, slope: float = 1.0) -> Snapshot:
    """Graph, curve and communities of one checkpoint."""
    made = graph(step, seed)
    rng = np.random.default_rng(step)
    labels = np.arange(made.n_nodes) % 2 if step >= 100 else rng.integers(0, 2, made.n_nodes)
    fit = CommunityFit(2, 0.3, 0.2, 0.1, 0.25, dict(zip(made.node_names, labels.tolist(), strict=True)))
    return Snapshot(
        step,
        graphs={"effective.heads": made},
        curves={"edges@effective.heads": curve(step, slope)},
        communities={"l@effective.heads": fit},
    )


def trajectory() -> list[Snapshot]:
    """All of them."""
    return [snapshot(step) for step in STEPS]
