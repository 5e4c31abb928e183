"""An activation buffer seen through dictionaries: its units at their sites are features and errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from compgraph.data.buffers import ActivationBuffer
from compgraph.data.moments import Moments
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.dictionaries.rows import check_model
from compgraph.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

BLOCK_ROWS = 4096


class EncodedBuffer:
    """What functional graphs and ROIs read of a buffer, with the units of a network with dictionaries.

    Nothing is written: rows are encoded each time they are read.

    Parameters
    ----------
    buffer
        Activations of the network without dictionaries.
    net
        The network with them.

    Attributes
    ----------
    architecture
        Sites of `net`.
    n_rows, n_chunks
        As the buffer's.

    Raises
    ------
    DataError
        A buffer of another model, or of attributions.
    """

    def __init__(self, buffer: ActivationBuffer, net: FeatureTransformer) -> None:
        if buffer.quantity != "activation":
            raise DataError(f"features are those of activations; {buffer.result.path} holds {buffer.quantity}s")
        check_model(buffer, net.inner.digest)
        self.buffer, self.net = buffer, net
        self.architecture = net.architecture
        self.n_rows, self.n_chunks, self.result = buffer.n_rows, buffer.n_chunks, buffer.result

    @cached_property
    def sites(self) -> pd.DataFrame:
        """One row a recorded site, as the buffer's, with the number of its units here."""
        table = self.buffer.sites
        return table.assign(n_units=[self.units(site) for site in table["site"]])

    @property
    def item(self) -> NDArray[np.int32]:
        """The item of each row, int32 [rows]."""
        return self.buffer.item

    @property
    def items(self) -> pd.DataFrame:
        """One row a recorded row."""
        return self.buffer.items

    def units(self, site: str) -> int:
        """Number of units of a site."""
        return int(self.architecture.site(site).n_units)

    def chunks(self, sites: str | Iterable[str] | None = None) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Go through all rows once, as `ActivationBuffer.chunks`."""
        for chunk in self.buffer.chunks(sites):
            yield {site: self._encoded(site, values) for site, values in chunk.items()}

    def read(self, site: str, rows: slice | None = None) -> NDArray[np.float32]:
        """Read rows of one site, as `ActivationBuffer.read`."""
        return self._encoded(site, self.buffer.read(site, rows))

    def mean(self, site: str) -> NDArray[np.float64]:
        """Mean [units] over all rows."""
        return self._moments(site).mean

    def variance(self, site: str) -> NDArray[np.float64]:
        """Population variance [units] over all rows."""
        return self._moments(site).variance

    def _moments(self, site: str) -> Moments:
        if site not in self._known:
            total = Moments.none(self.units(site))
            for chunk in self.chunks(site):
                total = total.merge(Moments.of(chunk[site]))
            self._known[site] = total
        return self._known[site]

    @cached_property
    def _known(self) -> dict[str, Moments]:
        return {}

    def _encoded(self, site: str, values: NDArray[Any]) -> NDArray[np.float32]:
        if site not in self.net.dictionaries:
            return values
        out = np.empty((len(values), self.units(site)), np.float32)
        with torch.no_grad():
            for start in range(0, len(values), BLOCK_ROWS):
                block = torch.from_numpy(np.ascontiguousarray(values[start : start + BLOCK_ROWS]))
                units = self.net.represent(site, block.to(self.net.dtype).to(self.net.device))
                out[start : start + BLOCK_ROWS] = units.float().cpu().numpy()
        return out
