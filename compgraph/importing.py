"""Functions of the user's own, named by their import path."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from compgraph.errors import DataError

PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""`package.module:function`"""


def is_import_path(name: str) -> bool:
    """Whether a name has the form `package.module:function`; nothing is imported to find out."""
    return PATH.fullmatch(name) is not None


def import_function(name: str, registered: Iterable[str], what: str) -> Callable[..., Any]:
    """The function with that import path.

    Parameters
    ----------
    name
        `package.module:function`. The module is found as Python finds it: installed, or in the working folder.
    registered, what
        For the error: the names that would have been valid, and what they are names of.

    Raises
    ------
    DataError
        Not of that form, a module that cannot be imported, or no such function in it.
    """
    if not is_import_path(name):
        raise DataError(f"{what} {name!r} is not known; valid are {', '.join(registered)}, or package.module:function")
    module, _, attribute = name.partition(":")
    _add_working_folder()
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise DataError(f"{what} {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise DataError(f"{what} {name!r} is no function but of type {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def source_of(module: str) -> Path | None:
    """The Python source of a module, found where `import_function` would find it; nothing is imported to find it.

    None where there is no such module, or no source of it.
    """
    top, *inner = module.split(".")
    _add_working_folder()
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module that was not imported but run
        return None
    if spec is None:
        return None
    if not inner:
        origin = Path(spec.origin or "")
        return origin if origin.suffix == ".py" else None
    # Asking for a module inside a package would import the package.
    folders = [Path(folder).joinpath(*inner[:-1]) for folder in spec.submodule_search_locations or ()]
    places = [place for folder in folders for place in (folder / inner[-1] / "__init__.py", folder / f"{inner[-1]}.py")]
    return next((place for place in places if place.is_file()), None)


def _add_working_folder() -> None:
    """Functions of the working folder are found; a console script's path has the script's folder instead."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
