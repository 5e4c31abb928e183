from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from compgraph.communities import adjusted_rand
from compgraph.rois.kmeans import find
from tests.communities.graphs import groups
from tests.rois.recordings import factor_signals, units


def test_correlations_stand_for_the_standardised_signals() -> None:
    signals = factor_signals(200, groups(24, 4), seed=0)
    standard = ((signals - signals.mean(0)) / signals.std(0)).T
    expected = KMeans(4, n_init=10, random_state=0).fit_predict(standard)
    assert adjusted_rand(find(units(signals), 4, 0), expected) == 1


def test_in_a_range_the_silhouette_of_the_signals_chooses() -> None:
    signals = factor_signals(200, groups(24, 4), seed=0)
    standard = ((signals - signals.mean(0)) / signals.std(0)).T
    divisions = [KMeans(k, n_init=10, random_state=0).fit_predict(standard) for k in range(2, 7)]
    best = max(divisions, key=lambda labels: silhouette_score(standard, labels))
    assert len(np.unique(best)) == 4
    assert adjusted_rand(find(units(signals), (2, 6), 0), best) == 1
