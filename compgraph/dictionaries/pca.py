"""Principal components as a dictionary: features are the coordinates along them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from compgraph.dictionaries.dictionary import Dictionary
from compgraph.dictionaries.rows import SiteRows
from compgraph.errors import DataError
from compgraph.models.transformer import Transformer


class Covariance:
    """Mean and covariance of rows that come in blocks, in float64 (Chan, Golub and LeVeque 1979, pairwise update)."""

    def __init__(self, width: int) -> None:
        self.count, self.mean, self.scatter = 0, np.zeros(width), np.zeros((width, width))

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Add rows [n, width]."""
        block = rows.astype(np.float64)
        if not len(block):
            return
        mean = block.mean(0)
        block -= mean
        off, total = mean - self.mean, self.count + len(block)
        self.scatter += block.T @ block + np.outer(off, off) * (self.count * len(block) / total)
        self.mean += off * (len(block) / total)
        self.count = total


def pca(
    data: Any,
    net: Transformer,
    site: str,
    space: str = "hidden",
    *,
    n_components: int | None = None,
    centred: bool = True,
    keep: npt.NDArray[np.bool_] | None = None,
) -> Dictionary:
    """Principal components of a site.

    Parameters
    ----------
    data
        Array [rows, units] of the site's own units (MLP neurons, heads' outputs), or an activation buffer that holds
        the site, which is read once, chunk by chunk. In space `write` they are turned into writes first.
    net
        The network they were recorded from.
    n_components
        How many components; None: all, which is a rotation and leaves no error.
    centred
        Whether the mean is taken off first; it then becomes the decoder's bias. Uncentred: the axes of the second
        moments, without a bias.
    keep
        bool [rows], which rows of the data to use; None: all.

    Returns
    -------
    Dictionary
        Components by falling variance; the largest coordinate of every row is positive.

    Raises
    ------
    DataError
        Data of another width, less than two rows, values that are not finite, more components than the width.
    """
    rows = SiteRows(data, net, site, space, keep, "pca")
    width = rows.width
    if n_components is not None and not 1 <= n_components <= width:
        raise DataError(f"pca of {site}: n_components is {n_components}; it must be from 1 to its width {width}")
    found = Covariance(width)
    for values in rows:
        found.add(values)
    if found.count < 2:
        raise DataError(f"pca of {site}: the data hold {found.count} rows; at least 2 are needed")
    axes = _axes(found, centred)[: n_components or width]
    mean = found.mean if centred and found.mean.any() else None
    return _dictionary(axes, mean, space, len(axes) == width, site, net)


def _axes(found: Covariance, centred: bool) -> npt.NDArray[Any]:
    """Eigenvectors [width, width] as rows, by falling eigenvalue, their signs fixed."""
    second = found.scatter / found.count
    axes = np.linalg.eigh(second if centred else second + np.outer(found.mean, found.mean))[1].T[::-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    return axes * np.where(largest < 0, -1, 1)


def _dictionary(
    axes: npt.NDArray[Any], mean: npt.NDArray[Any] | None, space: str, complete: bool, site: str, net: Transformer
) -> Dictionary:
    def tensor(values: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(net.dtype).to(net.device)

    return Dictionary(
        space,
        tensor(axes.T),
        tensor(axes),
        None if mean is None else tensor(-mean @ axes.T),
        None if mean is None else tensor(mean),
        activation="linear",
        complete=complete,
        kind="pca",
        site=site,
        model=net.digest or None,
    )
