"""Confusion of classes: what examples of each class are taken for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from compgraph.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


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
