"""Whatever happens to a run or its results: nothing wrong is ever taken for whole, and running again mends it.

``COMPGRAPH_FAULTS=200`` strikes 200 times, each kind equally often, and prints a table (``make test-faults``);
without it a few kinds strike once. ``COMPGRAPH_FAULT_SEED`` chooses other moments and kinds.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from compgraph import store
from compgraph.errors import StoreError
from tests.faults.faults import (
    AFTERWARDS,
    KILLED_JOB,
    ON_A_SMALL_DISK,
    SILENT,
    WHILE_RUNNING,
    Fault,
    kill_job,
    small_disk,
)
from tests.faults.study import ROOT, Site

STRIKES = int(os.environ.get("COMPGRAPH_FAULTS", "0"))
SEED = int(os.environ.get("COMPGRAPH_FAULT_SEED", "0"))
Count = tuple[str, str]
T = TypeVar("T")
ROUND = 5
"""Strikes between two runs that mend."""
TRIES = 12
"""Runs after which a kind that always comes too late has failed."""
KINDS = [KILLED_JOB, *WHILE_RUNNING, *AFTERWARDS, *ON_A_SMALL_DISK]
CHOSEN = set(KINDS if STRIKES else random.Random(SEED).sample(KINDS, 6))
"""Kinds that strike."""
EACH = max(1, -(-STRIKES // len(KINDS)))
"""How often each kind strikes."""
pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The finished study of an undisturbed run."""
    site = Site(tmp_path_factory.mktemp("undisturbed"))
    assert site.run() == 0, site.said
    assert len(site.manifests()) >= 20
    return site


@pytest.fixture(scope="session")
def counts() -> Iterator[Counter[Count]]:
    """How often each kind struck, as a table at the end."""
    found: Counter[Count] = Counter()
    yield found
    print("\n| fault | struck | taken for whole | made good by running again |\n| --- | --- | --- | --- |")
    for kind in [kind for kind in KINDS if found[kind, "struck"]]:
        print(f"| {kind} | {found[kind, 'struck']} | {found[kind, 'wrong']} | {found[kind, 'mended']} |")


def strike(kind: str, fault: Fault, site: Site, rng: random.Random, undisturbed: Site, counts: Counter[Count]) -> bool:
    """Do it, and look meanwhile and afterwards: every result that a reader accepts is the undisturbed one."""
    with watched(site, undisturbed) as wrong:
        done = fault(site, rng)
    counts[kind, "struck"] += done
    counts[kind, "wrong"] += len(wrong)
    assert not wrong, f"these look whole and are not: {wrong}"
    return done


@contextmanager
def watched(site: Site, undisturbed: Site) -> Iterator[set[str]]:
    """Look at all results again and again while the body runs, and once more at the end; yields what is wrong."""
    content = {path.relative_to(undisturbed.results).as_posix(): bytes_of(path) for path in undisturbed.manifests()}
    found: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        for name, expected in content.items():
            with contextlib.suppress(StoreError, OSError):  # refused, or replaced at this moment
                if bytes_of(site.results / name) != expected:
                    found.add(name)

    def look_on() -> None:
        while not ended.wait(0.5):
            look()

    watcher = threading.Thread(target=look_on)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()
    look()


def bytes_of(manifest: Path) -> dict[str, bytes]:
    """Digest and files of a result that its reader accepts."""
    result = store.open(manifest)
    return {"": result.digest.encode()} | {name: result.file(name).read_bytes() for name in result.manifest["files"]}


def mend(kind: str, site: Site, undisturbed: Site, counts: Counter[Count], *options: str) -> None:
    """The same command again ends with the undisturbed results."""
    assert site.run(*options) == 0, site.said
    assert site.files() == undisturbed.files()
    counts[kind, "mended"] = counts[kind, "struck"]


def rounds(strikes: Iterable[T]) -> Iterator[list[T]]:
    """Some strikes at a time, after which results are mended."""
    rest = iter(strikes)
    while some := list(itertools.islice(rest, ROUND)):
        yield some


def moments(kind: str) -> Iterator[random.Random]:
    for number in range(EACH):
        yield random.Random(f"{SEED}/{kind}/{number}")


def chosen(faults: dict[str, Fault]) -> list[str]:
    return [kind for kind in faults if kind in CHOSEN]


@pytest.mark.skipif(KILLED_JOB not in CHOSEN, reason="not in this sample")
def test_each_job_killed(undisturbed: Site, tmp_path: Path, counts: Counter[Count]) -> None:
    site, logs = copied(undisturbed, tmp_path), undisturbed.logs()
    logs = logs * -(-EACH // len(logs)) if STRIKES else random.Random(SEED).sample(logs, 1)
    for some in rounds(logs):
        for log in some:
            rng, kill = random.Random(f"{SEED}/{log}"), kill_job(log, undisturbed.seconds(log))
            for _ in range(TRIES):
                if strike(KILLED_JOB, kill, site, rng, undisturbed, counts):
                    break
            else:
                raise AssertionError(f"the job of {log} ended each time before it was killed")
        mend(KILLED_JOB, site, undisturbed, counts)


@pytest.mark.parametrize("kind", chosen(WHILE_RUNNING))
def test_a_run_that_is_struck(kind: str, undisturbed: Site, tmp_path: Path, counts: Counter[Count]) -> None:
    sites = (Site(tmp_path / str(number)) for number in itertools.count())
    site = next(sites)
    for rng in moments(kind):
        for _ in range(TRIES):
            struck = strike(kind, WHILE_RUNNING[kind], site, rng, undisturbed, counts)
            if len(site.manifests()) == len(undisturbed.manifests()):
                mend(kind, site, undisturbed, counts)
                site = next(sites)
            if struck:
                break
        else:
            raise AssertionError(f"no run could be struck in {TRIES}")
    mend(kind, site, undisturbed, counts)


@pytest.mark.parametrize("kind", chosen(AFTERWARDS))
def test_finished_results_that_are_struck(kind: str, undisturbed: Site, tmp_path: Path, counts: Counter[Count]) -> None:
    site = copied(undisturbed, tmp_path / "site")
    for some in rounds(moments(kind)):
        for rng in some:
            AFTERWARDS[kind](site, rng)
            strike(kind, lambda *_: True, site, rng, undisturbed, counts)
        mend(kind, site, undisturbed, counts, *(["--verify"] if kind in SILENT else []))


@pytest.mark.parametrize("kind", chosen(ON_A_SMALL_DISK))
def test_a_disk_that_fails(kind: str, undisturbed: Site, tmp_path: Path, counts: Counter[Count]) -> None:
    site = Site(tmp_path / "site", tmp_path / "disk")
    try:
        with small_disk(site.results, 100):
            for some in rounds(moments(kind)):
                if kind == "the disk read-only":
                    copied(undisturbed, site.folder, site.results)
                for rng in some:
                    strike(kind, ON_A_SMALL_DISK[kind], site, rng, undisturbed, counts)
                mend(kind, site, undisturbed, counts)
                for entry in site.results.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    except PermissionError as error:
        pytest.skip(str(error))


def copied(undisturbed: Site, folder: Path, results: Path | None = None) -> Site:
    """A copy of a finished study, with its records."""
    site = Site(folder, results)
    shutil.rmtree(site.folder / ".snakemake", ignore_errors=True)
    shutil.copytree(undisturbed.folder / ".snakemake", site.folder / ".snakemake")
    shutil.copytree(undisturbed.results, site.results, dirs_exist_ok=True)
    return site


def test_the_code_under_test_is_this_checkout() -> None:
    assert Path(store.__file__).is_relative_to(ROOT)
