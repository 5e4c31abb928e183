"""The figure of dictionaries: every live feature is in one bin, and the caption states the table's numbers."""

from __future__ import annotations

import pandas as pd
import pytest

from compgraph.figures import dictionaries


@pytest.fixture
def tables():
    quality = pd.DataFrame(
        {
            "site": ["mlp.0", "mlp.1"],
            "n_features": [4, 4],
            "explained_variance": [0.9, 0.7],
            "l0": [2.0, 3.0],
            "dead_share": [0.25, 0.0],
            "loss_recovered": [0.95, 0.5],
        }
    )
    density = pd.DataFrame({"site": ["mlp.0"] * 4 + ["mlp.1"] * 4, "density": [0, 1e-7, 0.5, 1.0, 0.1, 0.1, 0.2, 0.9]})
    training = pd.DataFrame({"site": ["mlp.0", "mlp.1"], "rows": [10, 10], "explained_variance": [0.8, 0.6]})
    return quality, density, training


def test_every_live_feature_is_in_one_bin(tables):
    bins = dictionaries.data(*tables)
    assert bins.groupby("site")["features"].sum().to_dict() == {"mlp.0": 3, "mlp.1": 4}
    first = bins[(bins["site"] == "mlp.0") & (bins["features"] > 0)].iloc[0]
    assert first["low"] == pytest.approx(1e-5)  # rarer than all bins: in the first


def test_training_is_drawn_where_there_was_one(tables):
    quality, density, training = tables
    assert len(dictionaries.draw(quality, density, training).axes) == 2
    assert len(dictionaries.draw(quality, density).axes) == 1


def test_the_caption_states_the_best_and_the_dead(tables):
    caption = dictionaries.caption(*tables, subject="a model")
    assert "2 dictionaries of a model" in caption and "mlp.0 explains 0.900" in caption and "0.950" in caption
    with pytest.raises(ValueError, match="lacks the columns l0"):
        dictionaries.data(tables[0].drop(columns="l0"), tables[1])
