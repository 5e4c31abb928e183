from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from compgraph.figures import region_ablation, roi_attribution, roi_illustration, roi_stability, roi_vs_heads, style
from compgraph.partition import Partition
from compgraph.rois import describe_rois, roi_agreement, roi_responses
from compgraph.rois.describe import unit_pairs
from tests.communities.graphs import transformer
from tests.figures.examples import overlapping_texts, texts_outside
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


def against_random(graphs: dict[str, bool]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Circuits and concentration of graphs; of those that have some with random nodes."""
    circuits, carried = [], []
    for k, (name, chance) in enumerate(graphs.items()):
        ends = {"null_mean": 0.3, "null_low": 0.2, "null_high": 0.4}
        null = {end: value if chance else np.nan for end, value in ends.items()}
        fraction = np.array([0.01, 0.1, 0.5, 1.0])
        about = {"graph": name, "p": np.nan, **null}
        circuits.append(
            pd.DataFrame({"metric": "kl", "fraction": fraction, "n_edges": (fraction * 10 ** (k + 2)).astype(int),
                          "faithfulness": fraction ** (0.3 + 0.1 * k), "low": 0.0, "high": 1.0, **about})
        )  # fmt: skip
        for of in ("edges", "nodes"):
            table = {"of": of, "n": (fraction * 100).astype(int), "share": fraction, "carried": fraction**0.5, **about}
            carried.append(pd.DataFrame(table))
    return pd.concat(circuits, ignore_index=True), pd.concat(carried, ignore_index=True)


OVERLAP = pd.DataFrame(
    {"regions": "kmeans", "site": ["attn.0", "attn.1"], "ami": [0.5, 0.1], "null": 0.0, "null_low": -0.1,
     "null_high": 0.1}
)  # fmt: skip


@pytest.mark.parametrize("width", ["single", "double"])
def test_nodes_are_compared_in_three_ways_and_with_heads(width: style.Width) -> None:
    circuits, carried = against_random({"heads": True, "kmeans": True, "neurons": False})
    figure = roi_vs_heads.draw(circuits, carried, OVERLAP, width=width)
    assert len(figure.axes) == 4 and overlapping_texts(figure) == [] and texts_outside(figure) == []
    dashed = [line for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    assert len(dashed) == 2  # neurons have no random counterpart
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [0.1, 0.1**0.5, 0.5**0.5, 1])
    assert len(roi_vs_heads.draw(circuits, carried, OVERLAP[:0], width=width).axes) == 3
    said = roi_vs_heads.caption(circuits, carried, OVERLAP)
    assert "kmeans 0.30 (random ones up to 0.10)" in said
    assert "neurons: 1,000 edges keep 0.32." in said and "heads: 10 edges keep 0.50 (random 0.30)" in said
    shows = roi_vs_heads.data(circuits, carried, OVERLAP)["shows"].value_counts().to_dict()
    assert shows == {"faithfulness": 12, "concentration": 24, "overlap": 2}
    empty = roi_vs_heads.draw(circuits[:0], carried[:0], OVERLAP[:0])
    assert "No evaluated circuit" in empty.texts[0].get_text()


def agreement(divisions: list[str], steps: list[int]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    tables = []
    for name in divisions:
        parts = {str(step): Partition.from_labels({"mlp.0": rng.integers(3, size=30)}) for step in steps}
        table = roi_agreement(parts, n_permutations=9).astype({"first": int, "second": int})
        tables.append(table.assign(regions=name))
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize(("divisions", "steps"), [(["kmeans"], [0, 600]), (["kmeans", "long name"], [0, 4, 90, 600])])
def test_regions_are_followed_through_training(
    width: style.Width, divisions: list[str], steps: list[int]
) -> None:
    table = agreement(divisions, steps)
    figure = roi_stability.draw(table, width=width)
    assert len(figure.axes) == 3 and overlapping_texts(figure) == [] and texts_outside(figure) == []
    rows = table[(table["regions"] == "kmeans") & (table["measure"] == "ari") & (table["against"] == "next")]
    drawn = figure.axes[0].lines
    assert any(np.allclose(line.get_ydata(), rows["value"]) for line in drawn if len(line.get_ydata()) == len(rows))
    assert f"kmeans {rows['value'].iloc[0]:.2f} from step 0" in roi_stability.caption(table)
    assert len(roi_stability.data(table)) == len(table)


def removed(divisions: int, n_classes: int, metric: str = "accuracy") -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"partition": f"division {d}", "target": f"class_{a}", "task": f"class_{b}", "mode": mode, "metric": metric,
         "value": rng.random(), "faithfulness": rng.random()}
        for d in range(divisions) for mode in ("removed", "kept") for a in range(n_classes) for b in range(n_classes)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize(("divisions", "n_classes"), [(1, 3), (3, 10)])
def test_every_division_has_a_pair_of_matrices(width: style.Width, divisions: int, n_classes: int) -> None:
    table = removed(divisions, n_classes)
    figure = region_ablation.draw(table, width=width)
    assert len(figure.axes) == 2 * divisions and overlapping_texts(figure) == [] and texts_outside(figure) == []
    own = table[(table["partition"] == "division 0") & (table["mode"] == "kept")]
    matrix = own.pivot(index="target", columns="task", values="value")
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), matrix)
    mean = float(own.loc[own["target"] == own["task"], "value"].mean())
    assert f"kept {mean:.2f} against" in region_ablation.caption(table)
    assert "No ablated region" in region_ablation.draw(table[:0]).texts[0].get_text()


def test_undivided_networks_have_a_message(tables: dict[str, pd.DataFrame]) -> None:
    empty = {name: table[:0] for name, table in tables.items()}
    assert "No site" in roi_attribution.draw(empty["rois"], empty["responses"]).texts[0].get_text()
    assert "No site" in roi_illustration.draw(empty["units"]).texts[0].get_text()
    assert "No site" in roi_illustration.caption(empty["units"])
