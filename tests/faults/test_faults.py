"""Whatever happens to a run or its results: nothing wrong is ever taken for whole, and running again mends it.

``COMPGRAPH_FAULTS=200`` strikes 200 times, each kind equally often, and prints a table (``make test-faults``);
without it a few kinds strike once. ``COMPGRAPH_FAULT_SEED`` chooses other moments and kinds.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from compgraph import store
from compgraph.errors import StoreError
from tests.faults.faults import AFTERWARDS, ON_A_SMALL_DISK, SILENT, WHILE_RUNNING, Fault, small_disk
from tests.faults.study import ROOT, Site

STRIKES = int(os.environ.get("COMPGRAPH_FAULTS", "0"))
SEED = int(os.environ.get("COMPGRAPH_FAULT_SEED", "0"))
Count = tuple[str, str]
KINDS = [*WHILE_RUNNING, *AFTERWARDS, *ON_A_SMALL_DISK]
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


def strike(kind: str, fault: Fault, site: Site, rng: random.Random, undisturbed: Site, counts: Counter[Count]) -> None:
    """Do it, then look: every result that a reader accepts is the undisturbed one."""
    fault(site, rng)
    counts[kind, "struck"] += 1
    wrong = [manifest for manifest in site.manifests() if _taken_for_whole(manifest, site, undisturbed)]
    counts[kind, "wrong"] += len(wrong)
    assert not wrong, f"these look whole and are not: {wrong}"


def _taken_for_whole(manifest: Path, site: Site, undisturbed: Site) -> bool:
    try:
        digest = store.open(manifest).digest
    except StoreError:
        return False
    reference = undisturbed.results / manifest.relative_to(site.results)
    return bool(digest != json.loads(reference.read_text())["digest"])


def mend(site: Site, undisturbed: Site, *options: str) -> None:
    """The same command again ends with the undisturbed results."""
    assert site.run(*options) == 0, site.said
    assert site.files() == undisturbed.files()


def moments(kind: str) -> Iterator[random.Random]:
    for number in range(EACH):
        yield random.Random(f"{SEED}/{kind}/{number}")


def chosen(faults: dict[str, Fault]) -> list[str]:
    return [kind for kind in faults if kind in CHOSEN]


@pytest.mark.parametrize("kind", chosen(WHILE_RUNNING))
def test_a_run_that_is_struck(kind: str, undisturbed: Site, tmp_path: Path, counts: Counter[Count]) -> None:
    site, pending = Site(tmp_path / "0"), 0
    for number, rng in enumerate(moments(kind), 1):
        strike(kind, WHILE_RUNNING[kind], site, rng, undisturbed, counts)
        pending += 1
        if number % 8 == 0 or number == EACH:  # what goes on from where it stopped has ever less to lose
            mend(site, undisturbed)
            counts[kind, "mended"] += pending
            site, pending = Site(tmp_path / str(number)), 0


@pytest.mark.parametrize("kind", chosen(AFTERWARDS))
def test_finished_results_that_are_struck(kind: str, undisturbed: Site, tmp_path: Path, counts: Counter[Count]) -> None:
    site = copied(undisturbed, tmp_path / "site")
    for rng in moments(kind):
        strike(kind, AFTERWARDS[kind], site, rng, undisturbed, counts)
        mend(site, undisturbed, *(["--verify"] if kind in SILENT else []))
        counts[kind, "mended"] += 1


@pytest.mark.parametrize("kind", chosen(ON_A_SMALL_DISK))
def test_a_disk_that_fails(kind: str, undisturbed: Site, tmp_path: Path, counts: Counter[Count]) -> None:
    site = Site(tmp_path / "site", tmp_path / "disk")
    try:
        with small_disk(site.results, 100):
            for rng in moments(kind):
                if kind == "the disk read-only":
                    copied(undisturbed, site.folder, site.results)
                strike(kind, ON_A_SMALL_DISK[kind], site, rng, undisturbed, counts)
                mend(site, undisturbed)
                counts[kind, "mended"] += 1
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
