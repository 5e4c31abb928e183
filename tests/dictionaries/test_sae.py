"""Training: planted features are found, checkpoints continue to the same bytes, normalisation leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.dictionaries import SaeSettings, SiteRows, train_sae
from compgraph.dictionaries import sae as module
from compgraph.errors import DataError
from tests.models.tiny import tiny_network

PLANTED = 24


@pytest.fixture(scope="module")
def net():
    return tiny_network("gpt2", dtype=torch.float32)


@pytest.fixture(scope="module")
def planted(net):
    """Rows of the MLP's units: sparse sums of known directions, far from zero and small."""
    rng = np.random.default_rng(0)
    width = net.architecture.site("mlp.0").n_units
    directions = rng.normal(size=(PLANTED, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    codes = np.zeros((6000, PLANTED))
    active = rng.integers(0, PLANTED, (6000, 3))
    codes[np.arange(6000)[:, None], active] = 0.5 + rng.exponential(size=(6000, 3))
    rows = 0.01 * (codes @ directions) + 0.3
    return rows.astype(np.float32), directions


SETTINGS = {
    "topk": {"k": 3},
    "batch-topk": {"k": 3},
    "relu": {"sparsity": 8.0},
    "jumprelu": {"sparsity": 6.0, "learning_rate": 0.005},
    "gated": {"sparsity": 8.0},
}


@pytest.mark.parametrize("activation", SETTINGS)
def test_planted_features_are_found(net, planted, activation):
    rows, directions = planted
    settings = SaeSettings(
        activation, 2 * PLANTED, n_rows=240_000, batch_size=300, revive_every=20_000, **SETTINGS[activation]
    )
    one, trace = train_sae(SiteRows(rows, net, "mlp.0"), settings)
    likeness = one.rows.numpy() @ directions.T
    # A jumprelu learns its thresholds late: it has not yet told apart all of them.
    assert np.mean(likeness.max(0) > 0.9) > (0.8 if activation != "jumprelu" else 0.3)
    np.testing.assert_allclose(np.linalg.norm(one.rows, axis=1), 1, atol=1e-5)
    x = torch.from_numpy(rows)
    features = one.encode(x)
    missing = (one.decode(features) - x).square().sum()
    explained = 1 - float(missing / (x - x.mean(0)).square().sum())
    assert explained > (0.6 if activation == "relu" else 0.8)
    assert explained == pytest.approx(trace["explained_variance"].iloc[-1], abs=0.03)
    assert float((features > 0).float().sum(1).mean()) == pytest.approx(trace["l0"].iloc[-1], rel=0.25)
    assert one.site == "mlp.0" and one.model == (net.digest or None)
    assert list(trace["rows"]) == sorted(trace["rows"]) and trace["rows"].iloc[-1] == 240_000


def same(one, other):
    return one.digest == other.digest


@pytest.mark.parametrize("activation", ["batch-topk", "gated"])
def test_a_stopped_training_goes_on_to_the_same_bytes(net, planted, tmp_path, monkeypatch, activation):
    monkeypatch.setattr(module, "CHECKPOINT_ROWS", 3000)
    rows = SiteRows(planted[0], net, "mlp.0", "write")
    settings = SaeSettings(activation, 20, n_rows=20_000, batch_size=256, revive_every=2000)
    whole, trace = train_sae(rows, settings)
    again, _ = train_sae(rows, settings, tmp_path / "unbroken")
    assert same(whole, again)
    step, done = module._Training._step, []

    def stop(self, x, bar):
        if len(done) == 40:
            raise KeyboardInterrupt
        done.append(len(x))
        step(self, x, bar)

    monkeypatch.setattr(module._Training, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        train_sae(rows, settings, tmp_path / "broken")
    monkeypatch.setattr(module._Training, "_step", step)
    continued, continued_trace = train_sae(rows, settings, tmp_path / "broken")
    assert same(whole, continued) and trace.equals(continued_trace)
    other, _ = train_sae(rows, SaeSettings(activation, 20, n_rows=20_000, batch_size=256, seed=1), tmp_path / "broken")
    assert not same(whole, other)  # another training does not take up this one's state


def test_dead_features_start_again(net, planted):
    rows = SiteRows(planted[0], net, "mlp.0")
    run = module._Training(rows, SaeSettings("topk", 20, k=3, n_rows=3000, batch_size=300, revive_every=0))
    run.train(None)
    run.settings = SaeSettings("topk", 20, k=3, n_rows=3000, batch_size=300, revive_every=1000)
    state = run.state
    before = {name: value.clone() for name, value in state.parameters.items()}
    x = (torch.from_numpy(planted[0][:100]) - run.mean.float()) * run.scale
    missing = -run.objective.errors(state.parameters, x).clone()
    state.silent[:] = 0
    state.silent[[4, 7]] = 1000
    run._revive(x)
    for feature in range(20):
        new, old = state.parameters["rows"][feature], before["rows"][feature]
        assert torch.equal(new, old) == (feature not in (4, 7))
        if feature in (4, 7):
            likeness = torch.nn.functional.cosine_similarity(missing, new[None])
            assert likeness.max() > 0.999 and new.norm() == pytest.approx(1, abs=1e-5)
    for known in state.moments():
        assert (known["encoder"][[4, 7]] == 0).all() and (known["encoder"][[3, 8]] != 0).any()
    assert state.since.revived == 2 and int(state.silent.max()) == 0


def test_rows_left_out_change_nothing(net, planted):
    rows = planted[0][:600]
    keep = np.arange(len(rows)) % 3 > 0
    spoiled = rows.copy()
    spoiled[~keep] = 1e6
    settings = SaeSettings("topk", 12, k=2, n_rows=2000, batch_size=100)
    found = [train_sae(SiteRows(x, net, "mlp.0", "hidden", keep), settings)[0] for x in (rows, spoiled)]
    assert same(*found)


def test_what_cannot_be_trained_is_refused(net, planted):
    rows = planted[0][:50]
    with pytest.raises(DataError, match="activation 'relo' is not known; valid are relu, topk"):
        SaeSettings("relo")
    with pytest.raises(DataError, match="k is 0; it must be at least 1"):
        SaeSettings(k=0)
    with pytest.raises(DataError, match="k is 9, and there are 8 features"):
        train_sae(SiteRows(rows, net, "mlp.0"), SaeSettings("topk", 8, k=9))
    with pytest.raises(DataError, match="rows that do not vary"):
        train_sae(SiteRows(np.ones_like(rows), net, "mlp.0"), SaeSettings("relu"))
    with pytest.raises(DataError, match="not finite"):
        train_sae(SiteRows(np.full_like(rows, np.nan), net, "mlp.0"), SaeSettings("relu"))


