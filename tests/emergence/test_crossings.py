"""Alluvial diagrams with few crossings."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pandas as pd

from compgraph.emergence.crossings import crossings, few_crossings

COLUMNS = ["a", "b", "block_a", "block_b", "n"]


def test_few_crossings_is_as_good_as_trying_all_orders() -> None:
    rows = [(0, 1, 0, 2, 5), (0, 1, 1, 0, 4), (0, 1, 2, 1, 3), (0, 1, 0, 1, 1), (1, 2, 0, 1, 4), (1, 2, 1, 0, 4),
            (1, 2, 2, 2, 5)]  # fmt: skip
    flows = pd.DataFrame(rows, columns=COLUMNS)
    orders = product(*[list(permutations(range(3)))] * 3)
    fewest = min(crossings(flows, [list(one) for one in order]) for order in orders)
    assert crossings(flows, few_crossings(flows, 3)) == fewest < crossings(flows, [[0, 1, 2]] * 3)


def test_crossings_are_the_pairs_of_nodes_whose_lines_cross() -> None:
    rng = np.random.default_rng(0)
    start, end = rng.integers(0, 3, 40), rng.integers(0, 4, 40)
    rows = [(0, 1, x, y, int(((start == x) & (end == y)).sum())) for x in range(3) for y in range(4)]
    order = [[2, 0, 1], [1, 3, 0, 2]]
    place, there = (np.argsort(blocks) for blocks in order)
    brute = sum(
        (place[start[i]] - place[start[j]]) * (there[end[i]] - there[end[j]]) < 0 for i in range(40) for j in range(i)
    )
    assert crossings(pd.DataFrame(rows, columns=COLUMNS), order) == brute
