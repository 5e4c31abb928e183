"""Which examples a graph is made from, and which it is tested on.

A circuit chosen and tested on the same examples looks better than it is. The examples are divided by a digest of their
ids, task by task: the division does not depend on their order, on a seed, or on what else is in the data.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from compgraph.errors import DataError

Examples = Literal["held-out", "all", "chosen"]


def held_out(pairs: Any, share: float) -> npt.NDArray[np.bool_]:
    """Whether each example is held out from the making of graphs: `floor(share · n)` of every task, bool [n].

    Raises
    ------
    DataError
        A share outside of [0, 1), or a division that leaves nothing on one side.
    """
    if not 0 <= share < 1:
        raise DataError(f"held_out is {share}; it must be at least 0 and below 1")
    out = np.zeros(pairs.n, bool)
    ids, tasks = np.asarray(pairs.ids).astype(str), np.asarray(pairs.task).astype(str)
    marks = np.array([hashlib.sha256(name.encode()).hexdigest() for name in ids])
    for task in np.unique(tasks):
        members = np.flatnonzero(tasks == task)
        members = members[np.argsort(marks[members], kind="stable")]
        out[members[: int(share * len(members))]] = True
    if share and (out.all() or not out.any()):
        raise DataError(
            f"held_out is {share}: with {pairs.n} examples of {len(np.unique(tasks))} tasks nothing is left on one "
            "side; take more examples, or 0 to make and test graphs on the same ones"
        )
    return out


def contents(pairs: Any) -> list[bytes]:
    """What every example shows, whatever it is padded to and called: equal where two are the same."""
    mask = getattr(pairs, "mask", None)
    rows = pairs.clean if mask is None else (row[real] for row, real in zip(pairs.clean, mask, strict=True))
    return [np.ascontiguousarray(row).tobytes() for row in rows]


def examples_for(pairs: Any, share: float, which: Examples) -> Any:
    """The examples that are held out, those that are not (`chosen`), or all."""
    if which == "all" or not share:
        return pairs
    rows = held_out(pairs, share)
    return pairs.subset(np.flatnonzero(rows if which == "held-out" else ~rows))
