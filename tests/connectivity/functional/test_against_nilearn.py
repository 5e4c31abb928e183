"""The same numbers as nilearn's, which users of functional imaging know."""

from __future__ import annotations

import numpy as np
import pytest
from nilearn.connectome import ConnectivityMeasure
from scipy import stats
from sklearn.covariance import EmpiricalCovariance, LedoitWolf

from .test_methods import activations, close, run, upper, wide


@pytest.mark.parametrize(
    ("method", "options", "kind", "estimator"),
    [
        ("pearson", {}, "correlation", EmpiricalCovariance(store_precision=False)),
        ("covariance", {}, "covariance", EmpiricalCovariance(store_precision=False)),
        ("partial", {"estimator": "empirical"}, "partial correlation", EmpiricalCovariance(store_precision=False)),
        ("partial", {"estimator": "ledoit-wolf"}, "partial correlation", LedoitWolf(store_precision=False)),
    ],
)
def test_nilearn_agrees(method: str, options: dict, kind: str, estimator: object) -> None:
    values = wide(activations())
    scaled = values if method == "covariance" else stats.zscore(values)
    measure = ConnectivityMeasure(cov_estimator=estimator, kind=kind, standardize=False)
    wanted = measure.fit_transform([scaled])[0]
    close(run(method, **options).weight, upper(np.asarray(wanted)), 1e-8)
