"""Tables of a block model: its runs, its rivals, its blocks, and the parts of its description."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.communities.agreement import Labels, adjusted_rand
from compgraph.communities.blocks.choose import Found
from compgraph.communities.blocks.problem import Problem
from compgraph.communities.sbm_weights import Evidence

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS = ("run", "n_blocks", "description_length", "nested", "degree_corrected", "start", "overlap")
MODEL_COLUMNS = (
    "model",
    "weighted",
    "degree_corrected",
    "n_blocks",
    "description_length",
    "log_odds",
    "comparable",
    "reason",
)
TINY = 1e-12
"""Expected edges below this are none."""

PART_COLUMNS = ("part", "nats", "nats_per_edge")


def runs_table(found: Found) -> pd.DataFrame:
    """One row a run."""
    import pandas as pd

    rows = [
        (
            run,
            fit.n_blocks,
            fit.length,
            fit.nested,
            fit.degree_corrected,
            fit.start,
            adjusted_rand(fit.levels[0], found.best.levels[0]),
        )
        for run, fit in enumerate(found.runs)
    ]
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def models_table(found: Found) -> pd.DataFrame:
    """The shortest fit of each model, and the log odds of the result against it."""
    import pandas as pd

    rows = []
    for rival in found.rivals:
        if rival.fit is None:
            rows.append((rival.model, rival.weighted, False, 0, math.nan, math.nan, False, rival.reason))
        else:
            fit, odds = rival.fit, rival.fit.length - found.best.length
            told = (rival.weighted, fit.degree_corrected, fit.n_blocks, fit.length, odds)
            rows.append((rival.model, *told, True, rival.reason))
    return pd.DataFrame(rows, columns=list(MODEL_COLUMNS))


def parts_table(found: Found, n_pairs: int) -> pd.DataFrame:
    """The description length by what is told."""
    import pandas as pd

    rows = [(name, nats, nats / n_pairs if n_pairs else math.nan) for name, nats in found.parts.items()]
    return pd.DataFrame(rows, columns=list(PART_COLUMNS))


def memberships_table(found: Found, problem: Problem) -> pd.DataFrame:
    """One row a node and a block that some of its edges are in; empty where blocks do not overlap."""
    import pandas as pd

    shares = np.zeros((0, 0)) if found.memberships is None else found.memberships
    node, block = np.nonzero(shares)
    names = [problem.names[k] for k in problem.nodes[node]] if len(node) else []
    return pd.DataFrame({"node": names, "block": block.astype(np.int32), "share": shares[node, block]})


def blocks_table(problem: Problem, levels: tuple[Labels, ...]) -> pd.DataFrame:
    """Means over the used pairs of nodes between every two blocks, in every layer, at every level."""
    import pandas as pd

    tables = [
        pd.DataFrame({"level": np.int32(level), "layer": name, **_cells(problem, seen, labels)})
        for level, labels in enumerate(levels)
        for name, seen in problem.layers
    ]
    return pd.concat(tables, ignore_index=True)


def _cells(problem: Problem, seen: Evidence, labels: Labels) -> dict[str, Any]:
    values = {
        "weight": seen.pairs.weight[seen.used],
        "magnitude": seen.pairs.magnitude[seen.used],
        "value": seen.value,
    }
    width = int(labels.max(initial=0)) + 1
    first, second = labels[seen.source].astype(np.int64), labels[seen.target]
    if not seen.pairs.directed:
        first, second = np.minimum(first, second), np.maximum(first, second)
    cells = first * width + second
    pairs = np.bincount(cells, minlength=width * width)
    used = np.flatnonzero(pairs)
    columns: dict[str, Any] = {
        "source": (used // width).astype(np.int32),
        "target": (used % width).astype(np.int32),
        "pairs": pairs[used],
    }
    for name, value in values.items():
        sums = None if value is None else np.bincount(cells, value, minlength=width * width)[used]
        columns[name] = np.full(len(used), np.nan) if sums is None else sums / pairs[used]
    if seen.masked and len(used):
        edges, expected = problem.masked.counts(labels[problem.nodes])
        columns["value"] = (edges / np.maximum(expected, TINY)).ravel()[used]
    return columns
