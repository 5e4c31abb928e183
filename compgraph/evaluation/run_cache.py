"""Logits of single circuits from earlier calls (`compgraph.array_cache`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from compgraph.array_cache import ArrayCache


class RunCache:
    """Runs of circuits.

    Parameters
    ----------
    folder
        Made where missing.
    key
        Digest of everything but the circuit: network, data, baseline, ablation, partition, code.
    """

    def __init__(self, folder: str | Path, key: str) -> None:
        self.arrays = ArrayCache(folder, key, "run")

    @property
    def found(self) -> int:
        """Runs that were known."""
        return self.arrays.found

    @property
    def missed(self) -> int:
        """Runs that were not."""
        return self.arrays.missed

    def get(self, mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.float32] | None:
        """Logits [examples, classes] of a circuit, or None."""
        return self.arrays.get(_name(mask), shape, "<f4")

    def put(self, mask: npt.NDArray[np.bool_], logits: npt.NDArray[np.float32]) -> None:
        """Keep the logits of a circuit."""
        self.arrays.put(_name(mask), logits, "<f4")


def _name(mask: npt.NDArray[np.bool_]) -> bytes:
    return str(mask.size).encode() + np.packbits(mask).tobytes()
