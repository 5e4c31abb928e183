from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from compgraph.errors import DataError
from compgraph.partition import Partition
from compgraph.rois.responses import Responses, roi_responses, selectivity
from tests.communities.graphs import transformer
from tests.rois.recordings import MemoryRecording

PART = Partition.from_labels({"attn.0": np.zeros(12, int), "mlp.0": np.array([0, 1, -1, 1])})


class Tasked(MemoryRecording):
    """Rows 2k and 2k + 1 are of item k + 5, items of tasks a, b, c in turn."""

    @property
    def items(self) -> pd.DataFrame:
        item = 5 + np.arange(self.n_rows) // 2
        return pd.DataFrame({"item": item, "position": 0, "task": np.array(list("abc"))[item % 3]})


def recording(seed: int = 0) -> Tasked:
    rng = np.random.default_rng(seed)
    arrays = {"attn.0": rng.normal(size=(120, 12)), "mlp.0": rng.normal(3, 2, size=(120, 4))}
    arrays["mlp.0"][(np.arange(120) // 2 + 5) % 3 == 2, 1] += 4
    return Tasked(transformer(), arrays, chunk=7)


def test_responses_are_means_of_standardised_units_and_rows() -> None:
    data = recording()
    found = roi_responses(PART, data)
    values = data.arrays["mlp.0"]
    standard = (values - values.mean(0)) / values.std(0)
    expected = np.stack([standard[:, 0], standard[:, [1, 3]].mean(1)], axis=1).reshape(60, 2, 2).mean(1)
    assert found.nodes == ("mlp.0/roi.0", "mlp.0/roi.1")
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    assert found.items.tolist() == list(range(5, 65))
    assert found.classes[:3].tolist() == ["c", "a", "b"]
    table = found.to_table(most=10)
    assert len(table) == 20
    assert table["response"].iloc[-1] == pytest.approx(expected[-1, 1], rel=1e-6)


def test_selectivity_is_eta_squared_with_its_null() -> None:
    responses = roi_responses(PART, recording())
    found = selectivity(responses, n_permutations=199)
    for k in range(2):
        groups = [responses.values[responses.classes == name, k] for name in "abc"]
        f = stats.f_oneway(*groups).statistic
        assert found["selectivity"][k] == pytest.approx(2 * f / (2 * f + 57))
        assert found["null"][k] == pytest.approx(2 / 59, abs=0.01)
    assert found["top_class"][1] == "c"
    assert found["p"][1] == 1 / 200 < 0.02 < found["p"][0]
    assert (found["p_adjusted"] >= found["p"]).all()


def test_shuffled_classes_are_rarely_selective() -> None:
    rng = np.random.default_rng(0)
    values, classes = rng.normal(size=(60, 400)), np.array(list("abc") * 20)
    p = selectivity(Responses(tuple(map(str, range(400))), np.arange(60), values, classes), n_permutations=99)["p"]
    assert 0.02 < (p <= 0.05).mean() < 0.09


def test_a_constant_response_is_not_selective() -> None:
    found = selectivity(Responses(("a",), np.arange(6), np.ones((6, 1)), np.array(list("abcabc"))), n_permutations=9)
    assert found["selectivity"].tolist() == [0.0]
    assert found["p"].tolist() == [1.0]


def test_what_has_no_classes_is_refused() -> None:
    plain = MemoryRecording(transformer(), recording().arrays)
    with pytest.raises(DataError, match="no class or task"):
        selectivity(roi_responses(PART, plain))
    with pytest.raises(DataError, match="all items are of the class 'a'"):
        selectivity(Responses(("a",), np.arange(3), np.ones((3, 1)), np.array(list("aaa"))))
    assert roi_responses(Partition.modules(transformer()), plain).to_table().empty
