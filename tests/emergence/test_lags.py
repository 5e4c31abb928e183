"""Which of two curves moves first, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.emergence.changes import surrogates
from compgraph.emergence.lags import Curve, half_time, lag_table, lead_lag, log_steps

STEPS = np.unique(np.round(np.geomspace(1, 10_000, 30)))
X = np.log10(STEPS)


def curve(middle: float, noise: float = 0.0, rng: np.random.Generator | None = None, sign: int = 1) -> Curve:
    """A logistic rise with autoregressive noise."""
    y = 1 / (1 + np.exp(-(X - middle) / 0.2))
    if rng is not None:
        y = y + noise * np.sqrt(1 - 0.8**2) * surrogates(len(X), 0.8, 1, rng)[0]
    return STEPS.tolist(), (sign * y).tolist()


@pytest.mark.parametrize("sign", [1, -1])
def test_half_time_is_the_middle_of_the_rise_or_fall(sign: int) -> None:
    assert half_time(*curve(2.5, sign=sign)) == pytest.approx(2.5, abs=0.02)


def test_a_curve_within_its_noise_has_no_time() -> None:
    assert np.isnan(half_time(STEPS, surrogates(len(X), 0.0, 1, np.random.default_rng(0))[0]))
    found = lead_lag([curve(2.5)], [(STEPS, np.zeros(len(X)))])
    assert np.isnan(found.lag) and "skill does not change" in found.reason


def test_intervals_over_runs_cover_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(100):
        middles, lags = 2.5 + 0.2 * rng.normal(size=5), -0.3 + 0.15 * rng.normal(size=5)
        structure = [curve(a + b, 0.05, rng) for a, b in zip(middles, lags, strict=True)]
        found = lead_lag(structure, [curve(a, 0.05, rng) for a in middles])
        assert found.interval == "runs" and found.n_runs == 5
        covered.append(found.low <= -0.3 <= found.high)
    assert 0.88 <= np.mean(covered) <= 1.0


@pytest.mark.parametrize(("lag", "order"), [(-0.5, "before"), (0.5, "after"), (0.0, "with")])
def test_the_order_is_told(lag: float, order: str) -> None:
    rng = np.random.default_rng(2)
    structure = [curve(2.5 + lag, 0.01, rng) for _ in range(4)]
    assert lead_lag(structure, [curve(2.5, 0.01, rng) for _ in range(4)]).order == order


def test_one_run_has_a_bootstrap_or_a_reason() -> None:
    rng = np.random.default_rng(3)
    found = lead_lag([curve(2.2, 0.02, rng)], [curve(2.5, 0.02, rng)])
    assert found.interval == "bootstrap" and found.low < -0.3 < found.high
    short = [(list(one[0][::5]), list(one[1][::5])) for one in (curve(2.2), curve(2.5))]
    assert "several seeds" in lead_lag(short[:1], short[1:]).reason


def test_the_interval_of_one_run_is_not_too_short() -> None:
    covered = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = lead_lag([curve(2.2, 0.05, rng)], [curve(2.5, 0.05, rng)], n_bootstrap=99)
        covered.append(found.low <= -0.3 <= found.high)
    assert np.mean(covered) >= 0.9


def test_step_0_stands_before_the_first_step() -> None:
    assert log_steps([0, 10, 100]).tolist() == pytest.approx([np.log10(5), 1, 2])


def test_the_table_has_a_row_for_each_quantity_that_some_run_has() -> None:
    runs = [{"skill": curve(2.5), "blocks": curve(2.0)}, {"skill": curve(2.6), "blocks": curve(2.1), "q": curve(2.6)}]
    table = lag_table(runs, "skill").set_index("structure")
    assert table.loc["blocks", "n_runs"] == 2 and table.loc["q", "n_runs"] == 1
    assert table.loc["blocks", "lag"] == pytest.approx(-0.5, abs=0.03)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="as many curves"):
        lead_lag([curve(2.0)], [])
    with pytest.raises(ValueError, match="rising steps"):
        half_time([1, 1], [0, 1])
