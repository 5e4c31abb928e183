"""Search for the blocks of shortest description on an architecture: an engine of `fit_sbm` without graph-tool."""

from __future__ import annotations

import numpy as np

from compgraph.communities.agreement import Labels, canonical
from compgraph.communities.blocks.engine import Fit, Run, Task, shortest_first
from compgraph.communities.blocks.masked import TIE, MaskedModel, MaskedState
from compgraph.communities.blocks.starts import LADDER, cut, leading_vectors, of_vectors
from compgraph.communities.modularity import excess_matrix
from compgraph.communities.optimise import leiden

MOST_BLOCKS = 24
"""The largest spectral start: merges only make the number of blocks smaller."""

ROUNDS = 20
"""Rounds of single moves and merges at most, per effort."""


class MaskedEngine:
    """Closed form from spectral starts and communities, by single moves and merges.

    Parameters
    ----------
    model
        What is described.
    effort
        Multiplies rounds.
    """

    def __init__(self, model: MaskedModel, effort: int) -> None:
        self.model, self._effort = model, effort

    def one_block(self, degree_corrected: bool) -> Fit:
        """All nodes in one block, or in one for each kind of nodes: the configuration model on the allowed pairs."""
        whole = cut(np.zeros(self.model.n_nodes, np.int32), self.model.kinds)
        return self._fit(whole, "one block")

    def runs(self, task: Task) -> list[Run]:
        """One run a seed."""
        return [Run({True: self._run(seed, task.n_blocks)}) for seed in task.seeds]

    def _run(self, seed: int, n_blocks: int | None) -> Fit:
        fits = [
            self._fit(self._descend(start, seed, fixed=n_blocks is not None), name)
            for name, start in self._starts(seed, n_blocks).items()
        ]
        return shortest_first(fits)[0]

    def _starts(self, seed: int, n_blocks: int | None) -> dict[str, Labels]:
        model, n = self.model, self.model.n_nodes
        excess = excess_matrix(model.edges, model.expected)
        vectors = leading_vectors(excess + excess.T)
        if n_blocks is not None:
            shares = np.empty(n, np.int32)
            shares[np.argsort(vectors[:, 0], kind="stable")] = np.arange(n) * n_blocks // n
            found = of_vectors(vectors, n_blocks, seed)
            return {"equal shares": shares} | ({"spectral": found} if found.max() + 1 == n_blocks else {})
        sizes = [k for k in LADDER if k <= min(MOST_BLOCKS, max(2, n // 3)) and k < n]
        starts = {"one block": np.zeros(n, np.int32)} | {f"spectral {k}": of_vectors(vectors, k, seed) for k in sizes}
        if excess.any():
            starts["communities"] = leiden(excess, seed)
        return {name: cut(labels, model.kinds) for name, labels in starts.items()}

    def _descend(self, labels: Labels, seed: int, fixed: bool) -> Labels:
        state, rng = MaskedState(self.model, labels), np.random.default_rng(seed)
        for _ in range(ROUNDS * self._effort):
            _, moves = state.sweep(rng, np.inf, fixed)
            merges = 0.0 if fixed else state.merge()
            if moves + merges > -TIE:
                break
        return canonical(state.labels)

    def _fit(self, labels: Labels, start: str) -> Fit:
        return Fit((labels,), self.model.length(labels), False, True, start)
