"""Annealed moves of nodes: uphill ones too, the less often the lower the temperature (Kirkpatrick et al. 1983)."""

from __future__ import annotations

import numpy as np

from compgraph.communities.dense.description import Description, Partitioned
from compgraph.communities.dense.moves import Moves

GREEDY, ANNEALED = "greedy", "annealed"
MOVES = (GREEDY, ANNEALED)

ROUNDS = 60
AT_ONCE = 0.2
"""Share of the nodes that may move in a round: what all do at once is no longer what each would do alone."""
COLDEST = 0.1
"""Temperature of the last round, nats."""


def annealed(
    description: Description, start: Partitioned, seed: int, rounds: int = ROUNDS, vacate: bool = True
) -> Partitioned:
    """The shortest partition that a heat bath passes while it cools down.

    In round t of R a fifth of the nodes, drawn at random, draw their blocks anew, each given the partition before the
    round: a block that changes the length by d nats with weight exp(-d / T). T falls geometrically, T = T0 (T1 / T0)^(t
    / (R - 1)), from T0, the mean size of what the best move of a node changes at the start, to T1 = 0.1 nats.

    Parameters
    ----------
    description
        The model of a graph.
    start
        Where it starts; blocks may get empty, and none is added.
    seed
        Of all draws.
    rounds
        R.
    vacate
        Whether blocks may get empty; a round in which one would is left out otherwise.

    Returns
    -------
    At most as long as the start.
    """
    if start.n_blocks == 1:
        return start
    rng = np.random.default_rng(seed)
    best, shortest = start, description.length(start)
    changes = np.abs(Moves(description, start).best()[0])
    hottest = max(float(changes.mean()), COLDEST)
    n = len(start.labels)
    for temperature in np.geomspace(hottest, COLDEST, rounds):
        nodes = rng.choice(n, max(1, int(AT_ONCE * n)), replace=False)
        blocks = Moves(description, start).drawn(nodes, float(temperature), rng)
        moving = blocks != start.labels[nodes]
        tried = start.moved(description.graph, nodes[moving], blocks[moving])
        if not vacate and (tried.sizes == 0).any():
            continue
        start = tried.compact()
        if start.n_blocks == 1:
            break
        if (nats := description.length(start)) < shortest:
            best, shortest = start, nats
    return best
