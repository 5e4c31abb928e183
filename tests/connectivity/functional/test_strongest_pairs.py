"""The strongest pairs found block by block are those of the whole matrix, and the file holds all of them."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.connectivity.blockwise.score_matrix import open_score_matrix
from compgraph.errors import DataError

from .test_methods import PARTS, activations, close, run, wide


@pytest.mark.parametrize("budget", [10**9, 8 * 8 * 8])
@pytest.mark.parametrize("options", [{}, {"positions": (2, 9), "confounds": ["task"]}, {"partition": PARTS}])
def test_strongest_of_every_node(monkeypatch: pytest.MonkeyPatch, budget: int, options: dict) -> None:
    monkeypatch.setattr("compgraph.connectivity.functional.site_blocks.BUDGET", budget)
    whole, kept = run("pearson", **options), run("pearson", keep=2, **options)
    r = np.abs(whole.matrix(signed=True))
    top = np.argsort(-r, axis=1)[:, :2]
    wanted = {tuple(sorted((i, int(j)))) for i in range(len(r)) for j in top[i]}
    assert list(zip(kept.source, kept.target, strict=True)) == sorted(wanted)
    at = [k for k, pair in enumerate(zip(whole.source, whole.target, strict=True)) if pair in wanted]
    close(kept.weight, whole.weight[at])
    close(kept.columns["z"], whole.columns["z"][at], 1e-8)
    assert (kept.columns["p_adjusted"] >= whole.columns["p_adjusted"][at] - 1e-12).all()
    assert kept.attributes["pairs"] == whole.n_edges


def test_all_correlations_in_a_file(tmp_path) -> None:
    data = activations()
    run("pearson", data, keep=1, matrix=tmp_path / "r.json")
    stored = open_score_matrix(tmp_path / "r.json")
    r = np.corrcoef(wide(data).T)
    for a, b, wanted in (("mlp.0", "mlp.0", r[:8, :8]), ("mlp.0", "mlp.1", r[:8, 8:]), ("mlp.1", "mlp.1", r[8:, 8:])):
        found = stored.between(a, b)
        off = ~np.eye(len(found), found.shape[1], dtype=bool) if a == b else np.ones(found.shape, bool)
        close(found[off], wanted[off], 1e-6)
    with pytest.raises(DataError, match="matrix writes correlations that are not kept"):
        run("pearson", data, matrix=tmp_path / "x.json")


def test_constant_units_are_no_nodes() -> None:
    data = activations()
    data["mlp.0"][:, 2] = 1.0
    graph = run("pearson", data, keep=3)
    assert graph.attributes["excluded_nodes"] == ["mlp.0/neuron.2"] and graph.n_nodes == 13
