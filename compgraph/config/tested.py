"""Section ``tests``: where each entry applies, and what each of its results reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compgraph.config.base import describe_unknown
from compgraph.config.problems import Problem
from compgraph.config.results import Result
from compgraph.config.serving import lacking
from compgraph.config.tests import BLOCK_STAGES, SOURCES

if TYPE_CHECKING:
    from compgraph.config.config import Config
    from compgraph.config.fan_out import FanOut

Inputs = dict[str, Result]
"""Role of an input to the result that plays it.

Roles are ``graph``, ``dictionaries``, ``buffer``, ``blocks``, and the words of ``partitions``; the graph that such a
word names has the word's role with ``graph:`` before it. Graphs made again are ``again:seeds:WORD`` and
``again:phrasings:WORD``, and the data that one was made from, where they are others, ``data:WORD``.
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
        if not result.graph and (needed := study.dictionaries_of(found["buffer"])):
            found["dictionaries"] = needed
    return found | _replicates(entry, result) | _partitions(study, entry, *place)


def _replicates(entry: Any, result: Result) -> Inputs:
    """Graphs made again, and their data; of words that name what the result is of anyway there is none."""
    found: Inputs = {}
    for source in SOURCES:
        for word in getattr(entry, source, None) or ():
            graph, dataset = replicate(word, result.graph, result.dataset)
            if (graph, dataset) == (result.graph, result.dataset):
                continue
            stage, _, name = graph.partition(".")
            found[f"again:{source}:{word}"] = Result(stage, name, result.model, result.checkpoint, dataset)
            if dataset != result.dataset:
                found[f"data:{word}"] = Result("data", dataset, result.model, dataset=dataset)
    return found


def replicate(word: str, graph: str, dataset: str) -> tuple[str, str]:
    """Graph (``effective.name``) and dataset that a word means, for a graph of a dataset."""
    if not word.startswith("effective."):
        return graph, word
    named, _, other = word.partition("@")
    return named, other or dataset


def _partitions(study: FanOut, entry: Any, model: str, checkpoint: str, dataset: str) -> Inputs:
    """The regions of a place, of which those are left out that this installation cannot find."""
    found: Inputs = {}
    for word in getattr(entry, "partitions", None) or ():
        section, _, rest = word.partition(".")
        name, _, graph = rest.partition("@")
        where = "" if graph.startswith("structural.") else dataset
        if section not in BLOCK_STAGES:
            found[word] = Result(section, name, model, checkpoint, dataset)
        elif not lacking(section, study.entries(section)[name]):
            found[word] = Result(section, name, model, checkpoint, where, graph)
            stage, _, named = graph.partition(".")
            found[f"graph:{word}"] = Result(stage, named, model, checkpoint, where)
    return found


def _has_buffer(study: FanOut, entry: Any, graph: Result) -> bool:
    """Whether the attributions that an entry reads are of the units, or of the features, that a graph's nodes have."""
    if not hasattr(entry, "buffer"):
        return True
    read = study.entries("attributions").get((entry.buffer or "").partition(".")[2])
    own = getattr(study.entries(graph.stage)[graph.name], "dictionaries", None)
    return getattr(read, "dictionaries", None) == own


def _has_blocks(study: FanOut, entry: Any, graph: Result) -> bool:
    """Whether the blocks that an entry asks for are found for a graph, if it asks for some."""
    section, _, name = (getattr(entry, "blocks", None) or "").partition(".")
    if not section:
        return True
    source = study.entries(section).get(name)
    return source is not None and not lacking(section, source) and study.reads(section, source, graph)


def unknown_names(config: Config) -> Iterator[Problem]:
    """Blocks and regions that are no entries of their sections."""
    blocks = [f"{stage}.{name}" for stage in BLOCK_STAGES for name in getattr(config, stage)]
    for test, entry in config.tests.items():
        yield from _unknown_replicates(config, test, entry)
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


def _unknown_replicates(config: Config, test: str, entry: Any) -> Iterator[Problem]:
    """Words that name no dataset and no effective graph; and none at all."""
    known = [f"effective.{name}" for name in config.effective]
    for source in SOURCES:
        for index, word in enumerate(getattr(entry, source, None) or ()):
            graph, dataset = replicate(word, "", "")
            if graph and graph not in known:
                yield Problem(("tests", test, source, index), describe_unknown("graph", graph, known))
            if dataset and dataset not in config.datasets:
                yield Problem(("tests", test, source, index), describe_unknown("dataset", dataset, [*config.datasets]))
    if hasattr(entry, "seeds") and not (entry.seeds or entry.phrasings):
        yield Problem(("tests", test), "it names no graph to compare with: give seeds, phrasings, or both")


def _other_nodes(study: FanOut, result: Result, inputs: Inputs) -> Iterator[Problem]:
    """Graphs made again must have the nodes and channels of the graph that they are compared with."""
    for role, read in inputs.items():
        if not role.startswith("again:"):
            continue
        own, other = (study.entries("effective")[one.name] for one in (inputs["graph"], read))
        for key in ("partition", "split_qkv", "dictionaries"):
            if getattr(own, key) != getattr(other, key):
                words = f"effective.{read.name} has {key}: {getattr(other, key)}, and {result.graph} has"
                why = f"{words} {getattr(own, key)}; only graphs over the same nodes can be compared"
                yield Problem(("tests", result.name, role.split(":")[1]), why)


def applies(study: FanOut) -> Iterator[Problem]:
    """Entries that apply to nothing, and regions that are not found where they are wanted."""
    results = study.results()
    for name, entry in study.entries("tests").items():
        own = [result for result in results if result.stage == "tests" and result.name == name]
        if not own and not _left_out(study, entry):
            about = "effective graph" if on_graphs(entry) else "place"
            blocks = " with these blocks" if getattr(entry, "blocks", None) else ""
            yield Problem(("tests", name), f"there is no {about}{blocks} that it applies to")
        for result in own:
            inputs = inputs_of(study, result)
            yield from _other_nodes(study, result, inputs)
            for role, read in inputs.items():
                if read not in results and read.stage != "rois":
                    why = f"it reads {role} at {read.place}, which the section {read.stage} does not make"
                    yield Problem(("tests", name), why)


def _left_out(study: FanOut, entry: Any) -> bool:
    """Whether all blocks that an entry reads need a library that is not installed."""
    blocks: str | None = getattr(entry, "blocks", None)
    words: list[str] = [blocks] if blocks else getattr(entry, "partitions", None) or []
    named = [word.partition("@")[0].partition(".")[::2] for word in words]
    return bool(named) and all(
        section in BLOCK_STAGES and lacking(section, study.entries(section)[name]) for section, name in named
    )
