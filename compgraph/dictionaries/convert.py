"""Plain tensors in a `.pt` or `.npz` file as a safetensors file. No code in these files is ever run."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from compgraph.disk import explained
from compgraph.errors import ModelError

CONFIGS = ("cfg.json", "config.json")


def convert(source: str | Path, target: str | Path | None = None) -> Path:
    """Write the tensors of a file as safetensors, and copy the config that lies beside it.

    Parameters
    ----------
    source
        A `.pt` or `.npz` file of named tensors.
    target
        The file to write; the source with another ending if not given.

    Returns
    -------
    The file written.

    Raises
    ------
    ModelError
        Another kind of file, or one that holds anything but named tensors: such a file could run code when opened.
    StoreError
        The target cannot be written.
    """
    source = Path(source)
    out = source.with_suffix(".safetensors") if target is None else Path(target)
    if out.suffix != ".safetensors":
        raise ModelError(f"{out}: the file to write must end in .safetensors")
    if not source.is_file():
        raise ModelError(f"there is no file {source}")
    readers = {".pt": read_torch_tensors, ".pth": read_torch_tensors, ".npz": _read_numpy}
    if source.suffix not in readers:
        raise ModelError(f"{source}: only files ending in {', '.join(readers)} can be converted")
    tensors = readers[source.suffix](source)
    with explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous().clone() for name, value in sorted(tensors.items())}, out)
        for name in CONFIGS:
            beside = source.parent / name
            if beside.is_file() and out.parent.resolve() != source.parent.resolve():
                shutil.copyfile(beside, out.parent / name)
    return out


def read_torch_tensors(source: Path) -> dict[str, Tensor]:
    """The tensors of a `torch.save` file by name; the loader knows plain tensors alone, so that a file runs no code.

    Raises
    ------
    ModelError
        If the file holds anything else.
    """
    try:
        found: Any = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{source} does not hold plain tensors alone, and is not opened: {first}") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        other = [str(key) for key, value in found.items() if not isinstance(value, Tensor)] if _is_dict(found) else []
        what = f"; these are no tensors: {', '.join(other)}" if other else ""
        raise ModelError(f"{source} is no mapping from names to tensors{what}")
    return {str(name): value for name, value in found.items()}


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _read_numpy(source: Path) -> dict[str, Tensor]:
    try:
        with np.load(source, allow_pickle=False) as found:
            return {name: torch.from_numpy(np.asarray(found[name])) for name in found.files}
    except (ValueError, OSError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{source} does not hold plain arrays alone, and is not opened: {error}") from error
