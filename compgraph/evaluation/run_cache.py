"""Logits of single circuits from earlier calls, in files named by all that they depend on.

A file is written under a temporary name and renamed, and holds a digest of its content: what is torn or damaged is run
again. The folder can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

DIGEST = hashlib.sha256().digest_size


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
        self.folder, self.key = Path(folder), key
        self.found = self.missed = 0

    def get(self, mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.float32] | None:
        """Logits [examples, classes] of a circuit, or None."""
        try:
            data = self._path(mask).read_bytes()
        except OSError:
            data = b""
        sealed, content = data[:DIGEST], data[DIGEST:]
        if len(content) != 4 * int(np.prod(shape)) or hashlib.sha256(content).digest() != sealed:
            self.missed += 1
            return None
        self.found += 1
        return np.frombuffer(content, "<f4").reshape(shape)

    def put(self, mask: npt.NDArray[np.bool_], logits: npt.NDArray[np.float32]) -> None:
        """Keep the logits of a circuit."""
        content = np.ascontiguousarray(logits, "<f4").tobytes()
        path = self._path(mask)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_bytes(hashlib.sha256(content).digest() + content)
        partial.replace(path)

    def _path(self, mask: npt.NDArray[np.bool_]) -> Path:
        name = hashlib.sha256(self.key.encode() + str(mask.size).encode() + np.packbits(mask).tobytes()).hexdigest()
        return self.folder / name[:2] / f"{name}.run"
