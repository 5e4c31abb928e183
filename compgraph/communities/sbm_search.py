"""Search for the partition of shortest description, with graph-tool as the judge.

On graphs where most pairs have an edge graph-tool's proposals are blind: left alone it returns one block where
three are hundreds of nats shorter. So searches start from informed partitions, and "one block" means that
none of them led to anything better.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from compgraph.communities.agreement import canonical
from compgraph.communities.blocks.engine import Fit, shortest_first
from compgraph.communities.blocks.hierarchy import node_levels
from compgraph.communities.blocks.observed import Observed
from compgraph.communities.blocks.starts import Starts
from compgraph.communities.blocks.states import States
from compgraph.communities.blocks.sweeps import Descent


class Search:
    """Starts and refinements on one graph.

    Parameters
    ----------
    observed
        What is explained.
    effort
        Multiplies sweeps and informed starts.
    """

    def __init__(self, observed: Observed, effort: int) -> None:
        self.states, self.starts = States(observed), Starts(observed)
        self.n_nodes, self._effort = observed.n_nodes, effort
        self._most = (5 if self.starts.large else 10) * effort

    def one_block(self, degree_corrected: bool) -> Fit:
        """All nodes in one block, or in one for each kind of nodes."""
        whole = self.starts.whole()
        return Fit((whole,), self.states.flat_length(whole, degree_corrected), False, degree_corrected, "one block")

    def flat(self, degree_corrected: bool, seed: int) -> list[Fit]:
        """Refined flat fits from every start (of large graphs: from the best one), shortest first."""
        starts = self.starts.all(seed)
        lengths = {name: self.states.flat_length(labels, degree_corrected) for name, labels in starts.items()}
        spectral = sorted((name for name in starts if name.startswith("spectral")), key=lengths.__getitem__)
        tried = [name for name in starts if name not in spectral] + spectral[: 2 + self._effort]
        if self.starts.large:
            tried = spectral[:1]
        states = {name: self.states.flat(starts[name], degree_corrected) for name in tried}
        if not self.starts.large:
            states["sampling"] = self._sampled(degree_corrected, seed)
        descent = Descent(self.states.flat_terms, self._most)
        fits: dict[bytes, Fit] = {}
        seen: set[bytes] = set()
        for name, state in states.items():
            descent.single_moves(state)
            if (reached := canonical(state.b.a).tobytes()) in seen:
                continue  # another start came here: its merges and splits have been tried
            seen.add(reached)
            descent.merges_and_splits(state)
            labels = canonical(state.b.a)
            if labels.tobytes() not in fits:
                length = self.states.flat_length(labels, degree_corrected)
                fits[labels.tobytes()] = Fit((labels,), length, False, degree_corrected, name)
        return shortest_first(list(fits.values()))

    def fixed(self, degree_corrected: bool, seed: int, n_blocks: int) -> list[Fit]:
        """Flat fits of a given number of blocks, shortest first."""
        descent = Descent(self.states.flat_terms, self._most)
        fits = []
        for name, start in self.starts.of_size(n_blocks, seed).items():
            state = self.states.flat(start, degree_corrected)
            descent.single_moves(state, d=0, allow_vacate=False)
            labels = canonical(state.b.a)
            length = self.states.flat_length(labels, degree_corrected)
            fits.append(Fit((labels,), length, False, degree_corrected, name))
        return shortest_first(fits)

    def refined(self, start: Fit, fixed: bool) -> Fit:
        """A flat fit found elsewhere, after downhill moves (and merges and splits, unless the number is fixed)."""
        state = self.states.flat(start.levels[0], start.degree_corrected)
        descent = Descent(self.states.flat_terms, self._most)
        if fixed:
            descent.single_moves(state, d=0, allow_vacate=False)
        else:
            descent.single_moves(state)
            descent.merges_and_splits(state)
        # Of this state, not of a new one: at thousands of nodes a second state would be the peak of memory.
        return replace(start, levels=(canonical(state.b.a),), length=self.states.length_of(state, nested=False))

    def nested(self, starts: list[Fit]) -> list[Fit]:
        """Nested fits, refined from flat ones, shortest first."""
        descent = Descent(self.states.nested_terms, self._most)
        fits = []
        for start in starts:
            whole = np.zeros(self.n_nodes, np.int32)
            state = self.states.nested([start.levels[0], whole, whole, whole], start.degree_corrected)
            blind = [np.inf] * len(state.levels)
            descent.single_moves(state, blind, ls_shuffle=False)
            descent.merges_and_splits(state, blind, ls_shuffle=False)
            found = node_levels(state.get_bs())
            length = self.states.nested_length(found, start.degree_corrected)
            fits.append(Fit(found, length, True, start.degree_corrected, start.start))
        return shortest_first(fits)

    def _sampled(self, degree_corrected: bool, seed: int) -> Any:
        """A state from graph-tool's sampler (merges, splits, single moves at temperature 1)."""
        rng = np.random.default_rng(seed)
        n_blocks = max(2, math.isqrt(self.n_nodes))
        drawn = rng.integers(n_blocks, size=self.n_nodes).astype(np.int32)
        state = self.states.flat(self.starts.within_kinds(drawn), degree_corrected)
        state.multiflip_mcmc_sweep(niter=10 * self._effort, beta=1.0, entropy_args=self.states.flat_terms)
        return state
