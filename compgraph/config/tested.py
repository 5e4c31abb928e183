"""Section ``tests``: where each entry applies, and what each of its results reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compgraph import catalogue
from compgraph.config.base import describe_unknown
from compgraph.config.problems import Problem
from compgraph.config.results import Result
from compgraph.config.tests import BLOCK_STAGES

if TYPE_CHECKING:
    from compgraph.config.config import Config
    from compgraph.config.fan_out import FanOut

Inputs = dict[str, Result]
"""Role of an input to the result that plays it.

Roles are ``graph``, ``dictionaries``, ``buffer``, ``blocks``, and the words of ``partitions``; the graph that such a
word names has the word's role with ``graph:`` before it.
"""


def results_of_tests(study: FanOut, graphs: list[Result]) -> Iterator[Result]:
    """Every result of the section, for the graphs of a study."""
    for name, entry in study.entries("tests").items():
        if on_graphs(entry):
            for graph in graphs:
                if (
                    study.reads("tests", entry, graph)
                    and _has_buffer(study, entry, graph)
                    and _has_blocks(study, entry, graph)
                ):
                    about = (graph.model, graph.checkpoint, graph.dataset)
                    yield Result("tests", name, *about, f"{graph.stage}.{graph.name}")
        else:
            for about in study.places("tests", entry):
                if _partitions(study, entry, *about):
                    yield Result("tests", name, *about)


def on_graphs(entry: Any) -> bool:
    """Whether an entry has a result for each graph, not one for each place."""
    return hasattr(entry, "graphs")


def inputs_of(study: FanOut, result: Result) -> Inputs:
    """What a result of ``tests`` reads beside its model and dataset."""
    entry = study.entries("tests")[result.name]
    place = (result.model, result.checkpoint, result.dataset)
    found: Inputs = {}
    if result.graph:
        stage, _, graph = result.graph.partition(".")
        found["graph"] = Result(stage, graph, *place)
        if needed := study.dictionaries_of(found["graph"]):
            found["dictionaries"] = needed
        if getattr(entry, "blocks", None):
            section, _, name = entry.blocks.partition(".")
            found["blocks"] = Result(section, name, *place, result.graph)
    if getattr(entry, "buffer", None):
        found["buffer"] = study.signals_of(result)[0]
    return found | _partitions(study, entry, *place)


def _partitions(study: FanOut, entry: Any, model: str, checkpoint: str, dataset: str) -> Inputs:
    """The regions of a place, of which those are left out that this installation cannot find."""
    found: Inputs = {}
    for word in getattr(entry, "partitions", None) or ():
        section, _, rest = word.partition(".")
        name, _, graph = rest.partition("@")
        where = "" if graph.startswith("structural.") else dataset
        if section not in BLOCK_STAGES:
            found[word] = Result(section, name, model, checkpoint, dataset)
        elif not catalogue.missing(catalogue.STAGES[section]):
            found[word] = Result(section, name, model, checkpoint, where, graph)
            stage, _, named = graph.partition(".")
            found[f"graph:{word}"] = Result(stage, named, model, checkpoint, where)
    return found


def _has_buffer(study: FanOut, entry: Any, graph: Result) -> bool:
    """Whether the attributions that an entry reads are of a graph's nodes; of features there are none."""
    return not hasattr(entry, "buffer") or study.dictionaries_of(graph) is None


def _has_blocks(study: FanOut, entry: Any, graph: Result) -> bool:
    """Whether the blocks that an entry asks for are found for a graph, if it asks for some."""
    section, _, name = (getattr(entry, "blocks", None) or "").partition(".")
    if not section:
        return True
    source = study.entries(section).get(name)
    able = not catalogue.missing(catalogue.STAGES[section]) and source is not None
    # Blocks of several graphs together are those of none of them.
    return able and not getattr(source, "joined", False) and study.reads(section, source, graph)


def unknown_names(config: Config) -> Iterator[Problem]:
    """Blocks and regions that are no entries of their sections."""
    blocks = [f"{stage}.{name}" for stage in BLOCK_STAGES for name in getattr(config, stage)]
    for test, entry in config.tests.items():
        named = getattr(entry, "blocks", None)
        if named and named not in blocks:
            yield Problem(("tests", test, "blocks"), describe_unknown("division into blocks", named, blocks))
        for index, word in enumerate(getattr(entry, "partitions", None) or ()):
            found, _, graph = word.partition("@")
            valid = [*(f"rois.{name}" for name in config.rois), *blocks]
            if found not in valid:
                yield Problem(("tests", test, "partitions", index), describe_unknown("region", found, valid))
            section, _, name = graph.partition(".")
            if graph and name not in getattr(config, section):
                listed = [f"{section}.{known}" for known in getattr(config, section)]
                yield Problem(("tests", test, "partitions", index), describe_unknown("graph", graph, listed))


def applies(study: FanOut) -> Iterator[Problem]:
    """Entries that apply to nothing, and regions that are not found where they are wanted."""
    results = study.results()
    for name, entry in study.entries("tests").items():
        own = [result for result in results if result.stage == "tests" and result.name == name]
        if not own and not _left_out(entry):
            about = "effective graph" if on_graphs(entry) else "place"
            blocks = " with these blocks" if getattr(entry, "blocks", None) else ""
            yield Problem(("tests", name), f"there is no {about}{blocks} that it applies to")
        for result in own:
            for role, read in inputs_of(study, result).items():
                if read not in results and read.stage != "rois":
                    why = f"it reads {role} at {read.place}, which the section {read.stage} does not make"
                    yield Problem(("tests", name), why)


def _left_out(entry: Any) -> bool:
    section = (getattr(entry, "blocks", None) or "").partition(".")[0]
    words = [section] if section else [word.partition(".")[0] for word in getattr(entry, "partitions", None) or ()]
    return bool(words) and all(word in BLOCK_STAGES and catalogue.missing(catalogue.STAGES[word]) for word in words)
