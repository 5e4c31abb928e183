from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from compgraph.communities import adjusted_rand
from compgraph.errors import DataError
from compgraph.rois.kmeans import find
from tests.communities.graphs import groups
from tests.rois.recordings import factor_signals


def test_correlations_stand_for_the_standardised_signals() -> None:
    signals = factor_signals(200, groups(24, 4), seed=0)
    standard = ((signals - signals.mean(0)) / signals.std(0)).T
    expected = KMeans(4, n_init=10, random_state=0).fit_predict(standard)
    found = find(np.corrcoef(signals.T), 4, 0)
    assert adjusted_rand(found, expected) == 1
    assert adjusted_rand(found, groups(24, 4)) == 1


def test_the_number_must_be_given() -> None:
    with pytest.raises(DataError, match="n_rois"):
        find(np.eye(3), None, 0)
