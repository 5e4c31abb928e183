"""Confusion of classes: what examples of each class are taken for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from compgraph.errors import DataError
from compgraph.evaluation.curve import SIZES

if TYPE_CHECKING:
    import pandas as pd

METRIC = "confusion"
"""What rows of confusion have in the column `metric` of an evaluation table."""
REASON = "a share of predictions is compared with the model's, not divided by it"


def confusion_of(
    circuits: pd.DataFrame, predicted: ArrayLike, answers: ArrayLike, classes: Sequence[str] | None = None
) -> pd.DataFrame:
    """What circuits take the examples of each class for, in rows that an evaluation table can hold.

    Parameters
    ----------
    circuits
        `PlannedCircuits.table`.
    predicted
        Numbers of the predicted classes [1 + runs, examples]: row 0 is the model, row 1 the empty graph, and so on as
        planned.
    answers, classes
        As for `confusion_table`.

    Returns
    -------
    DataFrame
        One row per size, true and predicted class: those columns of `FaithfulnessCurve.table` that say which circuit it
        is, `task` (`all`), `metric` (`METRIC`), `true`, `predicted`, `n` (examples of the true class), and the shares
        of these that are taken for the predicted class by circuit (`value`), `model` and `empty` graph. What none of
        the three does has no row.

    Raises
    ------
    DataError
        As `confusion_table`.
    """
    import pandas as pd

    def share(run: int) -> pd.DataFrame:
        return confusion_table(np.asarray(predicted)[run], answers, classes)

    model, empty = share(0), share(1)
    of = model.groupby("true", sort=False)["n"].transform("sum")
    frames = []
    for _, own in circuits[circuits["role"] == "circuit"].drop_duplicates(["size", "fraction"]).iterrows():
        circuit = share(1 + int(own["run"]))
        about = {"task": "all", "metric": METRIC, **own[["size", "fraction", *SIZES]], "note": own["note"]}
        shares = {"value": circuit["share"], "model": model["share"], "empty": empty["share"]}
        rows = model[["true", "predicted"]].assign(n=of, **shares, **about, reason=REASON)
        frames.append(rows[(rows[list(shares)] > 0).any(axis=1)])
    return pd.concat(frames, ignore_index=True)


def confusion_table(
    predicted: ArrayLike | Any, answers: ArrayLike, classes: Sequence[str] | None = None
) -> pd.DataFrame:
    """How often each class is taken for each other.

    Parameters
    ----------
    predicted
        Logits [n, classes] (array or tensor), or numbers of the predicted classes [n].
    answers
        Numbers of the right classes, [n] or [n, 1] (`pairs.answers`).
    classes
        Names of the classes (`ImagePairs.classes`), by default their numbers.

    Returns
    -------
    DataFrame
        One row per pair of classes: true, predicted, n, share (of the examples of the true class; NaN where there are
        none).

    Raises
    ------
    DataError
        Another number of predictions than answers, several answers per example, or a class without a name.
    """
    import pandas as pd

    found = np.asarray(predicted.detach().cpu() if hasattr(predicted, "detach") else predicted)
    right = np.asarray(answers)
    right = right[:, 0] if right.ndim == 2 and right.shape[1] == 1 else right
    width = found.shape[1] if found.ndim == 2 else 0
    found = found.argmax(1) if found.ndim == 2 else found
    if right.ndim != 1 or right.shape != found.shape:
        raise DataError(
            f"confusion: predictions of shape {list(found.shape)} for answers of shape {list(np.shape(answers))}; "
            "one prediction and one answer per example are needed"
        )
    n_seen = max(width, int(found.max(initial=-1)) + 1, int(right.max(initial=-1)) + 1)
    names = [str(k) for k in range(n_seen)] if classes is None else [str(name) for name in classes]
    if n_seen > len(names) or min(found.min(initial=0), right.min(initial=0)) < 0:
        raise DataError(f"confusion: classes must be numbers from 0 to {len(names) - 1}, one for each of the names")
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (right, found), 1)
    of = counts.sum(1, keepdims=True)
    share = np.divide(counts, of, out=np.full(counts.shape, np.nan), where=of > 0)
    return pd.DataFrame(
        {
            "true": np.repeat(np.array(names, object), len(names)),
            "predicted": np.tile(np.array(names, object), len(names)),
            "n": counts.ravel(),
            "share": share.ravel(),
        }
    )
