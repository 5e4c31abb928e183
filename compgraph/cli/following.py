"""Opening the same results at many checkpoints or models, and saving tables together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compgraph.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from compgraph.cli.console import Call
    from compgraph.emergence.snapshots import CommunityFit, Snapshot
    from compgraph.store import Result

Opened = dict[str, list["Result"]]
"""Path with placeholders -> the results that it leads to, in order."""


def open_all(paths: Iterable[str], places: Sequence[Mapping[str, str]]) -> Opened:
    """Open each path at each place.

    Parameters
    ----------
    paths
        Manifests with ``{checkpoint}`` or ``{model}`` in their names.
    places
        What the placeholders stand for.

    Raises
    ------
    DataError
        Naming every manifest that is not there.
    """
    from compgraph import store

    files = {path: [Path(path.format(**place)) for place in places] for path in paths}
    missing = [str(file) for there in files.values() for file in there if not file.is_file()]
    if missing:
        raise DataError(f"{len(missing)} of the manifests are missing: {', '.join(missing)}")
    return {path: [store.open(file) for file in there] for path, there in files.items()}


def snapshots(checkpoints: Sequence[str], opened: Opened) -> list[Snapshot]:
    """What was opened, by checkpoint.

    Raises
    ------
    DataError
        A checkpoint whose name tells no step.
    """
    from compgraph.config.models import step_of

    steps = {name: step_of(name) for name in checkpoints}
    for name, step in steps.items():
        if step is None:
            raise DataError(f"the checkpoint's name {name} tells no step, as step-000100 does")
    named = names(opened)
    return [
        snapshot(step or 0, [(named[path], there[k]) for path, there in opened.items()])
        for k, step in enumerate(steps.values())
    ]


def snapshot(step: int, results: Iterable[tuple[str, Result]]) -> Snapshot:
    """Results of one network, each with the name of its series."""
    from compgraph import store
    from compgraph.communities.block_model import BlockModel
    from compgraph.emergence.snapshots import Snapshot
    from compgraph.graph import ComputationalGraph
    from compgraph.partition import Partition

    parts: dict[str, dict[str, Any]] = {field: {} for field in FIELDS.values()}
    for name, result in results:
        if result.kind not in FIELDS:
            continue
        if result.kind == "graph":
            found: Any = ComputationalGraph.load(result.path)
        elif result.kind == "sbm":
            found = BlockModel.load(result.path)
        elif result.kind == "partition":
            found = Partition.load(result.path)
        elif result.kind == "communities":
            found = _communities(result)
        elif result.kind == "test":
            found = store.read_table(result.file("index.parquet"))
        else:
            found = store.read_table(result.path)
        parts[FIELDS[result.kind]][name] = found
    return Snapshot(step, **parts)


FIELDS = {
    "graph": "graphs",
    "faithfulness": "curves",
    "sbm": "blocks",
    "communities": "communities",
    "statistics": "statistics",
    "partition": "regions",
    "test": "separability",
}
"""Kind of result -> the field of a snapshot that holds it."""


def _communities(result: Result) -> CommunityFit:
    from compgraph import store
    from compgraph.emergence.snapshots import CommunityFit

    table, said = store.read_table(result.path), result.summary
    chance = said["chance"] or {}
    numbers = {"null_mean": chance.get("null_mean"), "null_low": chance.get("low"), "null_high": chance.get("high")}
    quality = chance.get("value", said["quality"])
    known = {name: float("nan") if value is None else value for name, value in {"quality": quality, **numbers}.items()}
    labels = dict(zip(table["node"], table["community"].tolist(), strict=True))
    return CommunityFit(n=said["n"], labels=labels, **known)


def names(opened: Opened) -> dict[str, str]:
    """Path -> name of its series: `effective.heads`; of an evaluation `runs@graph`, else `entry@graph`."""
    found = {}
    for path, results in opened.items():
        stem, kind = Path(path).stem, results[0].kind
        short = stem.partition("@")[2] if kind == "faithfulness" else stem
        found[path] = f"{Path(path).parent.name}.{stem}" if kind == "graph" else short
    clashes = {name for name in found.values() if list(found.values()).count(name) > 1}
    return {path: Path(path).stem if name in clashes and "@" in name else name for path, name in found.items()}


def save_tables(
    call: Call,
    tables: Mapping[str, pd.DataFrame],
    output: Path,
    kind: str,
    opened: Opened,
    summary: Mapping[str, Any],
    notes: Iterable[str] = (),
) -> None:
    """Write several tables as this call's result."""
    from compgraph.store import write_table

    inputs = {_role(result): result for there in opened.values() for result in there}
    with call.result(output, kind, ".tables", inputs=inputs) as draft:
        draft.path.mkdir()
        for name, table in tables.items():
            write_table(table, draft.path / f"{name}.parquet")
        draft.summary.update({"tables": list(tables)}, **summary)
        for note in notes:
            draft.warn(note)


def _role(result: Result) -> str:
    """Where an input lies, without the results folder: `step-000100/mixture/sbm/nested@effective.heads`."""
    parts = result.manifest_path.with_suffix("").parts
    return "/".join(parts[-5:])
