from __future__ import annotations

import numpy as np
import pytest

from compgraph.graph import ComputationalGraph
from compgraph.statistics.measures import core
from compgraph.statistics.view import UndefinedError, View, view
from tests.statistics.graphs import correlations, cyclic, scores, sparse, thinned


def ranking(seen: View) -> np.ndarray:
    """Nodes by strength over possible partners, from dense matrices."""
    allowed, weights = seen.allowed.matrix, seen.dense()
    partners = allowed.sum(axis=0) + allowed.sum(axis=1)
    return np.argsort(-(weights.sum(axis=0) + weights.sum(axis=1)) / partners, kind="stable")


MAKERS = [scores, lambda: view(sparse()), correlations, lambda: thinned(0.4), lambda: view(cyclic())]


@pytest.mark.parametrize("make", MAKERS)
def test_the_rich_core_ends_where_weight_to_higher_ranks_peaks(make) -> None:
    seen = make()
    order, both = ranking(seen), seen.dense() + seen.dense().T
    upwards = [both[order[k], order[:k]].sum() for k in range(seen.n_nodes)]
    size = int(np.argmax(upwards)) + 1
    assert core.core_share(seen, 0) == size / seen.n_nodes
    inside = np.zeros(seen.n_nodes, bool)
    inside[order[:size]] = True
    allowed = seen.allowed.matrix
    expected = np.corrcoef(seen.dense()[allowed], np.outer(inside, inside)[allowed])[0, 1]
    assert core.core_correlation(seen, 0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("make", MAKERS)
def test_rich_club_is_weight_inside_over_the_largest(make) -> None:
    seen = make()
    club = ranking(seen)[: max(2, round(0.1 * seen.n_nodes))]
    weights = seen.dense() if seen.kind != "undirected" else np.triu(seen.dense())
    inside = weights[np.ix_(club, club)]
    largest = np.sort(weights.ravel())[::-1][: (inside > 0).sum()]
    expected = inside.sum() / largest.sum() if len(largest) else 0.0
    assert core.rich_club(seen, 0) == pytest.approx(expected, abs=1e-9)


def test_a_planted_core_is_found() -> None:
    rng = np.random.default_rng(0)
    member = np.arange(40) < 8
    weights = np.triu(rng.uniform(0.9, 1.1, size=(40, 40)) * (1 + 20 * np.outer(member, member)), 1)
    seen = view(ComputationalGraph.from_matrix(weights + weights.T))
    assert core.core_share(seen, 0) == pytest.approx(0.2)
    assert core.core_correlation(seen, 0) > 0.99


def test_equal_weights_have_no_core() -> None:
    with pytest.raises(UndefinedError):
        core.core_correlation(view(ComputationalGraph.from_matrix(np.ones((6, 6)))), 0)
