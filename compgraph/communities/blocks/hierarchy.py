"""Nested blocks: labels of the nodes at every level, and graph-tool's labels of the blocks below."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import Labels, canonical, n_parts


def hierarchy(levels: tuple[Labels, ...] | list[Labels]) -> list[npt.NDArray[np.int64]]:
    """graph-tool's form of a hierarchy: labels of nodes, then of the blocks below each level."""
    found = [canonical(levels[0]).astype(np.int64)]
    for below, above in pairwise(levels):
        lower, upper = canonical(below), canonical(above)
        blocks = np.zeros(n_parts(lower), np.int64)
        blocks[lower] = upper
        found.append(blocks)
    if n_parts(levels[-1]) > 1:
        found.append(np.zeros(n_parts(levels[-1]), np.int64))
    return found


def node_levels(blocks: list[npt.NDArray[np.int64]]) -> tuple[Labels, ...]:
    """Labels of the nodes at each level, down to the last level with more than one block.

    A level that is the same partition as the one below says nothing and is left out.
    """
    levels = [canonical(blocks[0])]
    labels = np.asarray(blocks[0])
    for above in blocks[1:]:
        labels = np.asarray(above)[labels]
        level = canonical(labels)
        if n_parts(level) == 1:
            break
        if n_parts(level) < n_parts(levels[-1]):
            levels.append(level)
    return tuple(levels)
