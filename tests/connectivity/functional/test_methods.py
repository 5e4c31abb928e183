"""Every method against an independent computation, over rows in items, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import signal, stats
from sklearn import covariance as sk
from sklearn.feature_selection import mutual_info_regression

from compgraph.connectivity.functional import functional_connectivity
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition

from .recordings import Memory

ITEMS, LENGTH = 40, 16
SIZES = {"mlp.0": 8, "mlp.1": 6}


def table(items: int = ITEMS, length: int = LENGTH) -> pd.DataFrame:
    item = np.repeat(np.arange(items), length)
    position = np.tile(np.arange(length), items)
    task = np.array(["a", "b", "c", "d"])[item % 4]
    return pd.DataFrame({"item": item, "position": position, "task": task, "token": (item * 7 + position * 3) % 11})


def activations(items: int = ITEMS, length: int = LENGTH, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = items * length
    factors = signal.lfilter([1], [1, -0.6], rng.normal(size=(rows, 3)), axis=0)
    noise = {site: signal.lfilter([1], [1, -0.4], rng.normal(size=(rows, n)), axis=0) for site, n in SIZES.items()}
    return {site: factors @ rng.normal(size=(3, n)) + noise[site] + rng.normal(size=n) for site, n in SIZES.items()}


def units(data: dict[str, np.ndarray]) -> Partition:
    return Partition.from_labels({s: np.arange(x.shape[1]) for s, x in data.items()}, prefix="neuron")


def wide(data: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate(list(data.values()), axis=1)


def upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def run(method: str, data: dict[str, np.ndarray] | None = None, chunk: int = 7, **options) -> ComputationalGraph:
    data = activations() if data is None else data
    part = options.pop("partition", None) or units(data)
    return functional_connectivity(Memory(data, chunk, table()), part, method, **options)


PARTS = Partition.from_labels({"mlp.0": [0, 1, 0, 1, 1, 0, 0, 1], "mlp.1": [0, 0, 1, 1, 1, 1]})


def close(found: np.ndarray, wanted: np.ndarray, atol: float = 1e-10) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("covariance", {}),
        ("spearman", {}),
        ("partial", {}),
        ("partial", {"estimator": "graphical-lasso"}),
        ("mutual-information", {}),
        ("lagged", {}),
        ("coherence", {}),
        ("cka", {}),
        ("cca", {}),
        ("rsa", {}),
        ("coactivation", {}),
        ("pearson", {"confounds": ["position", "token-frequency"], "winsorise": 0.05, "positions": (2, 14)}),
        ("pearson", {"part": "between"}),
    ],
)
def test_chunks_do_not_matter_and_the_same_input_gives_the_same_bytes(method: str, options: dict) -> None:
    one, other = run(method, chunk=1000, **options), run(method, chunk=3, **options)
    close(one.weight, other.weight, 1e-9 if options.get("estimator") == "graphical-lasso" else 1e-11)
    assert run(method, chunk=1000, **options).weight.tobytes() == one.weight.tobytes()
    assert one.attributes["method"] == method and one.kind == "functional" and not one.directed


def test_covariance() -> None:
    data = activations()
    close(run("covariance", data).weight, upper(np.cov(wide(data).T, bias=True)))
    means = np.stack([data[s][:, PARTS.labels[s] == k].mean(axis=1) for s in SIZES for k in (0, 1)])
    close(run("covariance", data, partition=PARTS).weight, upper(np.cov(means, bias=True)))


def test_spearman_with_ties() -> None:
    data = {site: np.round(x) for site, x in activations().items()}
    graph = run("spearman", data)
    close(graph.weight, upper(stats.spearmanr(wide(data)).statistic))
    assert graph.attributes["ranks"] == "exact"


def test_sketched_ranks_say_so_and_come_close(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = run("spearman")
    for name, value in (("SAMPLE", 400), ("EXACT_BYTES", 10)):
        monkeypatch.setattr(f"compgraph.connectivity.functional.ranks.{name}", value)
    sketched = run("spearman")
    assert sketched.attributes["ranks"] == "sketched"
    assert 0 < np.abs(sketched.weight - exact.weight).max() < 0.02


@pytest.mark.parametrize(("estimator", "reference"), [("ledoit-wolf", sk.ledoit_wolf), ("oas", sk.oas)])
def test_shrunk_partial_correlation_is_scikit_learns(estimator: str, reference) -> None:
    data = {site: x[:30] for site, x in activations().items()}
    graph = functional_connectivity(Memory(data), units(data), "partial", estimator=estimator)
    scaled = stats.zscore(wide(data))
    shrunk, share = reference(scaled, assume_centered=True)
    precision = np.linalg.inv(shrunk)
    scale = np.sqrt(np.diag(precision))
    close(graph.weight, upper(-precision / np.outer(scale, scale)))
    assert graph.attributes["shrinkage"] == pytest.approx(share, abs=1e-12) and share > 0.01
    assert "p" not in graph.columns


def test_empirical_partial_correlation_is_that_of_residuals() -> None:
    data = activations()
    graph = run("partial", data, estimator="empirical", samples="rows")
    x = wide(data) - wide(data).mean(axis=0)
    rest = np.delete(x, [0, 1], axis=1)
    left = x[:, :2] - rest @ np.linalg.lstsq(rest, x[:, :2], rcond=None)[0]
    r = np.corrcoef(left.T)[0, 1]
    assert graph.weight[0] == pytest.approx(r, abs=1e-10)
    z = np.arctanh(r) * np.sqrt(len(x) - 3 - 12)
    assert graph.columns["z"][0] == pytest.approx(z, abs=1e-8)


def test_graphical_lasso_is_scikit_learns_and_reports_its_path() -> None:
    data = activations()
    graph = run("partial", data, estimator="graphical-lasso", penalty=0.1)
    precision = sk.graphical_lasso(np.corrcoef(wide(data).T), 0.1, tol=1e-4, enet_tol=1e-6, max_iter=200)[1]
    scale = np.sqrt(np.diag(precision))
    close(graph.weight, upper(-precision / np.outer(scale, scale)), 1e-6)
    path = run("partial", data, estimator="graphical-lasso").attributes["path"]
    assert [entry["edges"] for entry in path] == sorted(entry["edges"] for entry in path)


def test_a_precision_that_cannot_be_estimated() -> None:
    few = {site: x[:10] for site, x in activations().items()}
    with pytest.raises(
        DataError, match="14 nodes cannot be estimated from 10 free rows; use the estimator ledoit-wolf"
    ):
        functional_connectivity(Memory(few), units(few), "partial", estimator="empirical")
    twice = activations()
    twice["mlp.1"][:, 0] = twice["mlp.0"][:, 0] + twice["mlp.0"][:, 1]
    with pytest.raises(DataError, match="some nodes are combinations of others"):
        run("partial", twice, estimator="empirical")
    assert np.isfinite(run("partial", twice).weight).all()


def test_gaussian_mutual_information() -> None:
    data = {"mlp.0": np.exp(activations()["mlp.0"])}
    graph = run("mutual-information", data)
    scores = stats.norm.ppf((stats.rankdata(data["mlp.0"], axis=0) - 0.5) / len(data["mlp.0"]))
    close(graph.weight, upper(-0.5 * np.log(1 - np.corrcoef(scores.T) ** 2 + np.eye(8))))


def test_neighbour_mutual_information_sees_what_correlation_does_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    data = {"mlp.0": np.stack([x, x**2 + 0.1 * rng.normal(size=400), rng.normal(size=400)], axis=1)}
    graph = functional_connectivity(Memory(data), units(data), "mutual-information", estimator="nearest-neighbour")
    z = stats.zscore(data["mlp.0"])
    assert graph.weight[0] == pytest.approx(mutual_info_regression(z[:, :1], z[:, 1], random_state=0)[0], abs=0.02)
    assert graph.weight[0] > 0.5 > 0.1 > graph.weight[1]


def test_lagged_correlation_by_hand() -> None:
    data = activations()
    graph = run("lagged", data, lags=3)
    x = stats.zscore(wide(data)).reshape(ITEMS, LENGTH, -1)
    best = np.zeros((14, 14))
    lag = np.zeros((14, 14), int)
    for k in (0, 1, -1, 2, -2, 3, -3):
        near, far = (x[:, : LENGTH - k], x[:, k:]) if k >= 0 else (x[:, -k:], x[:, :k])
        r = np.einsum("ati,atj->ij", near, far) / (ITEMS * (LENGTH - abs(k)))
        better = np.abs(r) > np.abs(best)
        best[better], lag[better] = r[better], k
    close(graph.weight, upper(best))
    assert graph.columns["lag"].tolist() == upper(lag).tolist()


def test_lag_points_from_the_leader() -> None:
    rng = np.random.default_rng(0)
    lead = rng.normal(size=ITEMS * LENGTH)
    follow = np.roll(lead, 2)
    graph = run("lagged", {"mlp.0": np.stack([lead, follow, rng.normal(size=len(lead))], axis=1)})
    assert graph.columns["lag"][0] == 2 and graph.weight[0] > 0.9
    assert graph.columns["p_adjusted"][1:].min() > 0.01


def test_coherence_is_scipys() -> None:
    data = activations()
    graph = run("coherence", data, window=8, low=0.1, high=0.4)
    x = wide(data)
    frequencies, found = signal.coherence(x.T[:, None], x.T[None], window="hann", nperseg=8, noverlap=0)
    band = (frequencies > 0.1) & (frequencies <= 0.4)
    close(graph.weight, upper(found[..., band].mean(axis=-1)))
    assert graph.attributes["windows"] == ITEMS * 2


def rows_kernel(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=0)
    return x @ x.T


@pytest.mark.parametrize("debiased", [True, False])
def test_cka_from_kernels_over_rows(debiased: bool) -> None:
    data = activations()
    graph = run("cka", data, partition=PARTS, debiased=debiased)
    kernels = [rows_kernel(data[s][:, PARTS.labels[s] == k]) for s in SIZES for k in (0, 1)]

    def hsic(k: np.ndarray, other: np.ndarray) -> float:
        n = len(k)
        if not debiased:
            return (k * other).sum()
        k, other = k - np.diag(np.diag(k)), other - np.diag(np.diag(other))
        return (
            (k * other).sum()
            + k.sum() * other.sum() / ((n - 1) * (n - 2))
            - 2 / (n - 2) * k.sum(axis=0) @ other.sum(axis=0)
        )

    hsics = np.array([[hsic(a, b) for b in kernels] for a in kernels])
    own = np.sqrt(np.diag(hsics))
    close(graph.weight, upper(hsics / np.outer(own, own)))


def test_debiased_cka_of_independent_wide_nodes_is_near_zero() -> None:
    data = {f"mlp.{k}": np.random.default_rng(k).normal(size=(60, 300)) for k in range(2)}
    part = Partition.from_labels({site: [0] * 300 for site in data})
    biased = functional_connectivity(Memory(data), part, "cka", debiased=False).weight[0]
    assert biased > 0.7
    assert abs(functional_connectivity(Memory(data), part, "cka").weight[0]) < 0.05


def test_blocks_of_sites_in_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [run(method, partition=PARTS) for method in ("cka", "cca")]
    monkeypatch.setattr("compgraph.connectivity.functional.site_blocks.BUDGET", 8 * 8 * 8)
    for graph in whole:
        close(run(graph.attributes["method"], partition=PARTS).weight, graph.weight, 1e-12)
    monkeypatch.setattr("compgraph.connectivity.functional.site_blocks.BUDGET", 8)
    with pytest.raises(DataError, match=r"products of 8 units of 'mlp\.0' with 8"):
        run("cka", partition=PARTS)


def test_cca_from_orthonormal_bases() -> None:
    data = activations()
    graph = run("cca", data, partition=PARTS, debiased=False)
    bases = [
        np.linalg.qr(x - x.mean(axis=0))[0] for x in (data[s][:, PARTS.labels[s] == k] for s in SIZES for k in (0, 1))
    ]
    wanted = np.array([[((a.T @ b) ** 2).sum() / min(a.shape[1], b.shape[1]) for b in bases] for a in bases])
    close(graph.weight, upper(wanted))


def test_cca_of_independent_nodes_is_unbiased_and_needs_rows() -> None:
    part = Partition.from_labels({"mlp.0": [0] * 10, "mlp.1": [0] * 6})
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        data = {"mlp.0": rng.normal(size=(40, 10)), "mlp.1": rng.normal(size=(40, 6))}
        found.append(functional_connectivity(Memory(data, 40), part, "cca").weight[0])
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)
    few = {site: x[:16] for site, x in data.items()}
    with pytest.raises(DataError, match="needs more than 16 free rows, and there are 15"):
        functional_connectivity(Memory(few), part, "cca")


def test_rsa_from_distances_between_items() -> None:
    data = activations()
    graph = run("rsa", data, partition=PARTS, permutations=49)
    means = [data[s][:, PARTS.labels[s] == k].reshape(ITEMS, LENGTH, -1).mean(axis=1) for s in SIZES for k in (0, 1)]
    flat = [upper(np.sqrt(((m[:, None] - m[None]) ** 2).sum(axis=-1))) for m in means]
    close(graph.weight, upper(stats.spearmanr(np.array(flat).T).statistic))
    assert graph.columns["p"].min() == pytest.approx(0.02)


@pytest.mark.parametrize("measure", ["phi", "pmi", "lift"])
def test_coactivation_by_counting(measure: str) -> None:
    data = {site: np.maximum(x - 2, 0) for site, x in activations().items()}
    graph = run("coactivation", data, measure=measure, samples="rows")
    on = wide(data) > 0
    share, joint = on.mean(axis=0), (on.T.astype(float) @ on) / len(on)
    if measure == "phi":
        wanted = np.corrcoef(on.T)
    else:
        with np.errstate(divide="ignore"):
            wanted = np.log(joint / np.outer(share, share)) if measure == "pmi" else joint / np.outer(share, share)
    close(graph.weight, upper(wanted)[upper(joint) > 0])
    phi = np.corrcoef(on.T)[graph.source, graph.target]
    close(graph.columns["z"], np.arctanh(phi) * np.sqrt(len(on) - 3), 1e-8)


def test_runs_of_activity_count_less() -> None:
    data = {"mlp.0": (activations()["mlp.0"] > 1).astype(float)}
    sparse, dense = run("coactivation", data), run("pearson", data)
    place = {(s, t): k for k, (s, t) in enumerate(zip(dense.source, dense.target, strict=True))}
    at = [place[pair] for pair in zip(sparse.source, sparse.target, strict=True)]
    close(sparse.columns["effective_n"], dense.columns["effective_n"][at], 1e-8)
    assert sparse.columns["effective_n"].max() < ITEMS * LENGTH * 0.95


def test_coactivation_of_groups_is_any_unit() -> None:
    data = {site: np.maximum(x - 2, 0) for site, x in activations().items()}
    graph = run("coactivation", data, partition=PARTS)
    on = np.stack([(data[s][:, PARTS.labels[s] == k] > 0).any(axis=1) for s in SIZES for k in (0, 1)])
    close(graph.weight, upper(np.corrcoef(on)))
    with pytest.raises(DataError, match="takes no 'winsorise'"):
        run("coactivation", data, winsorise=0.1)
