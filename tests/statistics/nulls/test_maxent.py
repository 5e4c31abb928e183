from __future__ import annotations

import numpy as np
import pytest

from compgraph.statistics.nulls import maxent as module
from compgraph.statistics.nulls.maxent import maxent, probabilities
from compgraph.statistics.nulls.sampling import edge_weights
from compgraph.statistics.view import UndefinedError, view
from tests.statistics.graphs import cyclic, scores, sparse, thinned

GRAPHS = [lambda: thinned(0.3), lambda: thinned(0.8), scores, lambda: view(sparse()), lambda: view(cyclic())]


@pytest.mark.parametrize("make", GRAPHS)
def test_mean_degrees_are_the_degrees_and_odds_factor(make) -> None:
    seen = make()
    chance = probabilities(seen)
    source, target, _ = seen.ordered
    n = seen.n_nodes
    assert chance.sum(axis=1) == pytest.approx(np.bincount(source, minlength=n), abs=1e-7)
    assert chance.sum(axis=0) == pytest.approx(np.bincount(target, minlength=n), abs=1e-7)
    assert (chance[~seen.allowed.matrix] == 0).all()
    free = (chance > 1e-6) & (chance < 1 - 1e-6)
    logit = np.where(free, np.log(chance, where=free, out=np.zeros_like(chance)) - np.log1p(-chance * free), np.nan)
    # p / (1 - p) = x y: log odds of any rectangle of free pairs cancel.
    for u, w in ((3, 8), (5, 9)):
        columns = np.flatnonzero(free[u] & free[w])
        if len(columns) > 1:
            gaps = logit[u, columns] - logit[w, columns]
            assert np.ptp(gaps) < 1e-6


@pytest.mark.parametrize("make", GRAPHS)
def test_samples_have_the_degrees_on_average_and_weights_of_the_graph(make) -> None:
    seen = make()
    draw, rng = maxent(seen), np.random.default_rng(0)
    drawn = [draw(rng) for _ in range(200)]
    chance = probabilities(seen)
    mean = np.mean([one.dense() > 0 for one in drawn], axis=0)
    spread = np.sqrt(chance * (1 - chance) / 200)
    assert (np.abs(mean - chance) <= 5 * spread + 1e-7).all()
    assert set(drawn[0].signed.tolist()) <= set(edge_weights(seen).tolist())


def test_large_graphs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DENSE_NODES", 5)
    with pytest.raises(UndefinedError, match="use swap"):
        maxent(scores())
