"""Independent and non-negative components as dictionaries, by scikit-learn on a sample of the rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from compgraph.dictionaries.dictionary import Dictionary
from compgraph.dictionaries.rows import SiteRows
from compgraph.errors import DataError

SAMPLE = 100_000
"""Rows that are held in memory at most, drawn at random."""
MOST_NEGATIVE = 0.05
"""Share of the squared length that values below zero may have, for non-negative components."""
Floats = npt.NDArray[np.float64]


def ica(rows: SiteRows, n_components: int | None = None, *, max_iter: int = 200, seed: int = 0) -> Dictionary:
    """Independent components (Hyvärinen and Oja 2000, FastICA).

    Parameters
    ----------
    rows
        What it describes; at most `SAMPLE` of them are used, drawn at random.
    n_components
        How many; None: the width.
    max_iter
        Most iterations; an error where they do not suffice.
    seed
        Of the sample and the start.

    Returns
    -------
    Dictionary
        Linear: features have variance 1, rows of the decoder fall in length, and the largest coordinate of each is
        positive. Its bias is the mean.

    Raises
    ------
    DataError
        Fewer rows than components, more components than the width, data of a lower rank, no convergence.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    values, n = _sample(rows, n_components, seed, "ica")
    rank = int(np.linalg.matrix_rank(np.cov(values.T)))
    if rank < n:
        raise DataError(f"ica of {rows.site}: the data have rank {rank}; ask for no more components than that")
    model = FastICA(n, whiten="unit-variance", max_iter=max_iter, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(values)
        except ConvergenceWarning:
            raise DataError(
                f"ica of {rows.site}: no convergence in {max_iter} iterations; raise max_iter, or ask for fewer "
                "components"
            ) from None
    mixing, unmixing, mean = model.mixing_.T, model.components_, model.mean_
    order = np.argsort(-np.linalg.norm(mixing, axis=1), kind="stable")
    mixing, unmixing = mixing[order], unmixing[order]
    sign = np.sign(np.take_along_axis(mixing, np.abs(mixing).argmax(1)[:, None], 1))
    mixing, unmixing = mixing * sign, unmixing * sign
    return _dictionary(rows, unmixing.T, mixing, -unmixing @ mean, mean, "linear", "ica")


def nmf(rows: SiteRows, n_components: int | None = None, *, max_iter: int = 500, seed: int = 0) -> Dictionary:
    """Non-negative factors (Lee and Seung 1999), with an encoder that estimates them.

    The factors' own encoder solves a problem for every row. In its place stands the linear map with a ReLU that
    estimates their codes best over the sample (least squares), so that the features have derivatives.

    Parameters
    ----------
    rows, n_components, seed
        As for `ica`.
    max_iter
        Most iterations. They end before where the loss stands still.

    Returns
    -------
    Dictionary
        ReLU features, without a decoder's bias; rows of the decoder have length 1 and no negative coordinate, by
        falling mean feature.

    Raises
    ------
    DataError
        As `ica`, and where values below zero hold more than `MOST_NEGATIVE` of the squared length (write spaces and
        attention mostly do); fewer are read as zero.
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    values, n = _sample(rows, n_components, seed, "nmf")
    total = float(np.square(values).sum())
    below = float(np.square(np.minimum(values, 0)).sum()) / total if total else 0.0
    if not total or below > MOST_NEGATIVE:
        raise DataError(
            f"nmf of {rows.site}: values below zero hold {below:.0%} of the squared length, and at most "
            f"{MOST_NEGATIVE:.0%} can be left out; it serves units that are mostly positive, such as MLP neurons in "
            "space 'hidden'"
        )
    positive = np.maximum(values, 0)
    model = NMF(n, init="nndsvda", max_iter=max_iter, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an approximate optimum reconstructs as well
        codes = model.fit_transform(positive)
    length = np.linalg.norm(model.components_, axis=1)
    length = np.where(length > 0, length, 1.0)
    codes, factors = codes * length, model.components_ / length[:, None]
    order = np.argsort(-codes.mean(0), kind="stable")
    codes, factors = codes[:, order], factors[order]
    with_one = np.concatenate([values, np.ones((len(values), 1))], 1)
    solved = np.linalg.lstsq(with_one, codes, rcond=None)[0]
    return _dictionary(rows, solved[:-1], factors, solved[-1], None, "relu", "nmf")


def _sample(rows: SiteRows, n_components: int | None, seed: int, method: str) -> tuple[Floats, int]:
    n = n_components or rows.width
    if not 1 <= n <= rows.width:
        raise DataError(f"{method} of {rows.site}: n_components is {n}; it must be from 1 to its width {rows.width}")
    values = rows.sample(SAMPLE, seed)
    if len(values) <= n:
        raise DataError(f"{method} of {rows.site}: {len(values)} rows for {n} components; it needs more rows than that")
    return values, n


def _dictionary(
    rows: SiteRows, encoder: Floats, decoder: Floats, offset: Floats, bias: Floats | None, activation: str, kind: str
) -> Dictionary:
    net = rows.net

    def tensor(values: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(net.dtype).to(net.device)

    return Dictionary(
        rows.space,
        tensor(encoder),
        tensor(decoder),
        tensor(offset),
        None if bias is None else tensor(bias),
        activation,
        kind=kind,
        site=rows.site,
        model=net.digest or None,
    )
