"""Null graphs of randomised networks: which entries ask for them, and what they are made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compgraph.config.code import code_of, code_roots
from compgraph.config.problems import Problem
from compgraph.config.results import Result

if TYPE_CHECKING:
    from compgraph.config.fan_out import FanOut

READERS = ("communities", "statistics")
"""Stages that compare a graph with null graphs."""


def nulls_of(study: FanOut, reader: Result) -> Result | None:
    """The null graphs of randomised networks that a result is compared with, if it asks for some.

    Entries that want as many of the same kind from the same seed share them.
    """
    entry = study.entries(reader.stage)[reader.name] if reader.stage in READERS else None
    if entry is None or entry.null_model != "network" or not entry.n_nulls:
        return None
    name = f"{entry.randomised}-{entry.n_nulls}-{entry.seed}"
    return Result("nulls", name, reader.model, reader.checkpoint, reader.dataset, reader.graph)


@dataclass(frozen=True)
class Making:
    """How the null graphs of one graph are made."""

    study: FanOut
    nulls: Result

    @classmethod
    def at(cls, study: FanOut, place: str, name: str, graph: str) -> Making:
        """From a folder `model/checkpoint` or `model/checkpoint/dataset`, a name, and `stage.name` of the graph."""
        model, checkpoint, *dataset = place.split("/")
        return cls(study, Result("nulls", name, model, checkpoint, "".join(dataset), graph))

    @property
    def graph(self) -> Result:
        """The graph."""
        stage, _, name = self.nulls.graph.partition(".")
        return Result(stage, name, self.nulls.model, self.nulls.checkpoint, self.nulls.dataset)

    @property
    def recordings(self) -> list[Result]:
        """The buffer that a functional graph is made from."""
        return self.study.signals_of(self.graph) if self.graph.stage == "functional" else []

    @property
    def inputs(self) -> dict[str, Result]:
        """What is read, by role; `graph` and `model` first."""
        graph = self.graph
        found = {"graph": graph, "model": Result("model", graph.checkpoint, graph.model, graph.checkpoint)}
        if graph.dataset:
            found["data"] = Result("data", graph.dataset, graph.model, dataset=graph.dataset)
        if self.recordings:
            found["buffer"] = self.recordings[0]
        if rois := self.study.rois_of(graph):
            found["rois"] = rois
        for source in (graph, *self.recordings):
            if other := self.study.baseline_data_of(source):
                found["baseline-data"] = Result("data", other, graph.model, dataset=other)
        return found

    @property
    def flags(self) -> str:
        """Options of the verb."""
        randomised, n_nulls, seed = self.nulls.name.split("-")
        return f"--randomised {randomised} --n-nulls {n_nulls} --seed {seed}"

    @property
    def code(self) -> str:
        """Digest of the code behind the null graphs."""
        return code_of(self.roots)

    @property
    def roots(self) -> tuple[str, ...]:
        """Modules that this code starts from: the verb, and what makes the graph and its buffer."""
        roots = set(code_roots("nulls"))
        for result in (self.graph, *self.recordings):
            roots |= set(code_roots(result.stage, _entry(self.study, result)))
        return tuple(sorted(roots))


def _entry(study: FanOut, result: Result) -> Any:
    return study.config.activations if result.stage == "activations" else study.entries(result.stage)[result.name]


def without(study: FanOut) -> Iterator[Problem]:
    """Graphs of dictionary features, which no randomised network has, and of several datasets."""
    for reader in study.results():
        if (nulls := nulls_of(study, reader)) and len(Making(study, nulls).recordings) > 1:
            why = f"null_model is network, and {reader.graph} is made of several datasets: name other graphs"
            yield Problem((reader.stage, reader.name, "graphs"), why)
            continue
        if (nulls := nulls_of(study, reader)) and study.dictionaries_of(Making(study, nulls).graph):
            of_features = f"the units of {reader.graph} are features of dictionaries"
            why = f"null_model is network, and {of_features}, which random networks have none of; name other graphs"
            yield Problem((reader.stage, reader.name, "graphs"), why)
