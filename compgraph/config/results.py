"""A result of a study: what it is a result of, and where it lies below the results folder."""

from __future__ import annotations

from dataclasses import dataclass

from compgraph import catalogue

GRAPH_STAGES = ("structural", "functional", "effective")
BUFFER_STAGES = ("activations", "attributions")
"""Stages whose results are buffers."""
BUFFER_READERS = ("dictionaries", "functional", "rois", "tests")
"""Stages of which some entries read a buffer of activations or attributions."""
GRAPH_READERS = ("ablation", "communities", "sbm", "statistics")
"""Stages whose entries read graphs."""


PAYLOADS = {
    "model": "",
    "data": ".data",
    "activations": ".zarr",
    "attributions": ".zarr",
    "dictionaries": ".dictionaries",
    "structural": ".graph",
    "functional": ".graph",
    "effective": ".graph",
    "rois": ".partition",
    "ablation": ".zarr",
    "evaluation": ".parquet",
    "communities": ".parquet",
    "sbm": ".blocks",
    "tests": ".tables",
    "nulls": ".graphs",
    "statistics": ".parquet",
    "comparison": ".parquet",
    "tracking": ".tables",
    "scale": ".tables",
    "structures": ".tables",
    "wiring": ".tables",
    "ground-truth": ".tables",
    "explore": ".html",
    "figure": ".figure",
}
"""Ending of the payload beside the manifest of each stage's results."""


@dataclass(frozen=True)
class Result:
    """One result that the study asks for.

    Attributes
    ----------
    stage : str
        The section that makes it (``"model"`` for a checkpoint, ``"data"`` for a dataset).
    name : str
        Its entry.
    model, checkpoint, dataset : str
        What it is a result of; empty where it depends on none.
    graph : str
        The graph it is made from, as ``stage.name``; empty if it reads none.
    runs : str
        The entry of ``ablation`` whose outputs it reads; empty if it reads none.
    """

    stage: str
    name: str
    model: str
    checkpoint: str = ""
    dataset: str = ""
    graph: str = ""
    runs: str = ""

    @property
    def place(self) -> str:
        """Folder below the results: ``model/checkpoint`` or ``model/checkpoint/dataset``."""
        return "/".join(part for part in (self.model, self.checkpoint, self.dataset) if part)

    @property
    def path(self) -> str:
        """The manifest, below the results folder."""
        if self.stage == "model":
            return f"{self.model}/{self.checkpoint}/model.json"
        if self.stage == "data":
            return f"{self.model}/datasets/{self.dataset}.json"
        if self.stage == "activations":
            return f"{self.place}/activations.json"
        if self.stage == "figure":
            return f"figures/{self.place}/{self.name}.json"
        made_from = "".join(f"@{part}" for part in (self.runs, self.graph) if part)
        return f"{self.place}/{self.stage}/{self.name}{made_from}.json"


def figure_of(figure: str, results: list[Result]) -> Result:
    """The figure that shows some results together."""
    entry, first = catalogue.FIGURES[figure], results[0]
    if entry.per == "result":
        name = f"{figure}.{first.name}" + (f"@{first.graph}" if first.graph else "")
        return Result("figure", name, first.model, first.checkpoint, first.dataset, first.graph)
    checkpoint = "all" if entry.per == "model" else first.checkpoint
    name = f"{figure}.{first.name}" if entry.per == "entry" else figure
    return Result("figure", name, first.model, checkpoint, first.dataset)
