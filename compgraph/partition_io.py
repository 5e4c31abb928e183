"""The folder of a partition: `partition.json` (names, reasons) and `labels.npy` (all labels in a row)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.arrays import read_array
from compgraph.errors import GraphError, StoreError
from compgraph.formats import other_format

if TYPE_CHECKING:
    from compgraph.partition import Partition

FORMAT = 1
ANEW = "make what holds it anew, by compgraph run or the verb that compgraph show names"


def write(partition: Partition, folder: Path) -> None:
    """Write a partition; the same partition gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    page = {
        "format": FORMAT,
        "kind": partition.kind,
        "digest": partition.digest,
        "sites": [
            {"site": site, "units": len(labels), "names": list(partition.names[site])}
            for site, labels in partition.labels.items()
        ],
        "reasons": {
            site: {why: list(units) for why, units in whys.items()}
            for site, whys in partition.reasons.items()
        },
        "empty": {site: list(parts) for site, parts in partition.empty.items()},
    }
    (folder / "partition.json").write_text(json.dumps(page, sort_keys=True, indent=1) + "\n")
    joined = np.concatenate([np.zeros(0, np.int32), *partition.labels.values()]).astype("<i4")
    np.save(folder / "labels.npy", joined, allow_pickle=False)


def read(folder: Path) -> tuple[dict[str, Any], str]:
    """Arguments of `Partition` and the digest recorded with them.

    Raises
    ------
    GraphError
        If a file is missing, torn, of another format, or the two disagree.
    """
    page_path, labels_path = folder / "partition.json", folder / "labels.npy"
    try:
        page = json.loads(page_path.read_text())
        joined = read_array(labels_path)
    except (OSError, ValueError, StoreError) as error:
        raise GraphError(f"{folder} is not a readable partition: {error}") from error
    found = page.get("format") if isinstance(page, dict) else None
    if found != FORMAT:
        raise GraphError(other_format(page_path, "partition", found, FORMAT, ANEW))
    try:
        ends = np.cumsum([entry["units"] for entry in page["sites"]], dtype=np.int64)
        sites = [entry["site"] for entry in page["sites"]]
        arguments = {
            "names": {entry["site"]: tuple(entry["names"]) for entry in page["sites"]},
            "kind": page["kind"],
            "reasons": page["reasons"],
            "empty": {site: tuple(names) for site, names in page["empty"].items()},
        }
        digest = page["digest"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GraphError(f"{page_path} lacks what a partition needs: {error}") from error
    if joined.shape != ((ends[-1] if len(ends) else 0),):
        raise GraphError(f"{labels_path} has shape {joined.shape}, which disagrees with {page_path}")
    pieces = np.split(joined, ends[:-1]) if len(ends) else []
    return {"labels": dict(zip(sites, pieces, strict=True)), **arguments}, digest
