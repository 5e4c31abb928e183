"""Generated graphs: matrices in the order of both partitions, candidates, what is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from compgraph.figures import sbm_structures

from .examples import overlapping_texts, texts_outside


def tables() -> tuple[pd.DataFrame, ...]:
    """A core of one node with three others, and a directed graph without structure."""
    counts = {"n_groups": [2, 1], "n_blocks": [2, 1], "pattern": ["core-periphery", "one block"]}
    found = {"n_communities": [1, 2], "n_beyond_chance": [1, 0], "p": [0.01, 0.6]}
    shares = {"blocks_ari": [1.0, 1.0], "communities_ari": [0.0, 0.0]}
    graphs = pd.DataFrame({"graph": ["star", "random"], "directed": [False, True], **counts, **shares, **found})
    labels = {"group": [1, 1, 1, 0, 0, 0], "block": [1, 1, 1, 0, 0, 0], "community": [0, 0, 0, 0, 0, 1]}
    nodes = pd.DataFrame({"graph": ["star"] * 4 + ["random"] * 2, "node": list("abcdef"), **labels})
    edges = pd.DataFrame({"graph": ["star"] * 3 + ["random"], "source": [0, 1, 2, 0], "target": [3, 3, 3, 1]})
    shared = {"model": ["one block", "flat"] * 2, "description_length": [9.0, 5.0, 4.0, np.nan]}
    told = {"kept": [False, True, True, False], "comparable": [True, True, True, False], "reason": ["", "", "", "no"]}
    of = {"graph": np.repeat(["star", "random"], 2), "above": [4.0, 0.0, 0.0, np.nan]}
    models = pd.DataFrame({**of, **shared, **told})
    return graphs, nodes, edges, models


@pytest.mark.parametrize("width", ["single", "double"])
def test_matrices_are_sorted_and_symmetric_where_undirected(width):
    figure = sbm_structures.draw(*tables(), width=width)
    communities, blocks = (np.nan_to_num(np.ma.filled(axes.images[0].get_array(), 0.0)) for axes in figure.axes[:2])
    star = np.zeros((4, 4))
    star[3, :3] = star[:3, 3] = 1
    np.testing.assert_array_equal(communities, star)
    np.testing.assert_array_equal(blocks, star[::-1, ::-1])
    directed = figure.axes[3 if width == "double" else 2].images[0].get_array()
    np.testing.assert_array_equal(np.nan_to_num(np.ma.filled(directed, 0.0)), [[0, 1], [0, 0]])
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_the_caption_says_what_was_found_and_the_data_have_all_candidates():
    words = sbm_structures.caption(*tables())
    assert "star: 2 blocks, core-periphery, adjusted Rand index 1.00 against 0.00 of communities" in words
    assert words.endswith("random: 1 block.")
    assert len(sbm_structures.data(*tables())) == 4
