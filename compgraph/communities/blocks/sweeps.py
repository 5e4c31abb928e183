"""Sweeps of graph-tool's moves, in bounded numbers.

graph-tool's agglomeration (`multilevel_mcmc_sweep`, and all that `minimize_*_dl` do) is not used at all: on dense
graphs it sometimes does not return, in compiled code that cannot be interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from compgraph.communities.blocks.engine import SAME


class Descent:
    """Moves downhill until nothing gets shorter.

    Parameters
    ----------
    terms
        Keywords of the state's `entropy`.
    most
        Rounds of sweeps at most.
    """

    def __init__(self, terms: Mapping[str, Any], most: int) -> None:
        self._terms, self._most = dict(terms), most

    def single_moves(self, state: Any, c: Any = np.inf, **options: Any) -> None:
        """Move nodes one by one; `c` is that of graph-tool's proposals, infinite for blind ones."""
        common = {"beta": np.inf, "c": c, "entropy_args": self._terms, **options}
        self._repeat(lambda: float(state.mcmc_sweep(niter=5, **common)[0]))

    def merges_and_splits(self, state: Any, c: Any = np.inf, **options: Any) -> None:
        """Merge and split blocks between single moves."""
        common = {"beta": np.inf, "entropy_args": self._terms, **options}

        def sweep() -> float:
            change = float(state.multiflip_mcmc_sweep(niter=2, **common)[0])
            return change + float(state.mcmc_sweep(niter=2, c=c, **common)[0])

        self._repeat(sweep)

    def _repeat(self, sweep: Callable[[], float]) -> None:
        """Repeat until twice in a row nothing changes, but not for ever."""
        idle = 0
        for _ in range(self._most):
            idle = idle + 1 if abs(sweep()) < SAME else 0
            if idle == 2:
                return
