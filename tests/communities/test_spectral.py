from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import laplacian

from compgraph.communities import adjusted_rand, spectral
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import groups, layered, positive, transformer, undirected


def test_the_gap_tells_the_number_of_communities() -> None:
    for k in (2, 3, 5):
        found = spectral.find(positive(60, k, 6.0, seed=k))
        assert adjusted_rand(found.labels, groups(60, k)) == 1
    assert spectral.find(positive(60, 1, 1.0, seed=0)).n == 1


def test_normalised_cut_has_the_eigenvalues_of_the_laplacian() -> None:
    graph = positive(20, 2, 3.0, seed=0)
    values, vectors, noise = spectral.normalised_cut(graph, np.arange(20), 5, 0)
    expected = laplacian(graph.matrix(), normed=True)
    np.testing.assert_allclose(1 - values, np.linalg.eigvalsh(expected), atol=1e-9)
    np.testing.assert_allclose(expected @ vectors, vectors * (1 - values), atol=1e-9)
    assert noise == pytest.approx(-values[-1])


def test_it_agrees_with_scikit_learn() -> None:
    from sklearn.cluster import SpectralClustering

    graph = positive(45, 3, 4.0, seed=1)
    other = SpectralClustering(3, affinity="precomputed", random_state=0, n_init=10).fit(graph.matrix()).labels_
    assert adjusted_rand(spectral.find(graph, n_communities=3).labels, other) == 1


def test_opposed_groups_are_told_apart_by_sign() -> None:
    graph = undirected(60, 3, 2.0, seed=0)
    found = spectral.find(graph)
    assert found.parameters["embedding"] == "sponge"
    assert adjusted_rand(found.labels, groups(60, 3)) > 0.9


def test_sponge_solves_its_equation() -> None:
    weights = undirected(12, 2, 1.0, seed=0).matrix()
    values, vectors, _ = spectral.sponge(weights)
    plus, minus = (laplacian(np.maximum(sign * weights, 0), normed=True) + np.eye(12) for sign in (1, -1))
    np.testing.assert_allclose(plus @ vectors, minus @ vectors * np.exp(-values), atol=1e-9)


def test_layered_graphs_are_divided_beyond_depth() -> None:
    graph, labels = layered(transformer(n_layers=4, n_heads=8), seed=0, ratio=5.0, split_qkv=False)
    assert adjusted_rand(spectral.find(graph).labels, labels) > 0.8


def test_a_negative_number_of_communities_is_refused() -> None:
    with pytest.raises(ValueError, match="n_communities must be at least 0"):
        spectral.find(ComputationalGraph(["a"], [], [], None, []), n_communities=-1)
