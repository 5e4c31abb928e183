from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand
from compgraph.communities.consensus import agreement_matrix, consensus
from tests.communities.graphs import groups


def test_equal_runs_are_their_own_consensus() -> None:
    assert consensus([[1, 1, 0, -1], [0, 0, 2, -1]]).tolist() == [0, 0, 1, -1]


def test_noise_of_single_runs_averages_out() -> None:
    rng = np.random.default_rng(0)
    truth = groups(60, 3)
    runs = [np.where(rng.random(60) < 0.4, rng.integers(3, size=60), truth) for _ in range(20)]
    assert adjusted_rand(consensus(runs), truth) > max(adjusted_rand(run, truth) for run in runs)


def test_agreement_is_the_share_of_runs() -> None:
    matrix = agreement_matrix([[0, 0, 1, -1], [0, 1, 1, -1]])
    assert matrix[:3, :3].tolist() == [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]]
    assert not matrix[3].any()


@pytest.mark.parametrize("given", [[], [[0, 1], [0, 1, 1]], [[0, -1], [0, 0]]])
def test_partitions_of_different_nodes_are_refused(given: list) -> None:
    with pytest.raises(ValueError, match="consensus needs"):
        consensus(given)
