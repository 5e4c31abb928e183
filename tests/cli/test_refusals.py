from __future__ import annotations

from pathlib import Path

import pytest

from compgraph.cli.console import Call, errors_in_one_sentence
from compgraph.cli.refusals import refused, state
from compgraph.errors import DataError, StoreError


def ended(log: Path, error: BaseException | None) -> None:
    """A call whose log ends as that of one that met an error."""
    log.write_text("$ compgraph effective\n")
    try:
        with errors_in_one_sentence(Call("effective", log_file=log)):
            if error is not None:
                raise error
    except (SystemExit, Exception):
        pass


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (DataError("it holds no items\ncompgraph: a hostile line"), False),
        (StoreError("the disk is full"), False),
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory"), True),
        (OSError(5, "Input/output error", "x.json"), True),
        (KeyboardInterrupt(), True),
        (None, True),
    ],
)
def test_errors_of_its_own_are_not_tried_again(tmp_path: Path, error: BaseException | None, again: bool) -> None:
    log = tmp_path / "job.log"
    before = state(log)
    ended(log, error)
    assert refused(log, before) is not again


def test_a_log_of_an_earlier_attempt_says_nothing(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    assert not refused(log, None)
    ended(log, DataError("it holds no items"))
    assert not refused(log, state(log))
