"""graph-tool: found or named as missing, and run so that a result can be repeated."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from compgraph.errors import MissingDependency

INSTALL = (
    "stochastic block models need graph-tool, which is not installed (it is not on the Python package index): "
    "`apt install python3-graph-tool` on Debian, for the system's Python, or "
    "`conda install -c conda-forge graph-tool`"
)


def load_graph_tool() -> Any:
    """graph-tool, with its inference module.

    Raises
    ------
    MissingDependency
        If it is not installed; the message says how to get it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import graph_tool
            import graph_tool.inference
    except ImportError as error:
        raise MissingDependency(INSTALL) from error
    return graph_tool


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed graph-tool and hold it to one thread; the number of threads is restored."""
    gt = load_graph_tool()
    threads = gt.openmp_get_num_threads()
    gt.openmp_set_num_threads(1)
    gt.seed_rng(seed % (2**31 - 1) + 1)  # 0 would mean a seed from the clock
    try:
        yield
    finally:
        gt.openmp_set_num_threads(threads)
