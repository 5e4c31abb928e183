from __future__ import annotations

import pytest
from sklearn.cluster import AgglomerativeClustering

from compgraph.communities import adjusted_rand
from compgraph.rois.ward import find
from tests.communities.graphs import groups
from tests.rois.recordings import factor_signals, units


@pytest.mark.parametrize("n_rois", [1, 2, 5, 24])
def test_it_is_the_agglomeration_of_scikit_learn(n_rois: int) -> None:
    signals = factor_signals(60, groups(24, 4), seed=0, noise=2)
    standard = ((signals - signals.mean(0)) / signals.std(0)).T
    expected = AgglomerativeClustering(n_rois, linkage="ward").fit_predict(standard)
    assert adjusted_rand(find(units(signals), n_rois, 0), expected) == 1
