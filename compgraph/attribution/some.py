"""Attributions of some of the examples, read from those of all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compgraph.attribution.scores import Attributed


class SomeItems:
    """A view on attributions; nothing is copied but a chunk at a time.

    Parameters
    ----------
    attributions
        Of all examples.
    keep
        bool [n_examples]: those that are seen. They keep their numbers (`item`).
    """

    def __init__(self, attributions: Attributed, keep: NDArray[np.bool_]) -> None:
        self._all, self.architecture, self.quantity = attributions, attributions.architecture, attributions.quantity
        self.attributes: dict[str, Any] = getattr(attributions, "attributes", {})
        self._rows = keep[np.asarray(attributions.item)]

    @property
    def sites(self) -> Any:
        """As of all."""
        return self._all.sites

    @property
    def item(self) -> NDArray[Any]:
        """The example of each row that is seen."""
        return np.asarray(self._all.item)[self._rows]

    def chunks(self, sites: Iterable[str]) -> Iterator[Mapping[str, NDArray[Any]]]:
        """The rows that are seen, in order; a chunk without any is passed over."""
        first = 0
        for chunk in self._all.chunks(sites):
            rows = self._rows[first : first + len(next(iter(chunk.values())))]
            first += len(rows)
            if rows.any():
                yield {site: values[rows] for site, values in chunk.items()}
