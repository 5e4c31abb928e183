"""Functions of the user's own, named by their import path."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable
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
    if os.getcwd() not in sys.path:  # a console script's path has the script's folder instead
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise DataError(f"{what} {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise DataError(f"{what} {name!r} is no function but of type {type(found).__name__}")
    function: Callable[..., Any] = found
    return function
