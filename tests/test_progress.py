from __future__ import annotations

import io
import subprocess
import sys

import pytest

from compgraph import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes one second further at every step of the work."""
    now = [0.0]
    monkeypatch.setattr(progress, "_clock", lambda: now[0])
    yield now
    progress.disable()


def work(clock, n: int = 4):
    for item in range(n):
        clock[0] += 1
        yield item


def test_silent_by_default(clock, capsys):
    assert list(progress.track(work(clock), "counting")) == [0, 1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_plain_lines_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    progress.enable(stream=stream, interval=2)
    assert list(progress.track(work(clock), "counting", total=5, unit="sheep")) == [0, 1, 2, 3]
    assert stream.getvalue().splitlines() == [
        "counting: 2/5 sheep (40 %), 1 sheep/s, 3.0 s left",
        "counting: 4/5 sheep (80 %), 1 sheep/s, 1.0 s left",
        "counting: done: 4 sheep in 4.0 s",
    ]


def test_unknown_total_and_known_length(clock):
    stream = io.StringIO()
    progress.enable(stream=stream, interval=0)
    list(progress.track(work(clock, 1), "counting"))
    list(progress.track([1], "counting"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "counting: 1 items, 1 items/s"
    assert lines[2].startswith("counting: 1/1 items (100 %)")


def test_resumed_work_is_no_part_of_the_rate(clock):
    stream = io.StringIO()
    progress.enable(stream=stream, interval=1)
    with progress.progress("counting", 100, "sheep") as updater:
        updater.skip(80)
        clock[0] += 2
        updater.advance(10)
    assert stream.getvalue().splitlines()[0] == "counting: 90/100 sheep (90 %), 5 sheep/s, 2.0 s left"


def test_quiet_still_logs(clock, tmp_path, capsys):
    progress.enable(quiet=True, log_file=tmp_path / "log", interval=2)
    list(progress.track(work(clock), "counting", 4))
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "log").read_text().splitlines() == [
        "counting: 2/4 items (50 %), 1 items/s, 2.0 s left",
        "counting: 4/4 items (100 %), 1 items/s, 0.0 s left",
        "counting: done: 4 items in 4.0 s",
    ]


def test_a_failure_says_where_it_stopped(clock):
    stream = io.StringIO()
    progress.enable(stream=stream)
    with pytest.raises(KeyError), progress.progress("counting", 8) as updater:
        updater.advance(2)
        raise KeyError("no")
    assert stream.getvalue() == "counting: stopped at 2/8 items (25 %) in 0.0 s\n"


def test_bars_on_a_terminal_nest(clock, tmp_path):
    stream = Terminal()
    progress.enable(stream=stream, log_file=tmp_path / "log")
    with progress.progress("outer work", 2, "batches") as outer:
        outer.advance()
        outer.describe("outer work, second half")
        assert list(progress.track(work(clock), "inner work", 4)) == [0, 1, 2, 3]
        outer.advance()
    shown = stream.getvalue()
    assert "outer work" in shown and "inner work" in shown
    assert "done: 2 batches" in (tmp_path / "log").read_text()
    assert progress._bars is None


def test_formats():
    assert [progress.format_seconds(s) for s in (0.04, 59.9, 59.96, 200, 7500)] == [
        "0.0 s",
        "59.9 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
    assert [progress.format_number(x) for x in (0.01234, 4.564, 7890.4)] == ["0.0123", "4.56", "7,890"]


def test_rich_is_imported_only_when_needed():
    code = """
import sys, compgraph.progress as p
list(p.track([1], "x"))
print([m for m in ("rich", "torch", "numpy") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
