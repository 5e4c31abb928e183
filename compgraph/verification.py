"""A results folder as a whole: is every result as it was written, and do they still belong together?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compgraph import store
from compgraph.checksums import FOREIGN
from compgraph.errors import StoreError
from compgraph.progress import track
from compgraph.provenance import EXTERNAL
from compgraph.released import describe, is_released
from compgraph.store import Result

__all__ = ["STATES", "Finding", "Tree", "damaged", "settle_dates", "survey", "verify_tree"]

STATES = {
    "torn": "not what was written",
    "stale": "made from something that is not there any more",
    "orphaned": "not asked for by the study",
    "leftover": "of a call that was interrupted",
    "unknown": "named by no manifest",
}
"""What can be said against a path of a results folder."""
ASIDE = (".run.lock", "README.md", "benchmarks", "cache", "logs", "report")
"""What lies beside the results and holds none."""


@dataclass(frozen=True)
class Finding:
    """Something said against one path.

    Attributes
    ----------
    state : str
        A key of `STATES`.
    path : Path
        The manifest of a result; a file or folder where it is none.
    reason : str
        Why, as a sentence.
    """

    state: str
    path: Path
    reason: str


@dataclass
class Tree:
    """What lies in a results folder.

    Attributes
    ----------
    results : dict of Path to Result
        Results that can be opened, by manifest, sorted.
    findings : list of Finding
    """

    results: dict[Path, Result] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def say(self, state: str, path: Path, reason: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(state, path, reason))

    def of(self, *states: str) -> list[Finding]:
        """Findings of some states, by path."""
        return sorted((one for one in self.findings if one.state in states), key=lambda one: one.path)

    @property
    def sound(self) -> bool:
        """Whether nothing is torn or stale."""
        return not self.of("torn", "stale")


def verify_tree(
    root: str | os.PathLike[str], wanted: Collection[str | os.PathLike[str]] | None = None, fast: bool = False
) -> Tree:
    """Check every result of a folder, and the chain of digests from each to what it was made from.

    Parameters
    ----------
    root : path
        The results folder.
    wanted : collection of paths, optional
        Manifests that a study asks for; others are orphaned. Nothing is orphaned if not given.
    fast : bool
        Compare the sizes of files instead of reading every byte.

    Returns
    -------
    Tree

    Raises
    ------
    StoreError
        If there is no such folder.
    """
    tree = survey(root)
    for manifest in track(list(tree.results), "checking results", unit="results"):
        try:
            if not fast and not is_released(manifest):
                store.verify(manifest)
            tree.results[manifest].provenance  # noqa: B018 - raises where a field is missing
        except StoreError as error:
            del tree.results[manifest]
            tree.say("torn", manifest, str(error))
    tree.findings += _stale(tree.results)
    if wanted is not None:
        asked = {Path(path).absolute() for path in wanted}
        for manifest in tree.results:
            if manifest.absolute() not in asked:
                tree.say("orphaned", manifest, "the study does not ask for it")
    return tree


def damaged(manifests: Iterable[str | os.PathLike[str]], every_byte: bool = False) -> dict[Path, str]:
    """Results that are not as they were written, with the reason; what does not exist is left out.

    Parameters
    ----------
    manifests : iterable of paths
    every_byte : bool
        Read everything, instead of comparing sizes and reading only what changed after its manifest was written.

    Returns
    -------
    dict of Path to str
    """
    found = {}
    for manifest in map(Path, manifests):
        if not manifest.exists() or is_released(manifest):
            continue
        try:
            result = store.open(manifest, lazy=not every_byte)
            sealed = manifest.stat().st_mtime_ns
            result.check(*(name for name in result.manifest["files"] if result.file(name).stat().st_mtime_ns > sealed))
        except StoreError as error:
            found[manifest] = str(error)
    return found


def settle_dates(paths: Iterable[str | os.PathLike[str]]) -> int:
    """Give files that seem to come from the future the date of today; how many there were.

    A clock that was wrong, or another machine's, leaves such files, and whatever compares dates takes all that is made
    from them for out of date.
    """
    now, settled = time.time(), 0
    for path in map(Path, paths):
        # Of a folder, what another program keeps in it to date it counts as well.
        late = [one for one in (path, *(path / name for name in FOREIGN)) if one.exists() and one.stat().st_mtime > now]
        for one in late:
            os.utime(one, (now, now))
        settled += bool(late)
    return settled


def survey(root: str | os.PathLike[str]) -> Tree:
    """Open all results of a folder by their manifests and sizes, and name what else lies there.

    Raises
    ------
    StoreError
        If there is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise StoreError(f"there is no results folder {root}")
    tree = Tree()
    _look(root, tree, ASIDE)
    tree.results = dict(sorted(tree.results.items()))
    return tree


def _look(folder: Path, tree: Tree, aside: Collection[str] = ()) -> None:
    """Add what lies in a folder; a folder without any trace of a result is one finding."""
    known = set(aside)
    for manifest in sorted(path for path in folder.glob("*.json") if not path.name.startswith(".")):
        known |= {manifest.name, *_payload_names(manifest)}
        try:
            released = is_released(manifest)
            tree.results[manifest] = describe(manifest) if released else store.open(manifest, lazy=True)
        except StoreError as error:
            tree.say("torn", manifest, str(error))
    for entry in sorted(folder.iterdir()):
        if entry.name in known:
            continue
        if _passing(entry.name):
            tree.say("leftover", entry, "an interrupted call left it behind")
        elif entry.name.startswith("."):
            continue
        elif entry.is_dir() and not entry.is_symlink():
            inner = Tree()
            _look(entry, inner)
            if inner.results or inner.of("torn", "leftover"):
                tree.results |= inner.results
                tree.findings += inner.findings
            else:
                tree.say("unknown", entry, STATES["unknown"])
        else:
            tree.say("unknown", entry, STATES["unknown"])


def _payload_names(manifest: Path) -> list[str]:
    """Names of a manifest's payload: the one it says, or all of its stem where it cannot be read."""
    try:
        payload = json.loads(manifest.read_text(encoding="utf-8"))["payload"]
    except (OSError, ValueError, KeyError, TypeError):
        return [path.name for path in manifest.parent.iterdir() if path.stem == manifest.stem]
    return [payload] if isinstance(payload, str) else []


def _passing(name: str) -> bool:
    """Whether a file or folder is one that the store makes for the time of its writing."""
    return name.endswith((".partial", ".old")) or (name.startswith(".") and name.endswith((".lock", ".tmp")))


def _stale(results: Mapping[Path, Result]) -> list[Finding]:
    """Results that are made, at any remove, from something that no sound result of the folder holds."""
    left, findings = dict(results), list[Finding]()
    while True:
        there = {result.digest for result in left.values()}
        broken = {
            manifest: (role, digest)
            for manifest, result in left.items()
            for role, digest in result.provenance.inputs.items()
            if role not in EXTERNAL and digest not in there
        }
        if not broken:
            return findings
        for manifest, (role, digest) in broken.items():
            del left[manifest]
            reason = f"no whole result is the {role} that it was made from ({digest[:23]}…)"
            findings.append(Finding("stale", manifest, reason))
