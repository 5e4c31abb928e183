"""Independent and non-negative components: planted sources are found, in scikit-learn's own reconstruction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.dictionaries import SiteRows, ica, nmf
from compgraph.errors import DataError
from tests.models.tiny import tiny_network

N, ROWS = 4, 1500


@pytest.fixture(scope="module")
def net():
    return tiny_network("gpt2", dtype=torch.float64)


def mixed(net, sources, seed=0):
    rng = np.random.default_rng(seed)
    width = net.architecture.site("mlp.0").n_units
    mixing = np.abs(rng.normal(size=(N, width))) * (rng.random((N, width)) < 0.3)
    return sources @ mixing, mixing / np.linalg.norm(mixing, axis=1, keepdims=True)


def test_independent_sources_are_found(net):
    sources = np.random.default_rng(1).laplace(size=(ROWS, N))
    rows, mixing = mixed(net, sources)
    one = ica(SiteRows(rows + 3, net, "mlp.0"), N)
    directions = one.rows.numpy() / np.linalg.norm(one.rows, axis=1, keepdims=True)
    assert (np.abs(directions @ mixing.T).max(0) > 0.99).all()
    x = torch.from_numpy(rows + 3)
    features = one.encode(x)
    torch.testing.assert_close(one.decode(features), x, rtol=0, atol=1e-8)
    np.testing.assert_allclose(features.numpy().std(0), 1, atol=1e-8)
    np.testing.assert_allclose(features.numpy().mean(0), 0, atol=1e-8)
    assert (np.diff(np.linalg.norm(one.rows, axis=1)) <= 0).all()
    again = ica(SiteRows(rows + 3, net, "mlp.0"), N)
    assert one.digest == again.digest


def test_non_negative_factors_are_found(net):
    sources = np.random.default_rng(1).exponential(size=(ROWS, N)) * (np.random.default_rng(2).random((ROWS, N)) < 0.4)
    rows, mixing = mixed(net, sources)
    one = nmf(SiteRows(rows, net, "mlp.0"), N)
    assert ((one.rows.numpy() @ mixing.T).max(0) > 0.98).all() and (one.rows >= 0).all()
    x = torch.from_numpy(rows)
    missing = (one.decode(one.encode(x)) - x).square().sum() / x.square().sum()
    assert float(missing) < 0.02 and (one.encode(x) >= 0).all()


def test_what_cannot_be_factored_is_refused(net):
    rows, _ = mixed(net, np.random.default_rng(1).laplace(size=(ROWS, N)))
    with pytest.raises(DataError, match=r"values below zero hold 5\d% of the squared length"):
        nmf(SiteRows(rows - rows.mean(0), net, "mlp.0"), N)
    with pytest.raises(DataError, match="the data have rank 4"):
        ica(SiteRows(rows, net, "mlp.0"), N + 1)
    with pytest.raises(DataError, match="n_components is 1000; it must be from 1 to its width"):
        ica(SiteRows(rows, net, "mlp.0"), 1000)
    with pytest.raises(DataError, match="4 rows for 4 components"):
        nmf(SiteRows(np.abs(rows[:4]), net, "mlp.0"), N)
    with pytest.raises(DataError, match="no convergence in 1 iterations"):
        ica(SiteRows(rows, net, "mlp.0"), N, max_iter=1)


def test_a_sample_stands_for_many_rows(net, monkeypatch):
    monkeypatch.setattr("compgraph.dictionaries.components.SAMPLE", 700)
    rows, mixing = mixed(net, np.random.default_rng(1).laplace(size=(ROWS, N)))
    one = ica(SiteRows(rows, net, "mlp.0"), N)
    directions = one.rows.numpy() / np.linalg.norm(one.rows, axis=1, keepdims=True)
    assert (np.abs(directions @ mixing.T).max(0) > 0.97).all()
