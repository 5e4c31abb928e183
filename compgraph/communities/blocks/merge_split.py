"""Merges and splits of blocks that leave the posterior as it is: single moves pass from one mode to another too rarely.

Two nodes are drawn. If one block holds both, it is split between them, else their blocks are merged; the other nodes
of the block or blocks take sides by a heat bath (Jain & Neal, J. Comput. Graph. Stat. 13, 158, 2004).
"""

from __future__ import annotations

import numpy as np

from compgraph.communities.blocks.masked import MaskedState
from compgraph.communities.pairs import Integers, Mask

SCANS = 2
"""Rounds of the heat bath from which a division between two nodes is proposed."""


def merge_or_split(state: MaskedState, rng: np.random.Generator) -> tuple[MaskedState, bool]:
    """One Metropolis-Hastings step: the state after it, and whether it is a new one.

    A division is proposed by a heat bath over the nodes on two sides, from a random one; its last round makes it with
    the probability q. A split is accepted with probability min(1, exp(-nats) / q) and a merge with
    min(1, exp(-nats) q), where q is the probability to make the division that the merge ends.
    """
    if state.model.n_nodes < 2:
        return state, False
    one, other = int(rng.integers(state.model.n_nodes)), int(rng.integers(state.model.n_nodes - 1))
    ends = one, other + (other >= one)
    if not state.alike(*ends):
        return state, False
    first, second = (int(state.labels[end]) for end in ends)
    among = (state.labels == first) | (state.labels == second)
    among[list(ends)] = False
    rest = rng.permutation(np.flatnonzero(among))
    whole = state.copy()
    if first != second:
        whole.join(first, second)
    wanted = None if first == second else state.labels[rest] == second
    apart, log_chance = _division(whole, ends, rest, rng, wanted)
    change = apart.length - whole.length  # nats by which the division is longer
    log_ratio = -change - log_chance if wanted is None else change + log_chance
    if np.log(rng.random()) >= log_ratio:
        return state, False
    return (apart if wanted is None else whole), True


def _division(
    whole: MaskedState, ends: tuple[int, int], rest: Integers, rng: np.random.Generator, wanted: Mask | None
) -> tuple[MaskedState, float]:
    """A block divided between two nodes, and the logarithm of the probability of the last round that made it.

    Parameters
    ----------
    whole
        The state in which one block holds them all.
    ends
        The two nodes, which stay on their sides.
    rest
        The others, in the order in which they are drawn.
    rng
        Of the sides.
    wanted
        Which of the others are to be on the side of the second node; None: as they are drawn.
    """
    apart = whole.copy()
    sides = int(apart.labels[ends[0]]), apart.split_off(np.append(rest[rng.random(len(rest)) < 0.5], ends[1]))
    for _ in range(SCANS):
        for node in rest:
            apart.choose(int(node), sides, rng)
    log_chance = 0.0
    for k, node in enumerate(rest):
        log_chance += apart.choose(int(node), sides, rng, None if wanted is None else int(wanted[k]))
    return apart, log_chance
