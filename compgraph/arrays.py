"""Arrays in ``.npy`` files: no pickles, no more than the file holds, every flaw one sentence."""

from __future__ import annotations

import math
import os
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.errors import StoreError
from compgraph.memory import require_memory

_FORMAT: Any = np.lib.format
VERSIONS = {(1, 0): _FORMAT.read_array_header_1_0, (2, 0): _FORMAT.read_array_header_2_0}


def read_array(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read an array that `numpy.save` wrote.

    Raises
    ------
    StoreError
        If the file is missing or is none, holds objects, has another size than its header says, or does not fit into
        memory.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            version = _FORMAT.read_magic(file)
            if version not in VERSIONS:
                raise ValueError(f"version {version} of the format")
            shape, fortran, dtype = VERSIONS[version](file)
            if dtype.hasobject:
                raise ValueError("it holds Python objects, which could run code")
            claimed, held = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
            if claimed != held:
                raise ValueError(f"its header asks for {claimed} bytes, and {held} follow")
            require_memory(path, held)
            values = np.fromfile(file, dtype, math.prod(shape))
    except FileNotFoundError:
        raise StoreError(f"there is no array {path}") from None
    except (OSError, ValueError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise StoreError(f"{path} is not a readable array: {error}") from error
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)
