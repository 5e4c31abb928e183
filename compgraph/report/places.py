"""Where a result lies says what it belongs to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

READERS = (
    "attributions",
    "dictionaries",
    "structural",
    "functional",
    "effective",
    "rois",
    "ablation",
    "evaluation",
    "communities",
    "sbm",
    "tests",
    "nulls",
    "statistics",
    "comparison",
    "tracking",
    "scale",
    "structures",
    "wiring",
    "ground-truth",
    "explore",
)


@dataclass(frozen=True)
class Place:
    """The parts of a manifest's path.

    Attributes
    ----------
    name
        The path below the results folder, without `.json`.
    model, checkpoint, dataset
        What the result belongs to; empty where it belongs to none.
    stage
        `model`, `data`, `activations`, `figure`, a graph stage or a stage that reads graphs; empty if
        unknown.
    entry
        Name of the config entry, or of the figure.
    graph
        The graph that a reader read, as `stage.name`.
    runs
        The entry of `ablation` whose runs an evaluation read.
    """

    name: str
    model: str = ""
    checkpoint: str = ""
    dataset: str = ""
    stage: str = ""
    entry: str = ""
    graph: str = ""
    runs: str = ""

    @property
    def about(self) -> str:
        """`mixture, step-000100, ioi`."""
        return ", ".join(part for part in (self.model, self.checkpoint, self.dataset) if part)


def place_of(manifest: Path, root: Path) -> Place:
    """Parse a manifest's path below the results folder."""
    relative = Path(os.path.relpath(manifest, root)).with_suffix("").as_posix()
    parts = relative.split("/")
    if parts[0] == "figures":
        model, checkpoint, dataset, *_ = [*parts[1:-1], "", "", ""]
        return Place(relative, model, checkpoint, dataset, "figure", parts[-1])
    model, last = parts[0], parts[-1]
    if len(parts) == 3 and parts[1] == "datasets":
        return Place(relative, model, dataset=last, stage="data", entry=last)
    if len(parts) == 3 and last == "model":
        return Place(relative, model, parts[1], stage="model", entry=last)
    if len(parts) == 4 and last == "activations":
        return Place(relative, model, parts[1], parts[2], "activations", last)
    if len(parts) in (4, 5) and parts[-2] in READERS:
        entry, *made_from = last.split("@")
        runs, graph = ["", "", *made_from][-2:]
        dataset = parts[2] if len(parts) == 5 else ""
        return Place(relative, model, parts[1], dataset, parts[-2], entry, graph, runs)
    return Place(relative, entry=last)
