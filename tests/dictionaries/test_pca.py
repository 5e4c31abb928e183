"""Principal components against numpy's, from arrays and from buffers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.data.buffer_writer import record_activations
from compgraph.dictionaries import attach, pca
from compgraph.errors import DataError, ModelError
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network


@pytest.fixture(scope="module")
def net():
    return tiny_network("gpt2", dtype=torch.float64)


def rows_of(net, n=200, seed=0, site="mlp.0"):
    rng = np.random.default_rng(seed)
    width = net.architecture.site(site).n_units
    return rng.normal(size=(n, width)) * np.linspace(1, 3, width) + rng.normal(size=width)


@pytest.mark.parametrize("centred", [True, False])
def test_axes_are_those_of_a_singular_value_decomposition(net, centred):
    rows = rows_of(net)
    one = pca(rows, net, "mlp.0", n_components=5, centred=centred)
    mean = rows.mean(0) if centred else np.zeros(rows.shape[1])
    axes = np.linalg.svd(rows - mean, full_matrices=False)[2][:5]
    got = one.rows.numpy()
    np.testing.assert_allclose(np.abs((got * axes).sum(1)), 1, atol=1e-10)
    assert (np.take_along_axis(got, np.abs(got).argmax(1)[:, None], 1) > 0).all()
    np.testing.assert_allclose(one.encode(torch.from_numpy(rows)).numpy(), (rows - mean) @ got.T, atol=1e-10)
    assert (one.bias is None) == (not centred) and not one.complete and one.n_units == 5 + rows.shape[1]


def test_all_components_leave_no_error(net):
    rows = rows_of(net)
    one = pca(rows, net, "mlp.0")
    assert one.complete and one.n_units == rows.shape[1]
    np.testing.assert_allclose((one.rows @ one.rows.T).numpy(), np.eye(one.width), atol=1e-10)


class Chunks:
    """What `pca` asks of an activation buffer."""

    def __init__(self, rows, size):
        self.rows, self.n_rows, self.chunk_rows = rows, len(rows), size
        self.n_chunks = -(-len(rows) // size)

    def units(self, site):
        return self.rows.shape[1]

    def read(self, site, rows):
        assert rows.start % self.chunk_rows == 0 and rows.stop - rows.start <= self.chunk_rows
        return self.rows[rows]

    def chunks(self, site):
        raise AssertionError("chunks are read by number")


@pytest.mark.parametrize("space", ["hidden", "write"])
def test_chunks_do_not_matter_and_writes_are_the_network_s(net, space):
    rows = rows_of(net)
    whole = pca(rows, net, "mlp.0", space)
    for size in (1, 7, 64):
        np.testing.assert_allclose(pca(Chunks(rows, size), net, "mlp.0", space).rows, whole.rows, atol=1e-9)
    if space == "write":
        np.testing.assert_allclose(whole.bias.numpy(), net.write("mlp.0", torch.from_numpy(rows)).mean(0), atol=1e-10)


def test_of_a_recorded_buffer(net, tmp_path):
    buffer = record_activations(net, make_pairs(n=5), tmp_path / "buffer.json", sites=["mlp.1"])
    one = pca(buffer, net, "mlp.1", n_components=3)
    expected = pca(buffer.read("mlp.1"), net, "mlp.1", n_components=3)
    np.testing.assert_allclose(one.rows, expected.rows, atol=1e-9)
    assert attach(net, {"mlp.1": one}).architecture.site("mlp.1").n_features == 3


def test_what_cannot_be_fitted_is_refused(net):
    rows = rows_of(net)
    with pytest.raises(ModelError, match=r"no dictionary can be at site 'embed'; it can be at attn\.0"):
        pca(rows, net, "embed")
    with pytest.raises(DataError, match=r"shape \(200, 95\); they must be \[rows, 96\]"):
        pca(rows[:, 1:], net, "mlp.0")
    with pytest.raises(DataError, match="n_components is 97; it must be from 1 to its width 96"):
        pca(rows, net, "mlp.0", n_components=97)
    with pytest.raises(DataError, match="hold 1 rows; at least 2"):
        pca(rows[:1], net, "mlp.0")
    rows[3, 3] = np.nan
    with pytest.raises(DataError, match="not finite"):
        pca(rows, net, "mlp.0")
