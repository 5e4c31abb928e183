"""Chains of partitions, each as probable as its description is short."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from compgraph.communities.agreement import Labels, canonical
from compgraph.communities.blocks.hierarchy import node_levels
from compgraph.communities.blocks.masked import MaskedModel, MaskedState
from compgraph.communities.blocks.merge_split import merge_or_split
from compgraph.communities.blocks.states import States


class Chain(Protocol):
    """A Markov chain with exp(-description length) as its stationary distribution."""

    def step(self, sweeps: int) -> tuple[int, int]:
        """Go on by some sweeps: how many moves were tried, and how many were made."""
        ...

    def labels(self) -> Labels:
        """Blocks of the nodes now, at the finest level."""
        ...

    def length(self) -> float:
        """Description length now, nats."""
        ...


class GraphToolChain:
    """Merges, splits and single moves of graph-tool at temperature 1; to be run inside `reproducible`."""

    def __init__(self, states: States, levels: tuple[Labels, ...], degree_corrected: bool, nested: bool) -> None:
        self._states, self._nested = states, nested
        if nested:
            whole = np.zeros(len(levels[0]), np.int32)
            self._state: Any = states.nested([*levels, whole, whole], degree_corrected)
        else:
            self._state = states.flat(levels[0], degree_corrected)

    def step(self, sweeps: int) -> tuple[int, int]:
        """Go on by some sweeps: how many moves were tried, and how many were made."""
        terms = self._states.nested_terms if self._nested else self._states.flat_terms
        tried = made = 0
        for move in (self._state.multiflip_mcmc_sweep, self._state.mcmc_sweep):
            _, attempts, moves = move(niter=sweeps, beta=1.0, entropy_args=terms)
            tried, made = tried + int(attempts), made + int(moves)
        return tried, made

    def labels(self) -> Labels:
        """Blocks of the nodes now, at the finest level."""
        return node_levels(self._state.get_bs())[0] if self._nested else canonical(self._state.b.a)

    def length(self) -> float:
        """Description length now, nats."""
        return self._states.length_of(self._state, self._nested)


class MaskedChain:
    """Heat bath on single nodes, and after each sweep a merge or a split, for presence among allowed pairs."""

    def __init__(self, model: MaskedModel, labels: Labels, seed: int) -> None:
        self._state, self._rng = MaskedState(model, labels), np.random.default_rng(seed)

    def step(self, sweeps: int) -> tuple[int, int]:
        """Go on by some sweeps: how many moves were tried, and how many were made."""
        made = 0
        for _ in range(sweeps):
            moved, _ = self._state.sweep(self._rng)
            self._state, changed = merge_or_split(self._state, self._rng)
            made += moved + changed
        return sweeps * (self._state.model.n_nodes + 1), made

    def labels(self) -> Labels:
        """Blocks of the nodes now."""
        return canonical(self._state.labels)

    def length(self) -> float:
        """Description length now, nats."""
        return self._state.model.length(self._state.labels)
