"""Blocks keep their numbers where they stay, and only there."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from compgraph.emergence.alignment import align_blocks

GROUPS = np.repeat([0, 1, 2, 3], 10)


def test_renamed_blocks_get_their_old_numbers() -> None:
    renamed = np.array([3, 1, 0, 2])[GROUPS]
    aligned = align_blocks([GROUPS, renamed, GROUPS])
    assert (aligned.labels == GROUPS).all()
    assert aligned.steps["kept"].tolist() == [4, 4] and aligned.steps["overlap"].tolist() == [1.0, 1.0]


def test_the_match_is_the_best_of_all_assignments() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        a, b = rng.integers(0, 4, 30), rng.integers(0, 4, 30)
        best = max(sum(np.array(order)[b] == a) for order in permutations(range(4)))
        assert align_blocks([a, b]).steps["overlap"][0] == pytest.approx(best / 30)


def test_blocks_dealt_out_at_random_are_born_anew() -> None:
    rng = np.random.default_rng(1)
    kept = [align_blocks([rng.integers(0, 8, 60), rng.integers(0, 8, 60)], seed=k).steps["kept"][0] for k in range(40)]
    assert np.mean([n > 0 for n in kept]) <= 0.125  # nominal 0.05; 5 of 40 is the 95 % point of that


def test_a_block_that_splits_keeps_its_number_in_the_larger_part() -> None:
    split = GROUPS.copy()
    split[:3] = 4
    aligned = align_blocks([GROUPS, split])
    assert set(aligned.labels[1, 3:10]) == {0} and set(aligned.labels[1, :3]) == {4}
    assert aligned.steps[["kept", "born", "ended"]].iloc[0].tolist() == [4, 1, 0]


def test_flows_count_every_node_once_and_name_those_in_no_block() -> None:
    later = GROUPS.copy()
    later[0] = -1
    flows = align_blocks([GROUPS, later]).flows
    assert flows["n"].sum() == 40
    assert flows[flows["block_b"] == -1][["block_a", "n"]].values.tolist() == [[0, 1]]


def test_one_block_stays_one_block() -> None:
    aligned = align_blocks([np.zeros(5, int), np.ones(5, int)])
    assert (aligned.labels == 0).all() and aligned.steps["kept"][0] == 1


@pytest.mark.parametrize(
    ("partitions", "options", "said"),
    [
        ([], {}, "at least one"),
        ([[0, 1], [0]], {}, "same nodes"),
        ([[0, -2]], {}, "-1"),
        ([[0, 1]], {"n_permutations": 5}, "at least 19"),
        ([[0, 1]], {"within": [0]}, "one value a node"),
    ],
)
def test_bad_input(partitions: list[list[int]], options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        align_blocks(partitions, **options)  # type: ignore[arg-type]
