from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import find_communities, louvain
from compgraph.errors import ConfigError
from tests.communities.graphs import layered, positive, transformer


def test_methods_are_found_by_name() -> None:
    graph = positive(20, 2, 4.0, seed=0)
    by_name = find_communities(graph, "louvain", seed=3, n_runs=2)
    assert np.array_equal(by_name.labels, louvain.find(graph, seed=3, n_runs=2).labels)
    assert by_name.method == "louvain"
    assert find_communities(layered(transformer(), 0)[0], "leiden-layered", n_runs=1).method == "leiden-layered"


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'luvain' is not known; valid are .*louvain.*leiden-layered"):
        find_communities(positive(5, 1, 1.0, seed=0), "luvain")
