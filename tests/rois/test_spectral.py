from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import laplacian
from sklearn.cluster import SpectralClustering

from compgraph.communities import adjusted_rand
from compgraph.rois.spectral import eigengap, find
from tests.communities.graphs import groups
from tests.rois.recordings import factor_signals, units


def test_it_is_the_clustering_of_scikit_learn_on_positive_correlations() -> None:
    signals = factor_signals(80, groups(30, 3), seed=0, noise=1.5)
    affinity = np.maximum(np.corrcoef(signals.T), 0)
    np.fill_diagonal(affinity, 0)
    expected = SpectralClustering(3, affinity="precomputed", random_state=1).fit_predict(affinity)
    assert adjusted_rand(find(units(signals), 3, 1, graph="correlation"), expected) == 1


def test_the_eigengap_is_that_of_the_normalised_laplacian() -> None:
    rng = np.random.default_rng(0)
    affinity = rng.uniform(size=(12, 12))
    affinity = affinity + affinity.T + 8 * (groups(12, 4)[:, None] == groups(12, 4))
    np.fill_diagonal(affinity, 0)
    values = np.linalg.eigvalsh(laplacian(affinity, normed=True))
    gaps = np.diff(values)
    assert 1 + eigengap(affinity, 1, 6) == 1 + int(np.argmax(gaps[:6]))
    assert 3 + eigengap(affinity, 3, 6) == 4
