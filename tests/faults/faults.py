"""What can go wrong, each as something done to a study: while it runs, or to its finished results."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.faults.study import Site

Fault = Callable[[Site, random.Random], bool]
"""Does it; False if it came too late, after the end of what it was to strike."""
LONGEST = 600.0
"""Seconds that a run may take."""


def _processes(run: subprocess.Popen[str]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(run.pid).children(recursive=True)
    return []


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def _snakemake(run: subprocess.Popen[str]) -> list[psutil.Process]:
    return [one for one in _processes(run) if "snakemake" in _words(one) and "-m" in _words(one)][:1]


def _stages(run: subprocess.Popen[str]) -> list[psutil.Process]:
    """Processes that make results: several each, or one."""
    return [
        one
        for one in _processes(run)
        if any(word == "compgraph.cli.worker" or word.endswith("bin/compgraph") for word in _words(one))
    ]


def _wait(
    run: subprocess.Popen[str], rng: random.Random, find: Callable[[subprocess.Popen[str]], list[psutil.Process]]
) -> list[psutil.Process]:
    """Wait until what is sought runs, and then for a random moment of its life; empty if the run ended before."""
    until = time.monotonic() + LONGEST
    while run.poll() is None and time.monotonic() < until:
        found = find(run)
        if found:
            time.sleep(rng.random() * rng.choice([0.5, 4.0, 12.0]))
            return find(run)
        time.sleep(0.05)
    return []


def kill_job(log: str, seconds: float) -> Fault:
    """SIGKILL of the job that writes a log, at a random moment of its work; its result is made again for that.

    Parameters
    ----------
    log : str
        The log, below the results' ``logs``.
    seconds : float
        How long the job takes.
    """

    def kill(site: Site, rng: random.Random) -> bool:
        for manifest in site.made_with(log):
            manifest.unlink()
        path, begun = site.results / "logs" / log, time.time_ns()
        run = site.start()
        while run.poll() is None and not (path.exists() and path.stat().st_mtime_ns > begun):
            time.sleep(0.01)
        time.sleep(rng.random() * seconds)
        for process in _stages(run):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return run.wait(timeout=LONGEST) != 0

    return kill


def kill_snakemake(site: Site, rng: random.Random) -> bool:
    """SIGKILL of Snakemake; its jobs live on for a while."""
    run = site.start()
    for process in _wait(run, rng, _snakemake):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return run.wait(timeout=LONGEST) != 0


def kill_launcher(site: Site, rng: random.Random) -> bool:
    """SIGKILL of ``compgraph run`` alone; Snakemake and its jobs live on, then all is killed."""
    run = site.start()
    _wait(run, rng, _stages)
    family = _processes(run)
    run.kill()
    code = run.wait()
    time.sleep(rng.random() * 3)
    _end(family)
    return code != 0


def kill_all(site: Site, rng: random.Random) -> bool:
    """SIGKILL of the whole process group and everything below it."""
    run = site.start()
    _wait(run, rng, _stages)
    family = _processes(run)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    _end(family)
    return run.wait() != 0


def interrupt(site: Site, rng: random.Random) -> bool:
    """SIGINT, as by Ctrl-C: the whole group gets it."""
    run = site.start()
    _wait(run, rng, _stages)
    with contextlib.suppress(ProcessLookupError):  # it may have ended meanwhile
        os.killpg(run.pid, signal.SIGINT)
    return run.wait(timeout=LONGEST) != 0


def terminate(site: Site, rng: random.Random) -> bool:
    """SIGTERM of ``compgraph run``, as by a batch system."""
    run = site.start()
    _wait(run, rng, _stages)
    run.terminate()
    return run.wait(timeout=LONGEST) != 0


def _end(family: list[psutil.Process]) -> None:
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=30)


def out_of_memory(site: Site, rng: random.Random) -> bool:
    """A limit of memory under which some jobs, or all, fail."""
    limit = rng.choice([400, 1200, 2500]) * 10**6
    return site.run(prefix=["prlimit", f"--as={limit}"]) != 0


def twice_at_once(site: Site, rng: random.Random) -> bool:
    """Two runs of the same study from two folders into the same results."""
    other = Site(site.folder / "elsewhere", site.results)
    first = site.start()
    time.sleep(rng.random() * 10)
    codes = [run.wait(timeout=LONGEST) for run in (first, other.start())]
    assert codes == [0, 0], (site.said, other.said)
    return True


def lose_records(site: Site, rng: random.Random) -> bool:
    """Snakemake's folder of records is lost, some results with it."""
    shutil.rmtree(site.folder / ".snakemake", ignore_errors=True)
    rng.choice(site.manifests()).unlink()
    return True


def move_clock(site: Site, rng: random.Random) -> bool:
    """Files seem to come from the future or from long ago, in no order."""
    for path in site.results.rglob("*"):
        moment = time.time() + rng.choice([-1, 1]) * rng.random() * 10 * 365 * 86400
        os.utime(path, (moment, moment))
    rng.choice(site.manifests()).unlink()
    return True


def _payload_file(site: Site, rng: random.Random, ending: str = "") -> Path:
    """A file of a random result's payload."""
    known = {path.relative_to(site.results).as_posix() for path in site.manifests()}
    names = [name for name in site.files() if name not in known and name.endswith(ending)]
    return site.results / rng.choice(names)


def flip_bit(site: Site, rng: random.Random) -> bool:
    """One bit of one file of any result is another."""
    path = _payload_file(site, rng)
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))
    return True


def flip_bit_silently(site: Site, rng: random.Random) -> bool:
    """The same without a trace in size or date, as a bad disk does."""
    path = _payload_file(site, rng)
    moment = path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))
    os.utime(path, ns=(moment, moment))
    return True


def remove_file(site: Site, rng: random.Random) -> bool:
    """A file of a payload is gone: a chunk, a table."""
    _payload_file(site, rng).unlink()
    return True


def truncate_file(site: Site, rng: random.Random) -> bool:
    """A file of a payload is cut."""
    path = _payload_file(site, rng)
    os.truncate(path, int(path.stat().st_size * rng.random()))
    return True


def lose_payload(site: Site, rng: random.Random) -> bool:
    """A manifest without what it describes."""
    named = ((path.parent, json.loads(path.read_bytes())["payload"]) for path in site.manifests())
    path = rng.choice([folder / name for folder, name in named if name and (folder / name).exists()])
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return True


def lose_manifest(site: Site, rng: random.Random) -> bool:
    """A payload without its manifest."""
    rng.choice(site.manifests()).unlink()
    return True


def tear_manifest(site: Site, rng: random.Random) -> bool:
    """A manifest of which only the beginning is left."""
    manifest = rng.choice(site.manifests())
    os.truncate(manifest, int(manifest.stat().st_size * rng.random()))
    return True


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[None]:
    """A disk of a given size at a folder.

    Raises
    ------
    PermissionError
        Where this user may mount none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={int(megabytes * 1000)}k", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*words: str) -> None:
    if os.geteuid() or subprocess.run(["mount", *words], capture_output=True).returncode:
        raise PermissionError("a disk cannot be mounted here")


def fill_disk(site: Site, rng: random.Random) -> bool:
    """The disk is full at some point of the run; then there is room again."""
    used = shutil.disk_usage(site.results).used // 1000
    _mount("-o", f"remount,size={used + rng.randrange(20, 800)}k", str(site.results))
    code = site.run()
    _mount("-o", "remount,size=100M", str(site.results))
    return code != 0


def write_protect(site: Site, rng: random.Random) -> bool:
    """The results may not be written; then they may."""
    rng.choice(site.manifests()).unlink()
    _mount("-o", "remount,ro", str(site.results))
    assert site.run() != 0
    _mount("-o", "remount,rw", str(site.results))
    return True


KILLED_JOB = "a job killed"
"""Done by :func:`kill_job` to each job in turn."""
WHILE_RUNNING: dict[str, Fault] = {
    "Snakemake killed": kill_snakemake,
    "the launcher killed": kill_launcher,
    "everything killed": kill_all,
    "Ctrl-C": interrupt,
    "SIGTERM": terminate,
    "out of memory": out_of_memory,
    "two runs at once": twice_at_once,
}
"""Done to a study that is not finished."""
AFTERWARDS: dict[str, Fault] = {
    "a bit flipped": flip_bit,
    "a bit flipped without trace": flip_bit_silently,
    "a file or chunk removed": remove_file,
    "a file or chunk cut": truncate_file,
    "a manifest without its payload": lose_payload,
    "a payload without its manifest": lose_manifest,
    "a torn manifest": tear_manifest,
    "Snakemake's records lost": lose_records,
    "a clock that jumps": move_clock,
}
"""Done to finished results."""
ON_A_SMALL_DISK: dict[str, Fault] = {"the disk full": fill_disk, "the disk read-only": write_protect}
"""Done where the results lie on a disk of their own."""
SILENT = ("a bit flipped without trace",)
"""Faults that only ``compgraph run --verify`` looks for; every reader refuses such a file all the same."""
