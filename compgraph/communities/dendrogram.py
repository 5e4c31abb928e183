"""Where to cut a tree of merges."""

from __future__ import annotations

from typing import Any

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.copies import Copy
from compgraph.communities.judge import Judge

MOST_CUTS = 500
"""Cuts into more communities than this are not tried: each is scored on all nodes."""


def best_cut(tree: Any, copied: Copy, judged: Judge) -> Labels:
    """The cut of igraph's dendrogram with the largest modularity; of equal ones the coarsest.

    A forest is cut no coarser than into its trees. None for a tree (no node has weight): all in one.
    """
    whole = np.zeros(copied.n_nodes, np.int32)
    if tree is None:
        return whole
    n = len(copied.live)
    fewest = n - len(tree.merges)
    best, most = whole, judged.quality(np.where(judged.idle, -1, whole).astype(np.int32))
    for k in range(max(1, fewest), min(n, fewest + MOST_CUTS) + 1):
        labels = copied.spread(tree.as_clustering(k).membership)
        if (value := judged.quality(labels)) > most + 1e-12:
            best, most = labels, value
    return best
