"""Attributions in memory, read like a buffer of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compgraph.architecture import Architecture
from compgraph.data.buffer_layout import ATTRIBUTIONS, QUANTITIES
from compgraph.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class NodeAttributions:
    """Attributions of units: an array [rows, units] per site, rows aligned over sites.

    Whatever reads a buffer reads this too: `find_rois`, `functional_connectivity`, `node_scores`.

    Attributes
    ----------
    architecture
        The network's sites.
    values
        Site -> [rows, units].
    item, position
        Of each row, int64 [rows]: the number of its example, in ascending order, and its index in the token array.
    ids
        Names of the examples [n].
    attributes
        What the numbers are: method, metric, baseline (`attributes["attribution"]`), sites, positions.
    """

    architecture: Architecture
    values: dict[str, NDArray[Any]]
    item: NDArray[np.int64]
    position: NDArray[np.int64]
    ids: NDArray[np.str_]
    attributes: dict[str, Any]
    quantity: str = QUANTITIES[ATTRIBUTIONS]
    n_chunks: int = 1

    def __repr__(self) -> str:
        said = self.attributes["attribution"]
        return f"NodeAttributions({said['method']} of {said['metric']}: {self.n_rows} rows at {len(self.values)} sites)"

    @property
    def n_rows(self) -> int:
        """Number of rows: examples by positions."""
        return len(self.item)

    @cached_property
    def sites(self) -> pd.DataFrame:
        """One row a site, in the order of computation: site, kind, level, n_units, n_heads."""
        import pandas as pd

        named = [self.architecture.site(name) for name in self.values]
        keys = ("kind", "level", "n_units", "n_heads")
        return pd.DataFrame([{"site": site.name} | {key: getattr(site, key) for key in keys} for site in named])

    @cached_property
    def items(self) -> pd.DataFrame:
        """One row a row: item, id, position."""
        import pandas as pd

        return pd.DataFrame({"item": self.item, "id": self.ids[self.item], "position": self.position})

    def read(self, site: str) -> NDArray[Any]:
        """Attributions [rows, units] of one site.

        Raises
        ------
        DataError
            If the site was not asked for.
        """
        if site not in self.values:
            raise DataError(f"site {site!r} has no attributions here; there are {', '.join(self.values)}")
        return self.values[site]

    def mean(self, site: str) -> NDArray[np.float64]:
        """Mean [units] over all rows."""
        return self.read(site).mean(0, dtype=np.float64)

    def variance(self, site: str) -> NDArray[np.float64]:
        """Population variance [units] over all rows."""
        return self.read(site).var(0, dtype=np.float64)

    def chunks(self, sites: str | Iterable[str] | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        """All rows at once: site -> [rows, units]."""
        names = list(self.values) if sites is None else [sites] if isinstance(sites, str) else list(sites)
        yield {name: self.read(name) for name in names}
