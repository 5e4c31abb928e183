from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, mutual_info_score

from compgraph.errors import DataError
from compgraph.partition import Partition
from compgraph.rois import roi_agreement
from tests.communities.graphs import groups


def _trained(n_steps: int = 4) -> dict[str, Partition]:
    """Random regions at first; the last two checkpoints have the same, but for a dead unit."""
    rng = np.random.default_rng(0)
    final = groups(48, 4)
    steps = [rng.permutation(final) for _ in range(n_steps - 2)] + [final, np.where(np.arange(48) == 7, -1, final)]
    return {
        f"step-{k}": Partition.from_labels({"mlp.0": labels, "mlp.1": np.zeros(5, int)})
        for k, labels in enumerate(steps)
    }


def test_neighbours_and_the_last_checkpoint_are_compared() -> None:
    steps = _trained()
    table = roi_agreement(steps, n_permutations=99)
    assert set(table["site"]) == {"mlp.0"}  # nobody divides mlp.1
    of = table[(table["against"] == "next") & (table["first"] == "step-1")].set_index("measure")
    first, second = (steps[name].labels["mlp.0"] for name in ("step-1", "step-2"))
    assert of.loc["ari", "value"] == pytest.approx(adjusted_rand_score(first, second))
    assert of.loc["ami", "value"] == pytest.approx(adjusted_mutual_info_score(first, second))
    assert of.loc["vi", "value"] == pytest.approx(2 * np.log(4) - 2 * mutual_info_score(first, second))
    assert of["p"].min() > 0.05
    pairs = table.drop_duplicates(["first", "second", "against"])
    named = pairs["first"].str[-1] + pairs["second"].str[-1]
    assert named.tolist() == ["01", "12", "23", "03", "13", "23"]


def test_the_same_regions_agree_beyond_chance_and_dead_units_do_not_count() -> None:
    table = roi_agreement(_trained(), n_permutations=99).set_index(["against", "first", "measure"]).sort_index()
    same = table.loc["next", "step-2"]
    assert same.loc["ari", "value"] == same.loc["ami", "value"] == pytest.approx(1)
    assert same.loc["vi", "value"] == pytest.approx(0)
    assert (same["p"] == 0.01).all()
    assert (same["n_units"] == 47).all()
    assert same.loc["vi", "null_mean"] > 1


def test_without_permutations_there_is_no_null() -> None:
    table = roi_agreement(_trained(), n_permutations=0)
    assert table[["null_mean", "z", "p", "q"]].isna().all(axis=None)
    assert table["value"].notna().all()


@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        ({"step-0": Partition.from_labels({"a": [0, 1]})}, "there are 1; give at least 2"),
        (
            {"step-0": Partition.from_labels({"a": [0, 1]}), "step-1": Partition.from_labels({"a": [0, 1, 1]})},
            "different numbers of units at these checkpoints: step-0 2, step-1 3",
        ),
        (
            {"step-0": Partition.from_labels({"a": [0, 1]}), "step-1": Partition.from_labels({"b": [0, 1]})},
            "checkpoint 'step-1' has no site 'a'",
        ),
    ],
)
def test_what_cannot_be_compared(partitions: dict[str, Partition], message: str) -> None:
    with pytest.raises(DataError, match=message):
        roi_agreement(partitions, ["a"])
