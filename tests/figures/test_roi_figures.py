from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from compgraph.figures import roi_attribution, roi_illustration, roi_vs_heads
from compgraph.partition import Partition
from compgraph.rois import describe_rois, roi_responses
from compgraph.rois.describe import unit_pairs
from tests.communities.graphs import transformer
from tests.rois.recordings import factor_signals
from tests.rois.test_responses import Tasked

LABELS = np.array([2, 0, 1, 0, 2, 1, 1, 0, 2, 0, 1, 2])


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    signals = factor_signals(120, LABELS, seed=0)
    task = (np.arange(120) // 2 + 5) % 3
    signals += 3 * ((task[:, None] + 1) % 3 == LABELS)  # region k answers to task k - 1
    recording = Tasked(transformer(), {"attn.0": signals})
    part = Partition.mixed(transformer(), {"attn.0": Partition.from_labels({"attn.0": LABELS})})
    rois = describe_rois(part, recording)
    responses = roi_responses(part, recording).to_table()
    return {"rois": rois, "responses": responses, "units": unit_pairs(part, recording, rois)}


def test_regions_are_sorted_by_the_class_they_respond_to(tables: dict[str, pd.DataFrame]) -> None:
    rows = roi_attribution.data(tables["rois"], tables["responses"])
    assert rows["roi"].drop_duplicates().tolist() == ["attn.0/roi.1", "attn.0/roi.2", "attn.0/roi.0"]
    assert rows["top_class"].drop_duplicates().tolist() == ["a", "b", "c"]
    assert (rows.groupby("roi")["class"].apply(lambda c: c.is_monotonic_increasing)).all()
    figure = roi_attribution.draw(tables["rois"], tables["responses"])
    inputs, means = (axes.images[0].get_array() for axes in figure.axes)
    assert inputs.shape == (3, 60)
    np.testing.assert_allclose(means, np.asarray(inputs).reshape(3, 3, 20).mean(2), atol=1e-6)
    assert np.asarray(means).argmax(1).tolist() == [0, 1, 2]
    assert "3 of them are selective" in roi_attribution.caption(tables["rois"], tables["responses"])


def test_units_are_sorted_by_region_and_regions_by_class(tables: dict[str, pd.DataFrame]) -> None:
    figure = roi_illustration.draw(tables["units"])
    matrix = np.asarray(figure.axes[0].images[0].get_array())
    order = [int(u) for k in (1, 2, 0) for u in np.flatnonzero(k == LABELS)]
    pairs = tables["units"].pivot(index="unit", columns="other", values="r").loc[order, order]
    np.testing.assert_allclose(matrix, pairs.to_numpy())
    assert "3 regions" in roi_illustration.caption(tables["units"])


def test_more_units_than_fit_are_thinned() -> None:
    labels = np.arange(12) % 2
    part = Partition.from_labels({"attn.0": labels})
    recording = Tasked(transformer(), {"attn.0": factor_signals(60, labels, 0)})
    assert unit_pairs(part, recording, describe_rois(part, recording), most=5)["unit"].nunique() == 5


def test_overlap_and_curves_stand_side_by_side() -> None:
    curves = pd.DataFrame(
        {"graph": np.repeat(["heads", "kmeans"], 3), "fraction": [0.1, 0.5, 1.0] * 2, "n_edges": [1, 5, 10] * 2,
         "metric": "kl", "faithfulness": [0.2, 0.8, 1, 0.4, 0.9, 1]}
    )  # fmt: skip
    overlap = pd.DataFrame(
        {"regions": "kmeans", "site": ["attn.0", "attn.1"], "ami": [0.5, 0.1], "null": 0.0,
         "null_low": -0.1, "null_high": 0.1}
    )  # fmt: skip
    figure = roi_vs_heads.draw(curves, overlap)
    assert len(figure.axes) == 2
    assert len(roi_vs_heads.draw(curves, overlap[:0]).axes) == 1
    said = roi_vs_heads.caption(curves, overlap)
    assert "kmeans 0.30 (random ones up to 0.10)" in said
    assert "kmeans 0.77; heads 0.67" in said
    assert roi_vs_heads.data(curves, overlap)["shows"].value_counts().to_dict() == {"faithfulness": 6, "overlap": 2}


def test_undivided_networks_have_a_message(tables: dict[str, pd.DataFrame]) -> None:
    empty = {name: table[:0] for name, table in tables.items()}
    assert "No site" in roi_attribution.draw(empty["rois"], empty["responses"]).texts[0].get_text()
    assert "No site" in roi_illustration.draw(empty["units"]).texts[0].get_text()
    assert "No site" in roi_illustration.caption(empty["units"])
