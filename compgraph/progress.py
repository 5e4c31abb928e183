"""Progress of long work: what runs, how much is done, how fast, how much time is left.

Library calls are silent until someone turns progress on: the command line does, and so may a user::

    compgraph.progress.enable()

On a terminal it is a bar, elsewhere (a log of a cluster job, a pipe) a plain line now and then, and where a
log file is set, lines in it as well.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from compgraph.disk import explained

T = TypeVar("T")


@dataclass(frozen=True)
class _Settings:
    shown: bool = False
    stream: TextIO | None = None  # None: standard error, as it is when needed
    log_file: Path | None = None
    interval: float = 10.0

    @property
    def output(self) -> TextIO:
        return self.stream if self.stream is not None else sys.stderr


_settings = _Settings()
_bars: Any = None  # the one live display of a terminal, while any bar is shown
_clock: Callable[[], float] = time.monotonic


def enable(
    *,
    quiet: bool = False,
    log_file: str | Path | None = None,
    interval: float = 10.0,
    stream: TextIO | None = None,
) -> None:
    """Turn progress on for this process.

    Parameters
    ----------
    quiet : bool
        Show nothing; a log file still gets its lines.
    log_file : path, optional
        File to which a plain line is appended every `interval` seconds and at the end of each piece of work.
    interval : float
        Seconds between plain lines.
    stream : text stream, optional
        Where to show progress; standard error by default.

    Raises
    ------
    StoreError
        If the log file cannot be written.
    """
    global _settings
    path = Path(log_file) if log_file is not None else None
    if path is not None:
        _append(path, "")
    _settings = _Settings(not quiet, stream, path, interval)


def disable() -> None:
    """Turn progress off again."""
    global _settings
    _settings = _Settings()


class Updater:
    """Counts what is done of one piece of work and shows it."""

    def __init__(self, description: str, total: int | None, unit: str, bars: Any = None) -> None:
        self.description, self.total, self.unit, self.done = description, total, unit, 0
        self._begin = self._said = _clock()
        self._first = 0  # done before this run began (resumed work): no part of the rate
        self._bars = bars
        self._task = None if bars is None else bars.add_task(description, total=total, unit=unit, rate="")

    def advance(self, count: int = 1) -> None:
        """Count `count` more as done."""
        self.done += count
        if self._bars is not None:
            self._bars.update(self._task, completed=self.done, rate=self._rate_text())
        if _clock() - self._said >= _settings.interval:
            self._say(_line(self))

    def skip(self, count: int) -> None:
        """Count `count` as done by an earlier run."""
        self._first += count
        self.advance(count)

    def describe(self, description: str) -> None:
        """Say something else about what is going on."""
        self.description = description
        if self._bars is not None:
            self._bars.update(self._task, description=description)

    @property
    def rate(self) -> float:
        """Units of work done per second by this run."""
        return (self.done - self._first) / max(_clock() - self._begin, 1e-9)

    @property
    def elapsed(self) -> float:
        """Seconds since the work began."""
        return _clock() - self._begin

    def _rate_text(self) -> str:
        return f"{format_number(self.rate)} {self.unit}/s" if self.done > self._first else ""

    def _say(self, line: str) -> None:
        self._said = _clock()
        if _settings.log_file is not None:
            _append(_settings.log_file, line + "\n")
        if _settings.shown and self._bars is None:
            print(line, file=_settings.output, flush=True)

    def _close(self, failed: bool) -> None:
        state = "stopped at" if failed else "done:"
        count = _count(self) if failed else f"{self.done:,} {self.unit}"
        self._say(f"{self.description}: {state} {count} in {format_seconds(self.elapsed)}")
        if self._bars is not None:
            self._bars.remove_task(self._task)


class _Silent(Updater):
    """Counts only."""

    def advance(self, count: int = 1) -> None:
        self.done += count

    def _close(self, failed: bool) -> None:
        pass


@contextmanager
def progress(description: str, total: int | None = None, unit: str = "items") -> Iterator[Updater]:
    """Show one piece of work while the body of the ``with`` runs.

    Parameters
    ----------
    description : str
        What runs, in a few words.
    total : int, optional
        How much there is to do; None if unknown.
    unit : str
        What is counted, in the plural.

    Yields
    ------
    Updater
        Call its ``advance(count)`` as work gets done.
    """
    if not _settings.shown and _settings.log_file is None:
        yield _Silent(description, total, unit)
        return
    with _display() as bars:
        updater = Updater(description, total, unit, bars)
        try:
            yield updater
        except BaseException:
            updater._close(failed=True)
            raise
        updater._close(failed=False)


def track(iterable: Iterable[T], description: str, total: int | None = None, unit: str = "items") -> Iterator[T]:
    """Yield the items of `iterable` and show how many are done.

    Parameters
    ----------
    iterable : iterable
        What to go through.
    description : str
        What runs, in a few words.
    total : int, optional
        Number of items; its length by default, unknown where it has none.
    unit : str
        What the items are, in the plural.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with progress(description, total, unit) as updater:
        for item in iterable:
            yield item
            updater.advance()


def note(line: str) -> None:
    """Say something once: a plain line, where progress is shown, and in the log file."""
    if _settings.log_file is not None:
        _append(_settings.log_file, line + "\n")
    if not _settings.shown:
        return
    if _bars is not None:
        _bars.console.print(line, markup=False, highlight=False)
    else:
        print(line, file=_settings.output, flush=True)


def _append(path: Path, text: str) -> None:
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)


@contextmanager
def _display() -> Iterator[Any]:
    """Yield the live display of a terminal (shared by nested pieces of work), or None where there is none."""
    global _bars
    if not _settings.shown or not _settings.output.isatty():
        yield None
        return
    if _bars is not None:
        yield _bars
        return
    _bars = _make_bars()
    try:
        with _bars:
            yield _bars
    finally:
        _bars = None


def _make_bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(file=_settings.output),
        transient=True,
    )


def _count(updater: Updater) -> str:
    if updater.total is None:
        return f"{updater.done:,} {updater.unit}"
    share = f" ({100 * updater.done / updater.total:.0f} %)" if updater.total else ""
    return f"{updater.done:,}/{updater.total:,} {updater.unit}{share}"


def _line(updater: Updater) -> str:
    """Return one plain line: what, how much of how much, how fast, how much time is left."""
    parts = [f"{updater.description}: {_count(updater)}"]
    if updater.rate > 0:
        parts.append(f"{format_number(updater.rate)} {updater.unit}/s")
        if updater.total is not None:
            parts.append(f"{format_seconds((updater.total - updater.done) / updater.rate)} left")
    return ", ".join(parts)


def format_number(value: float) -> str:
    """Return a rate with three digits: ``"0.0123"``, ``"4.56"``, ``"7,890"``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def format_seconds(seconds: float) -> str:
    """Return ``"4.2 s"``, ``"3 min 20 s"`` or ``"2 h 5 min"``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
