"""One table of what changes over the checkpoints of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.emergence.alignment import NONE, align_blocks
from compgraph.emergence.births import node_births
from compgraph.emergence.changes import find_changes
from compgraph.emergence.lags import Curve, lag_table
from compgraph.emergence.quantities import NUMBERS, OF_ONE, OF_TWO, Row, Settings, row
from compgraph.emergence.snapshots import Snapshot
from compgraph.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("step", "quantity", "series", *NUMBERS, "reason")
SEPARATOR = " | "
"""Between quantity and series in the tables of changes and lags."""


@dataclass(frozen=True)
class Tracking:
    """What changes over the checkpoints of one training.

    Attributes
    ----------
    table
        One row a checkpoint, quantity and series: step, quantity, series, value, low, high (95 % interval), null_mean,
        null_low, null_high (what chance gives, central 95 %), reason (why a number is missing, else ""). A quantity
        that nothing was given for has one row a checkpoint, with its reason.
    nodes
        Births and deaths of nodes (`node_births`), with the column `graph`.
    flows
        Blocks over time: series, step_a, step_b, block_a, block_b, n.
    blocks
        Which block each node is in: series, step, node, block.
    alignment
        How alike neighbouring partitions are (`AlignedBlocks.steps`), with series, step_a and step_b.
    changes
        Changes of level (`find_changes`) of every curve.
    lags
        `lag_table`: every curve behind the skill.
    left_out
        Sentences on what nothing was given for.
    """

    table: pd.DataFrame
    nodes: pd.DataFrame
    flows: pd.DataFrame
    blocks: pd.DataFrame
    alignment: pd.DataFrame
    changes: pd.DataFrame
    lags: pd.DataFrame
    left_out: tuple[str, ...]

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        return {name: value for name, value in vars(self).items() if name != "left_out"}


def track(
    snapshots: Sequence[Snapshot],
    *,
    share: float = 0.1,
    measures: Sequence[str] = ("modularity",),
    skill: str = "accuracy",
    n_nulls: int = 99,
    n_surrogates: int = 999,
    seed: int = 0,
) -> Tracking:
    """Follow a network over its checkpoints.

    Parameters
    ----------
    snapshots
        In order of training, at least two. A series that one of them has, all must have.
    share
        Share of the edges in the circuits of fixed size, in (0, 1].
    measures
        Network statistics to follow, of the tables that are given.
    skill
        The quantity that lags are measured against: a metric of the curves, over all tasks.
    n_nulls
        Null graphs and relabellings behind each band.
    n_surrogates
        Surrogate curves of the test for changes.
    seed
        Of all of them.

    Raises
    ------
    DataError
        Fewer than two snapshots, steps that do not rise, or a series that is missing at some of them (all named).
    """
    import pandas as pd

    if not 0 < share <= 1:
        raise DataError(f"share is {share}; it must be above 0 and at most 1")
    _complete(snapshots)
    settings = Settings(share, measures, n_nulls, seed)
    rows: list[Row] = []
    left_out: list[str] = []
    for what, (measure, section, field) in OF_ONE.items():
        found = [{"step": now.step, **one} for now in snapshots for one in measure(now, settings)]
        rows += found or _nothing(snapshots, what, section, field, left_out)
    for what, (between, section, field) in OF_TWO.items():
        pairs = pairwise(snapshots)
        found = [{"step": now.step, **one} for before, now in pairs for one in between(before, now, settings)]
        rows += found or _nothing(snapshots, what, section, field, left_out)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    blocks, flows, alignment = _aligned(snapshots, seed)
    return Tracking(
        table=table,
        nodes=_births(snapshots, share),
        flows=flows,
        blocks=blocks,
        alignment=alignment,
        changes=_changes(table, n_surrogates, seed),
        lags=_lags(table, skill, seed),
        left_out=tuple(left_out),
    )


def _complete(snapshots: Sequence[Snapshot]) -> None:
    steps = [one.step for one in snapshots]
    if len(steps) < 2 or any(b <= a for a, b in pairwise(steps)):
        raise DataError(f"at least two checkpoints in order of training are needed; the steps are {steps}")
    missing = []
    for field in ("graphs", "curves", "blocks", "communities", "statistics", "regions", "separability"):
        for name in dict.fromkeys(name for one in snapshots for name in getattr(one, field)):
            lacking = [str(one.step) for one in snapshots if name not in getattr(one, field)]
            if lacking:
                missing.append(f"{field} '{name}' at step{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}")
    if missing:
        raise DataError(f"the trajectory has gaps: {'; '.join(missing)}")


def _nothing(snapshots: Sequence[Snapshot], what: str, section: str, field: str, left_out: list[str]) -> list[Row]:
    given = any(getattr(one, field) for one in snapshots)
    why = f"{what}: nothing to follow" if given else f"{what}: no entry of {section} is made at these checkpoints"
    left_out.append(why)
    return [{"step": now.step, **row(what.replace(" ", "_"), "", math.nan, why)} for now in snapshots]


def _births(snapshots: Sequence[Snapshot], share: float) -> pd.DataFrame:
    import pandas as pd

    steps = [one.step for one in snapshots]
    tables = [
        node_births(steps, [one.graphs[name] for one in snapshots], share).assign(graph=name)
        for name in snapshots[0].graphs
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["node", "site", "graph"])


def _aligned(snapshots: Sequence[Snapshot], seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    steps = np.array([one.step for one in snapshots])
    labels: dict[str, list[Mapping[str, int]]] = {}
    for one in snapshots:
        for name, fit in one.blocks.items():
            labels.setdefault(name, []).append(dict(zip(fit.names, fit.labels.tolist(), strict=True)))
        for name, found in one.communities.items():
            labels.setdefault(name, []).append(found.labels)
    blocks: list[pd.DataFrame] = []
    flows: list[pd.DataFrame] = []
    alignment: list[pd.DataFrame] = []
    for name, fits in labels.items():
        nodes = list(dict.fromkeys(node for fit in fits for node in fit))
        aligned = align_blocks([[fit.get(node, NONE) for node in nodes] for fit in fits], seed=seed)
        columns = {"step": np.repeat(steps, len(nodes)), "node": nodes * len(steps), "block": aligned.labels.ravel()}
        blocks.append(pd.DataFrame(columns).assign(series=name))
        for found, into in ((aligned.flows, flows), (aligned.steps, alignment)):
            placed = found.assign(series=name, step_a=steps[found["a"]], step_b=steps[found["b"]])
            into.append(placed.drop(columns=["a", "b"]))
    empty: dict[str, list[Any]] = {"series": [], "step": []}
    return (
        pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame({**empty, "node": [], "block": []}),
        pd.concat(flows, ignore_index=True) if flows else pd.DataFrame(columns=list(FLOWS)),
        pd.concat(alignment, ignore_index=True) if alignment else pd.DataFrame(columns=["series", "step_a", "step_b"]),
    )


FLOWS = ("block_a", "block_b", "n", "series", "step_a", "step_b")


def curves_of(table: pd.DataFrame) -> dict[str, Curve]:
    """The curves of a tracking table, by `quantity | series`; rows without a value are left out, and curves of one."""
    known = table[np.isfinite(table["value"].astype(float))]
    curves = {
        f"{quantity}{SEPARATOR}{series}": (rows["step"].tolist(), rows["value"].astype(float).tolist())
        for (quantity, series), rows in known.groupby(["quantity", "series"], sort=False)
    }
    return {name: curve for name, curve in curves.items() if len(curve[0]) > 1}


def _changes(table: pd.DataFrame, n_surrogates: int, seed: int) -> pd.DataFrame:
    import pandas as pd

    tables = []
    for name, (steps, values) in curves_of(table).items():
        quantity, _, series = name.partition(SEPARATOR)
        found = find_changes(steps, values, n_surrogates=n_surrogates, seed=seed)
        found.insert(0, "quantity", quantity)
        found.insert(1, "series", series)
        tables.append(found)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["quantity", "series"])


def _lags(table: pd.DataFrame, skill: str, seed: int) -> pd.DataFrame:
    curves = curves_of(table)
    return lag_table([curves], f"{skill}{SEPARATOR}all", seed=seed)
