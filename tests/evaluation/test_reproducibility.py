"""Agreement of graphs made again against shuffled scores: what the null keeps, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.errors import DataError
from compgraph.evaluation.random_circuits import cells_of
from compgraph.evaluation.reproducibility import _null, reproducibility
from compgraph.evaluation.stability import stability
from tests.circuits.graphs import scored


def graphs(n=3, layers=0.0):
    """Graphs with scores that have layers in common (if asked for) and noise of their own."""
    shape = {"n_layers": 3, "n_heads": 4, "mlp": True}
    cells = cells_of(scored(**shape), "layers")
    shared = layers * np.random.default_rng(9).random(cells.max() + 1)[cells]
    return [scored(shared + np.random.default_rng(seed).normal(size=len(cells)), **shape) for seed in range(n)]


def test_numbers_are_those_of_the_circuits_and_shuffles_of_independent_scores_are_like_them():
    """Independent scores are one more shuffle: over many, p is below a tenth about as often."""
    small = []
    for k in range(30):
        pair = [scored(seed=100 * k + j, n_layers=2, n_heads=3, mlp=True) for j in range(2)]
        table = reproducibility({"seeds": pair}, [0.2], n_null=19, seed=k)
        small.append(table["rbo_p"][0] <= 0.1)
    assert np.mean(small) < 0.3
    expected = stability({"seeds": pair}, [0.2])
    assert table[expected.columns].equals(expected)


def test_scores_that_share_layers_alone_beat_shuffles_of_all_edges_and_not_those_within_layers():
    same_layers = {"seeds": graphs(layers=40.0)}
    loose = reproducibility(same_layers, [0.1, 0.3], among="size", n_null=49)
    strict = reproducibility(same_layers, [0.1, 0.3], among="layers", n_null=49)
    assert (loose["jaccard_q"] <= 0.05).all() and (strict["jaccard_q"] > 0.05).all()
    assert (strict["jaccard_null"] > loose["jaccard_null"] + 0.1).all()


def test_shuffled_circuits_have_the_size_and_the_layer_profile(monkeypatch):
    pair, seen = graphs(2, layers=3.0), []
    monkeypatch.setattr("compgraph.evaluation.reproducibility.overlaps", lambda v, n, p: seen.append((v, n)) or (v, v))
    list(_null(pair, [20], "abs", "layers", 5, 0))
    cells = cells_of(pair[0], "layers")
    for values, n in seen:
        for row, graph in zip(values, pair, strict=True):
            drawn, kept = np.argsort(-row, kind="stable")[:n], graph.top_mask(n, "abs")
            assert np.array_equal(*(np.bincount(cells[one], minlength=cells.max() + 1) for one in (drawn, kept)))


@pytest.mark.parametrize(("given", "said"), [({"among": "sites"}, "layers, size"), ({"n_null": -1}, "at least 0")])
def test_refusals(given, said):
    with pytest.raises(DataError, match=said):
        reproducibility({"seeds": graphs(2)}, [0.1], **given)
