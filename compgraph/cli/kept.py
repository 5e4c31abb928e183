"""The network of the last result, kept while one process makes several of them.

A network is kept for as long as results use it one after another, so a process that goes on with block models holds
none. A process that makes one result keeps nothing.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compgraph.models.network import Network


class _Kept:
    """One network, and whether the result being made has asked for it."""

    def __init__(self) -> None:
        self.key: Hashable = None
        self.network: Network | None = None
        self.keeping = False
        self.asked = False


_kept = _Kept()


@contextmanager
def over_results() -> Iterator[None]:
    """Make one of several results in this process: it may use the network of the one before."""
    _kept.keeping, _kept.asked = True, False
    try:
        yield
    finally:
        _kept.keeping = False
        if not _kept.asked:
            forget()


def network(key: Hashable, load: Callable[[], Network]) -> Network:
    """The network of a key: the one that is kept, or else loaded now, after the other is let go.

    Parameters
    ----------
    key
        All that the loaded network depends on.
    load
        Loads it.
    """
    if not _kept.keeping:
        return load()
    _kept.asked = True
    if _kept.network is None or _kept.key != key:
        forget()
        _kept.network = load()
        _kept.key = key
    return _kept.network


def forget() -> None:
    """Keep no network any more, and give its memory back."""
    if _kept.network is None:
        return
    _kept.key = _kept.network = None
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
