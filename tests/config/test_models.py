from __future__ import annotations

import pytest

from compgraph.config.models import log_steps, revision_name, step_name, step_of


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (1, 2), (5, 6), (100, 3), (1000, 6), (7, 5), (3000, 12)])
def test_log_steps(steps: int, count: int) -> None:
    chosen = log_steps(steps, count)
    assert len(chosen) == count
    assert chosen == sorted(set(chosen))
    assert chosen[-1] == steps
    assert count == 1 or chosen[0] == 0


def test_log_steps_are_even_in_the_log() -> None:
    assert log_steps(10_000, 6) == [0, 6, 40, 251, 1585, 10_000]


def test_steps_of_checkpoints() -> None:
    assert [step_of(name) for name in ("step-000100", "step3000", "checkpoint_7")] == [100, 3000, 7]
    assert [step_of(name) for name in ("main", "step", "step-1-final")] == [None, None, None]


def test_names_of_checkpoints() -> None:
    assert step_name(100) == "step-000100"
    assert sorted([step_name(20), step_name(100)]) == [step_name(20), step_name(100)]
    assert revision_name("step3000") == "step3000"
    assert revision_name("refs/pr/1") == "refs-pr-1"
    assert revision_name("V1.0 (new)") == "v1.0-new"
