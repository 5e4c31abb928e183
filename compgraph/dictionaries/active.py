"""The active features of a block of rows as a list: where they are few, sums over them cost less than products."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

Integers = npt.NDArray[np.int64]


class Active:
    """Places of a matrix [features, rows].

    Parameters
    ----------
    places
        Indices into the flattened matrix, ascending.
    shape
        (features, rows).

    Attributes
    ----------
    features, rows
        Of each place, int64 [m].
    """

    def __init__(self, places: Integers, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._places = torch.from_numpy(places)
        self._of_features = torch.from_numpy(np.searchsorted(places, np.arange(shape[0] + 1) * shape[1]))
        self.features, self.rows = np.divmod(places, shape[1])
        self._across = torch.from_numpy(self.rows)

    def taken(self, matrix: Tensor) -> Tensor:
        """Values of a contiguous matrix [features, rows] at the places."""
        return matrix.view(-1)[self._places]

    def put(self, values: Tensor, matrix: Tensor) -> None:
        """Make a contiguous matrix [features, rows] hold the values at the places, and 0 elsewhere."""
        matrix.zero_().view(-1)[self._places] = values

    def by_row(self) -> tuple[Integers, Integers]:
        """Order of the places by rows, and where each row's begin in it, [rows + 1]."""
        order = np.argsort(self.rows.astype(np.min_scalar_type(self.shape[1])), kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.rows, minlength=self.shape[1]))])
        return order, starts

    def decoded(self, values: Tensor, vectors: Tensor) -> Tensor:
        """Sum over each row's places of value times the feature's vector, [rows, width]."""
        order, starts = map(torch.from_numpy, self.by_row())
        features = torch.from_numpy(self.features)[order]
        return _sums(features, vectors, starts, values[order])

    def gathered(self, values: Tensor, vectors: Tensor) -> Tensor:
        """Sum over each feature's places of value times the row's vector, [features, width]."""
        return _sums(self._across, vectors, self._of_features, values)

    def summed(self, values: Tensor) -> Tensor:
        """Sum of the values of each feature, [features]."""
        return values.new_zeros(self.shape[0]).index_add_(0, torch.from_numpy(self.features), values)


def _sums(which: Tensor, vectors: Tensor, starts: Tensor, values: Tensor) -> Tensor:
    return embedding_bag(which, vectors, starts, mode="sum", per_sample_weights=values, include_last_offset=True)
