"""Arrays from earlier calls, in files named by all that they depend on.

A file is written under a temporary name and renamed, and holds a digest of its content: what is torn or damaged is made
again. The folder can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

DIGEST = hashlib.sha256().digest_size


class ArrayCache:
    """Arrays that one kind of call makes.

    Parameters
    ----------
    folder
        Made where missing.
    key
        Digest of everything that all arrays of the calls depend on (`cache_key`).
    suffix
        Of the files.
    """

    def __init__(self, folder: str | Path, key: str, suffix: str) -> None:
        self.folder, self.key, self.suffix = Path(folder), key, suffix
        self.found = self.missed = 0

    def get(self, what: bytes, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any] | None:
        """The array of that name, or None."""
        try:
            data = self._path(what).read_bytes()
        except OSError:
            data = b""
        sealed, content = data[:DIGEST], data[DIGEST:]
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        if len(content) != size or hashlib.sha256(content).digest() != sealed:
            self.missed += 1
            return None
        self.found += 1
        return np.frombuffer(content, dtype).reshape(shape)

    def put(self, what: bytes, values: npt.NDArray[Any], dtype: str) -> None:
        """Keep an array."""
        content = np.ascontiguousarray(values, dtype).tobytes()
        path = self._path(what)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_bytes(hashlib.sha256(content).digest() + content)
        partial.replace(path)

    def _path(self, what: bytes) -> Path:
        name = hashlib.sha256(self.key.encode() + what).hexdigest()
        return self.folder / name[:2] / f"{name}.{self.suffix}"


def cache_key(**parts: Any) -> str:
    """What the arrays of one call have in common, as a digest: network, data, settings, code."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
