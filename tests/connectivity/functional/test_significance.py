"""Independent signals are found to correlate at the nominal rate, however smooth they are along the text."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import signal

from compgraph.connectivity.functional import functional_connectivity
from compgraph.partition import Partition

from .recordings import Memory

ITEMS, LENGTH, UNITS = 60, 32, 60


def smooth(seed: int, strength: float, per_item: float = 0.0) -> Memory:
    """Independent signals: an AR(1) process inside each item, and perhaps a level of each item."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(ITEMS, LENGTH + 50, UNITS))
    x = signal.lfilter([1], [1, -strength], noise, axis=1)[:, 50:]
    x = x + per_item * rng.normal(size=(ITEMS, 1, UNITS))
    rows = pd.DataFrame({"item": np.repeat(np.arange(ITEMS), LENGTH), "position": np.tile(np.arange(LENGTH), ITEMS)})
    return Memory({"mlp.0": x.reshape(-1, UNITS)}, 500, rows)


PART = Partition.from_labels({"mlp.0": np.arange(UNITS)}, prefix="neuron")


def rate(buffer: Memory, method: str = "pearson", **options) -> float:
    return float((functional_connectivity(buffer, PART, method, **options).columns["p"] <= 0.05).mean())


@pytest.mark.parametrize(("strength", "per_item"), [(0.0, 0.0), (0.8, 0.0), (0.3, 1.0)])
def test_nominal_rate_of_false_positives(strength: float, per_item: float) -> None:
    rates = [rate(smooth(seed, strength, per_item)) for seed in range(3)]
    assert 0.035 < np.mean(rates) < 0.065, rates


def test_rows_counted_as_independent_find_too_much() -> None:
    assert rate(smooth(0, 0.8), samples="rows") > 0.25


def test_ranks_too_and_nothing_survives_adjustment() -> None:
    buffer = smooth(1, 0.8)
    assert 0.03 < rate(buffer, "spearman") < 0.07
    graph = functional_connectivity(buffer, PART)
    assert graph.attributes["significant_edges"] <= 2
    assert graph.attributes["density"] == graph.attributes["significant_edges"] / graph.n_edges
    harder = functional_connectivity(buffer, PART, correction="by")
    assert (harder.columns["p_adjusted"] >= graph.columns["p_adjusted"]).all()


def test_effective_number_of_an_autoregressive_process() -> None:
    effective = functional_connectivity(smooth(0, 0.8), PART).columns["effective_n"]
    known = 1 + 2 * sum((1 - k / LENGTH) * 0.8 ** (2 * k) for k in range(1, LENGTH))
    assert np.median(effective) == pytest.approx(ITEMS * LENGTH / known, rel=0.1)


def test_true_edges_are_found() -> None:
    buffer = smooth(0, 0.8)
    buffer.data["mlp.0"][:, 1] += buffer.data["mlp.0"][:, 0]
    graph = functional_connectivity(buffer, PART)
    assert graph.columns["p_adjusted"][0] < 1e-6 and graph.attributes["significant_edges"] < 6


def test_without_tests_there_are_no_columns() -> None:
    graph = functional_connectivity(smooth(0, 0.5), PART, samples="none")
    assert graph.columns == {} and "level" not in graph.attributes
