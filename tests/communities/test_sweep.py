from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import resolution_sweep
from compgraph.errors import ConfigError
from tests.communities.graphs import positive


def test_planted_communities_are_stable_over_resolutions() -> None:
    table = resolution_sweep(positive(40, 4, 6.0, seed=0), (0.8, 0.9, 1.0, 3.0), n_runs=4, n_nulls=19)
    assert table["n"].tolist()[:3] == [4, 4, 4]
    assert table["stability"][1] == 1
    assert table["stability"][3] < 1
    assert (table["p"][:3] == 0.05).all()
    assert (table["q"] >= table["p"]).all()


def test_without_nulls_nobody_knows() -> None:
    table = resolution_sweep(positive(10, 2, 6.0, seed=0), (1.0,), n_runs=2, n_nulls=0)
    assert np.isnan(table["p"][0]) and np.isnan(table["stability"][0])


def test_what_cannot_be_swept_is_refused() -> None:
    graph = positive(5, 1, 1.0, seed=0)
    with pytest.raises(ConfigError, match="'infomap' has no resolution"):
        resolution_sweep(graph, method="infomap")
    with pytest.raises(ValueError, match="must increase"):
        resolution_sweep(graph, (1.0, 1.0))
