"""Running Snakemake on a study, and understanding what it says.

Snakemake runs as a subprocess with a logger of ours, which writes its events as JSON lines; nothing is read from
its text. Only this module and ``workflow/`` know it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compgraph.disk import explained
from compgraph.errors import CompgraphError, MissingDependency

Event = dict[str, Any]
POLL = 0.1
GRACE = 2.0
"""Seconds that an interrupted Snakemake has to end by itself."""
RECORD = Path(".snakemake/compgraph-run.json")
"""Who is running Snakemake in this folder, to know a lock that was left behind by a kill."""
OWN = Path("workflow", "plugins", "snakemake_executor_plugin_compgraph")
"""What tells this workflow from others, of which the current folder may have one."""


def workflow_root() -> Path:
    """The folder of the Snakefile: a checkout (the current folder, or that of this package), or inside the package.

    Raises
    ------
    CompgraphError
        If there is none.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (Path.cwd(), package.parent, package / "_workflow"):
        if (folder / "Snakefile").is_file() and (folder / OWN).is_dir():
            return folder
    raise CompgraphError(f"the installation in {package} lacks its workflow; install compgraph anew")


PROFILES = {"default": ["--executor", "compgraph", "--scheduler", "compgraph"], "slurm": []}
"""Folders of ``profiles`` that runs use, and what plain Snakemake, which reads one of them too, must not find there."""


def command_line(root: Path, config: Path, arguments: Sequence[str], profile: str = "default") -> list[str]:
    """The Snakemake command for a study in the current folder, with a profile of ``profiles``."""
    return [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(root / "Snakefile"),
        "--workflow-profile",
        str(root / "profiles" / profile),
        "--configfile",
        str(config),
        "--logger",
        "compgraph",
        *PROFILES[profile],
        *arguments,
    ]


@dataclass
class Process:
    """A running Snakemake: iterate over it for its events; ``code`` is its exit code afterwards."""

    process: subprocess.Popen[bytes]
    events: Path
    code: int | None = None

    def __iter__(self) -> Iterator[Event | None]:
        """Its events as they come, and None now and then while it works."""
        with self.events.open(encoding="utf-8") as file:
            rest = ""
            while True:
                ended = self.process.poll() is not None
                rest += file.read()
                *lines, rest = rest.split("\n")
                yield from (json.loads(line) for line in lines)
                if ended:
                    break
                yield None
                time.sleep(POLL)
        self.code = self.process.returncode


@contextmanager
def snakemake(
    root: Path,
    config: Path,
    arguments: Sequence[str],
    log: Path | None = None,
    held: Sequence[int] = (),
    profile: str = "default",
) -> Iterator[Process]:
    """Start Snakemake; it is stopped, politely, if the body is left early.

    Parameters
    ----------
    root : Path
        Folder of the Snakefile.
    config : Path
        The study's config file.
    arguments : sequence of str
        More arguments: targets, ``--dry-run``.
    log : Path, optional
        File for all that Snakemake prints; a temporary one if not given.
    held : sequence of int
        Descriptors of locks that it inherits, so that they last as long as it works, whatever becomes of its launcher.
    profile : str
        ``"default"`` or ``"slurm"``.

    Raises
    ------
    MissingDependency
        If Snakemake is not installed.
    """
    try:
        import snakemake as _found  # noqa: F401
    except ImportError:
        raise MissingDependency(
            "this needs snakemake, which is not installed in this Python; pip install 'compgraph[workflow]'"
        ) from None
    with tempfile.TemporaryDirectory(prefix="compgraph-") as folder:
        events = Path(folder) / "events.jsonl"
        events.touch()
        log = log or Path(folder) / "snakemake.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        plugins = [str(root / "workflow" / name) for name in ("plugins", *(["cluster"] if profile == "slurm" else []))]
        path = os.pathsep.join(filter(None, [*plugins, os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"COMPGRAPH_EVENTS": str(events), "PYTHONPATH": path}
        with log.open("wb") as output:
            process = subprocess.Popen(
                command_line(root, config, arguments, profile),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=tuple(held),
            )
            try:
                yield Process(process, events)
            finally:
                _stop(process)


def dry_run(root: Path, config: Path, targets: Sequence[str] = ()) -> list[Event]:
    """The jobs that a run would do, without the last one, which only gathers all others.

    Raises
    ------
    CompgraphError
        With what Snakemake says, if it cannot plan.
    """
    with snakemake(root, config, ["--dry-run", "--nolock", "--cores", "1", *targets]) as process:
        events = [event for event in process if event is not None]
        if process.code:
            lines = [event["text"] for event in events if event["event"] in ("message", "error")]
            raise CompgraphError("\n".join(lines or tail(process.events.with_name("snakemake.log"), 20)))
    found = {event["jobid"]: event for event in events if event["event"] == "job_info" and event["rule_name"] != "all"}
    return list(found.values())


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let Snakemake and its jobs end: a Ctrl-C reaches them by itself, any other reason to stop is passed on.

    They are interrupted, not terminated: a terminated Snakemake can hang in its own handler.
    """
    for patience, number in ((GRACE, None), (60.0, signal.SIGINT), (10.0, signal.SIGKILL)):
        if number is not None:
            _signal_family(process.pid, number)
        try:
            process.wait(timeout=patience)
            return
        except subprocess.TimeoutExpired:
            continue


def _signal_family(pid: int, number: signal.Signals) -> None:
    """Signal a process and everything it started."""
    import psutil

    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(number)


@contextmanager
def claimed(root: Path, config: Path) -> Iterator[Any]:
    """Make sure that nobody else works in this folder, and clear the lock of a run that was killed.

    Yields
    ------
    callable
        To be told the process id of the Snakemake that is started.

    Raises
    ------
    CompgraphError
        If another run is at work.
    """
    owner = _read_record()
    if owner and owner["host"] == socket.gethostname() and _alive(owner["pid"], owner["born"]):
        raise CompgraphError(f"another run (process {owner['pid']}) is at work in this folder; wait for it or stop it")
    if _locked():
        if owner is None or owner["host"] != socket.gethostname():
            raise CompgraphError(
                "this folder is locked by a Snakemake that `compgraph run` did not start here; if none is running "
                "any more, clear the lock with: snakemake --unlock"
            )
        with snakemake(root, config, ["--unlock"]) as process:
            for _ in process:
                pass
    try:
        yield _write_record
    finally:
        if not _locked():  # a Snakemake that was killed leaves its lock, and the record that tells whose it is
            RECORD.unlink(missing_ok=True)


def _locked() -> bool:
    """Whether Snakemake holds a lock of this folder, or left one behind."""
    locks = Path(".snakemake/locks")
    return locks.is_dir() and any(locks.iterdir())


@contextmanager
def results_held(folder: Path, say: Callable[[str], None]) -> Iterator[int]:
    """Hold a results folder against other runs, from whatever folder they are started; wait for one that holds it.

    Parameters
    ----------
    folder : Path
    say : callable
        Is told if there is something to wait for.

    Yields
    ------
    int
        Descriptor of the lock.
    """
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".run.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run is at work on {folder}; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            say(f"note: {folder} is on a disk without locks ({error.strerror}): start one run at a time")
        yield descriptor
    finally:
        os.close(descriptor)


def _read_record() -> dict[str, Any] | None:
    try:
        found = json.loads(RECORD.read_text(encoding="utf-8"))
        return {"host": str(found["host"]), "pid": int(found["pid"]), "born": float(found["born"])}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _write_record(pid: int) -> None:
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    record = {"host": socket.gethostname(), "pid": pid, "born": _born(pid)}
    RECORD.write_text(json.dumps(record), encoding="utf-8")


def _born(pid: int) -> float:
    """When a process was started; 0 if it is gone, or only waits for its parent to take notice of its end."""
    import psutil

    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return 0.0


def _alive(pid: int, born: float) -> bool:
    """Whether that very process still runs; another one may have got its number."""
    return born > 0 and abs(_born(pid) - born) < 1.0


def stage_of(rule: str) -> str:
    """The stage of a rule: every trained model has a rule of its own."""
    if rule.startswith("train_"):
        return "train"
    return rule.replace("_", "-")


def model_of(event: Event) -> str:
    """The model that a job's result is of; empty for the report."""
    wildcards = event.get("wildcards") or {}
    return str(wildcards.get("model") or wildcards.get("place", "").partition("/")[0])


def title(event: Event) -> str:
    """What a job makes, in a few words: ``effective tf/step-000100/mix heads``."""
    stage = stage_of(event["rule_name"])
    wildcards = event.get("wildcards") or {}
    where = "/".join(wildcards[key] for key in ("model", "checkpoint", "dataset") if key in wildcards)
    what = [wildcards[key] for key in ("place", "name", "figure", "graph") if key in wildcards]
    if stage == "train":
        where = event["rule_name"].removeprefix("train_")
    return " ".join(filter(None, [stage, where, *what]))


def tail(path: Path, lines: int = 15) -> list[str]:
    """The last lines of a text file; none if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return []
