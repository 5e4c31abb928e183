"""Which results a config asks for, and what each reads: the fan-out over models, checkpoints, datasets and graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from compgraph import catalogue
from compgraph.config import of_no_model
from compgraph.config.followed import results_of_scale, results_of_tracking
from compgraph.config.models import step_of
from compgraph.config.null_graphs import nulls_of
from compgraph.config.pages import results_of_pages
from compgraph.config.results import BUFFER_READERS, GRAPH_READERS, GRAPH_STAGES, Result, figure_of
from compgraph.config.rois import WEIGHTS, signals_of
from compgraph.config.serving import Serving, datasets_besides, lacking, rois_in
from compgraph.config.tested import inputs_of, results_of_tests

ON_EFFECTIVE = ("ablation", "tests")
"""Stages that read effective graphs only."""

OVER_SEVERAL = ("tracking", "scale")
"""Stages whose results are of several checkpoints."""

DRAWN = (
    "dictionaries", "rois", *GRAPH_STAGES, *GRAPH_READERS, "evaluation", "tests", "comparison", *OVER_SEVERAL,
    *of_no_model.STAGES,
)  # fmt: skip
"""Stages whose results figures show."""

COMPARING = ("attributions", "effective", "ablation", "tests")
"""Stages whose entries name a baseline."""

class FanOut(Serving):
    """A validated config and its results."""

    def entries(self, stage: str) -> dict[str, Any]:
        """The entries of a section that fans out."""
        return dict(getattr(self.config, stage))

    def models_for(self, stage: str, entry: Any) -> list[str]:
        """Models an entry applies to: those it names, or all that it can serve."""
        named = getattr(entry, "models", None)
        return [
            model
            for model in self.config.models
            if (named is None or model in named) and not self.against_model(stage, entry, model)
        ]

    def datasets_for(self, stage: str, entry: Any, model: str) -> list[str]:
        """Datasets an entry applies to, for one model."""
        return [
            dataset
            for dataset in self.config.datasets
            if self.selects(entry, dataset)
            and not self.against_reading(entry, model, dataset)
            and not self.against_dataset(stage, entry, dataset)
            and not (getattr(entry, "baseline_data", None) and self.against_pair(model, entry.baseline_data))
        ]

    def selects(self, entry: Any, dataset: str) -> bool:
        """Whether an entry is about a dataset: one that it names, or any that is not made on request alone."""
        named = getattr(entry, "datasets", None)
        if named is not None:
            return dataset in named
        return not (dataset and self.config.datasets[dataset].on_request)

    def checkpoints_for(self, entry: Any, model: str) -> list[str]:
        """Checkpoints of a model an entry applies to."""
        known = self.facts[model].checkpoints
        if entry.checkpoints == "all":
            return list(known)
        if entry.checkpoints == "last":
            return [known[-1]]
        return [checkpoint for checkpoint in known if checkpoint in entry.checkpoints]

    def places(self, stage: str, entry: Any) -> Iterator[tuple[str, str, str]]:
        """(model, checkpoint, dataset) of every result of an entry that reads data."""
        for model in self.models_for(stage, entry):
            for checkpoint in self.checkpoints_for(entry, model):
                for dataset in self.datasets_for(stage, entry, model):
                    yield model, checkpoint, dataset

    def results(self) -> list[Result]:
        """Every result of the study, in pipeline order, without repetition."""
        return list(self._results)

    @cached_property
    def _results(self) -> dict[Result, None]:
        graphs = list(self._made_graphs)
        tests = list(results_of_tests(self, graphs))
        rois = list(self._rois([*graphs, *tests]))
        readers = [result for stage in GRAPH_READERS for result in self._readers(stage, graphs)]
        nulls = [one for reader in readers if (one := nulls_of(self, reader))]
        readers += [*self._evaluations(readers), *tests, *self._comparisons()]
        read = list(self._buffers([*graphs, *rois, *tests]))
        attributions = [one for one in read if one.stage == "attributions"]
        dictionaries = list(self._dictionaries([*graphs, *rois, *attributions]))
        activations = [one for one in [*read, *self._buffers(dictionaries)] if one.stage == "activations"]
        made = [*activations, *dictionaries, *attributions, *rois, *graphs, *nulls, *readers]
        made += results_of_tracking(self, list(dict.fromkeys(made)))
        made += results_of_scale(self, list(dict.fromkeys(made)))
        made += of_no_model.results_of_no_model(self.config)
        pages = results_of_pages(self, made)
        datasets = {
            (result.model, result.dataset): None for result in made if result.dataset and result.stage != "scale"
        }
        models = [
            Result("model", checkpoint, model, checkpoint)
            for model, facts in self.facts.items()
            for checkpoint in facts.checkpoints
        ]
        # The data that baselines are taken from are made even where nothing else reads them.
        datasets |= {(result.model, other): None for result in made if (other := self.baseline_data_of(result))}
        data = [Result("data", dataset, model, dataset=dataset) for model, dataset in datasets]
        figures = self._figures([one for one in made if one.stage in DRAWN])
        return dict.fromkeys([*models, *data, *made, *pages, *figures])

    def _graphs(self, stage: str) -> Iterator[Result]:
        for name, entry in self.entries(stage).items():
            if stage == "structural":
                for model in self.models_for(stage, entry):
                    for checkpoint in self.checkpoints_for(entry, model):
                        yield Result(stage, name, model, checkpoint)
            else:
                for model, checkpoint, dataset in self.places(stage, entry):
                    yield Result(stage, name, model, checkpoint, dataset)

    def _rois(self, readers: list[Result]) -> Iterator[Result]:
        for name, entry in self.entries("rois").items():
            for model, checkpoint, dataset in self.places("rois", entry):
                yield from self._with_like(Result("rois", name, model, checkpoint, dataset))
        # A partition that a graph or a test asks for is made even at checkpoints its own entry does not select.
        for reader in readers:
            if reader.stage == "tests":
                needed = [read for read in inputs_of(self, reader).values() if read.stage == "rois"]
            else:
                needed = [one] if (one := self.rois_of(reader)) else []
            for partition in needed:
                yield from self._with_like(partition)

    def _with_like(self, partition: Result) -> Iterator[Result]:
        """A partition, and before it the one whose sizes it has."""
        if other := self.like_of(partition):
            yield other
        yield partition

    def _dictionaries(self, readers: list[Result]) -> Iterator[Result]:
        for name, entry in self.entries("dictionaries").items():
            for model, checkpoint, dataset in self.places("dictionaries", entry):
                yield Result("dictionaries", name, model, checkpoint, dataset)
        # Those that another result is made with are made even at checkpoints their own entry does not select.
        for reader in readers:
            if needed := self.dictionaries_of(reader):
                yield needed

    def _buffers(self, readers: list[Result]) -> Iterator[Result]:
        for model, checkpoint, dataset in self.places("activations", self.config.activations):
            yield Result("activations", "activations", model, checkpoint, dataset)
        for name, entry in self.entries("attributions").items():
            for model, checkpoint, dataset in self.places("attributions", entry):
                yield Result("attributions", name, model, checkpoint, dataset)
        # A buffer that another section reads is made even where its own does not select it.
        for reader in readers:
            if reader.stage in BUFFER_READERS:
                yield from (one for one in self.signals_of(reader) if one.stage != "model")

    def left_out(self) -> list[str]:
        """What the config asks for and this installation cannot make, in words; the rest works without."""
        return [
            f"{stage}.{name} is left out: it needs {', '.join(needed)}, which is not installed (see compgraph doctor)"
            for stage in GRAPH_READERS
            for name, entry in self.entries(stage).items()
            if (needed := lacking(stage, entry))
        ]

    def _readers(self, stage: str, graphs: list[Result]) -> Iterator[Result]:
        for name, entry in self.entries(stage).items():
            if lacking(stage, entry):
                continue
            if getattr(entry, "joined", False):
                yield from self._joint(stage, name, graphs)
                continue
            for graph in graphs:
                if self.reads(stage, entry, graph):
                    yield Result(
                        stage, name, graph.model, graph.checkpoint, graph.dataset, f"{graph.stage}.{graph.name}"
                    )

    def _joint(self, stage: str, name: str, graphs: list[Result]) -> Iterator[Result]:
        """One result of all graphs together: at each place, or of all datasets of a checkpoint."""
        entry = self.entries(stage)[name]
        of_data = [graph for graph in graphs if graph.dataset and self.reads(stage, entry, graph)]
        apart = entry.layers == "graphs"
        places = dict.fromkeys(
            Result(stage, name, graph.model, graph.checkpoint, graph.dataset if apart else "") for graph in of_data
        )
        yield from (place for place in places if len(self.layers_of(place)) > 1)

    def layers_of(self, result: Result) -> list[Result]:
        """The graphs that a result of several graphs reads, in the order of the study."""
        entry = self.entries(result.stage)[result.name]
        return [
            graph
            for graph in self._made_graphs
            if (graph.model, graph.checkpoint) == (result.model, result.checkpoint)
            and graph.dataset in ((result.dataset, "") if entry.layers == "graphs" else self.config.datasets)
            and self.reads(result.stage, entry, graph)
        ]

    def _evaluations(self, made: list[Result]) -> list[Result]:
        runs = [result for result in made if result.stage == "ablation"]
        return [
            Result("evaluation", name, one.model, one.checkpoint, one.dataset, one.graph, runs=one.name)
            for name, entry in self.entries("evaluation").items()
            for one in runs
            if self.evaluates(entry, one)
        ]

    def _comparisons(self) -> Iterator[Result]:
        for name, entry in self.entries("comparison").items():
            for model, checkpoint, dataset in self.places("comparison", entry):
                if len(self.compared(Result("comparison", name, model, checkpoint, dataset))) > 1:
                    yield Result("comparison", name, model, checkpoint, dataset)

    def compared(self, result: Result) -> list[Result]:
        """The graphs that a comparison reads: those it names that are made at its place, in its order."""
        found = []
        for word in self.entries("comparison")[result.name].graphs or ():
            stage, _, name = word.partition(".")
            dataset = "" if stage == "structural" else result.dataset
            graph = Result(stage, name, result.model, result.checkpoint, dataset)
            if graph in self._made_graphs:
                found.append(graph)
        return found

    @cached_property
    def _made_graphs(self) -> dict[Result, None]:
        return dict.fromkeys(result for stage in GRAPH_STAGES for result in self._graphs(stage))

    def evaluates(self, entry: Any, runs: Result) -> bool:
        """Whether an entry of ``evaluation`` applies to a result of ``ablation``."""
        chosen = {"models": runs.model, "runs": runs.name}
        named = all(getattr(entry, key) is None or word in getattr(entry, key) for key, word in chosen.items())
        if not named or not self.selects(entry, runs.dataset):
            return False
        if runs.checkpoint not in self.checkpoints_for(entry, runs.model):
            return False
        return not self.against_dataset("evaluation", entry, runs.dataset)

    def reads(self, stage: str, entry: Any, graph: Result) -> bool:
        """Whether an entry of a graph-reading stage applies to a graph."""
        if stage in ON_EFFECTIVE and graph.stage != "effective":
            return False
        if entry.graphs is not None and f"{graph.stage}.{graph.name}" not in entry.graphs:
            return False
        weights_alone = getattr(entry, "joined", False) and graph.stage == "structural"
        if not self.selects(entry, graph.dataset) and not weights_alone:
            return False
        if graph.model not in self.models_for(stage, entry):
            return False
        if stage in ON_EFFECTIVE and self.against_dataset(stage, entry, graph.dataset):
            return False
        return graph.checkpoint in self.checkpoints_for(entry, graph.model)

    def _figures(self, made: list[Result]) -> Iterator[Result]:
        for name in self.config.figures.names:
            for inputs in self._drawn(name, made):
                yield figure_of(name, inputs)

    def _drawn(self, figure: str, made: list[Result]) -> list[list[Result]]:
        """Results that one figure shows together, for every figure of that name."""
        entry = catalogue.FIGURES[figure]
        results = [result for result in made if result.stage == entry.stage and self._shows(entry, result)]
        if entry.per == "model":
            together = [_followed(group) for group in _grouped(results, lambda result: (result.model, result.dataset))]
            return [group for group in together if len({step_of(result.checkpoint) for result in group} - {None}) > 1]
        shown = [
            result
            for result in results
            if result.stage in (*OVER_SEVERAL, *of_no_model.STAGES)
            or result.checkpoint in self.checkpoints_for(self.config.figures, result.model)
        ]
        keys = {"place": lambda result: result.place, "entry": lambda result: (result.place, result.name)}
        groups = _grouped(shown, keys[entry.per]) if entry.per in keys else [[result] for result in shown]
        compares = entry.reads == ("scored",)
        return [group for group in groups if len({one.graph for one in group}) > 1] if compares else groups

    def _shows(self, figure: catalogue.Entry, result: Result) -> bool:
        """Whether a figure is of results of this one's method."""
        return not figure.method or self.entries(result.stage)[result.name].method == figure.method

    def rois_of(self, graph: Result) -> Result | None:
        """The partition result that a graph's nodes come from, if it asks for one."""
        entry = self.entries(graph.stage)[graph.name]
        names = rois_in(getattr(entry, "partition", None))
        if not names:
            return None
        dataset = graph.dataset
        if not dataset:
            roi_entry = self.entries("rois")[names[0]]
            dataset = self.datasets_for("rois", roi_entry, graph.model)[0]
        return Result("rois", names[0], graph.model, graph.checkpoint, dataset)

    def dictionaries_of(self, reader: Result) -> Result | None:
        """The dictionaries whose features are units of another result: of its dataset, or of their only one."""
        name = getattr(self.entries(reader.stage)[reader.name], "dictionaries", None)
        if name is None:
            return None
        found = self.datasets_for("dictionaries", self.entries("dictionaries")[name], reader.model)
        dataset = reader.dataset if reader.dataset in found else found[0]
        return Result("dictionaries", name, reader.model, reader.checkpoint, dataset)

    def signals_of(self, reader: Result) -> list[Result]:
        """The buffers that dictionaries, a functional graph, a partition or a test read; of weights the model."""
        found = []
        entry = self.entries(reader.stage)[reader.name]
        for word in ["activations"] if reader.stage == "dictionaries" else signals_of(entry):
            section, _, name = word.partition(".")
            if word == WEIGHTS:
                found.append(Result("model", reader.checkpoint, reader.model, reader.checkpoint))
            else:
                for dataset in (reader.dataset, *datasets_besides(entry)):
                    found.append(Result(section, name or section, reader.model, reader.checkpoint, dataset))
        return found

    def like_of(self, partition: Result) -> Result | None:
        """The partition whose sizes random regions have, if they are to have some's."""
        other = getattr(self.entries("rois")[partition.name], "like", "")
        return replace(partition, name=other) if other else None

    def baseline_data_of(self, result: Result) -> str | None:
        """The other dataset that a result's baseline is taken from, if there is one."""
        entries = self.entries(result.stage) if result.stage in COMPARING else {}
        return getattr(entries.get(result.name), "baseline_data", None)

    @cached_property
    def figure_inputs(self) -> dict[tuple[str, str], list[Result]]:
        """Place and name of every figure, and the results that it shows."""
        made = [result for result in self.results() if result.stage in DRAWN]
        found = {}
        for figure in self.config.figures.names:
            for group in self._drawn(figure, made):
                drawn = figure_of(figure, group)
                found[(drawn.place, drawn.name)] = group + self._read_besides(figure, group, made)
        return found

    def _regions_of(self, tests: list[Result]) -> list[Result]:
        """The regions that the graphs of some tests have as nodes."""
        graphs = [replace(test, stage="effective", name=test.graph.partition(".")[2], graph="") for test in tests]
        return list(dict.fromkeys(rois for graph in graphs if (rois := self.rois_of(graph))))

    def _read_besides(self, figure: str, group: list[Result], made: list[Result]) -> list[Result]:
        first, reads = group[0], catalogue.FIGURES[figure].reads
        if reads == ("graphs",):
            return self.compared(first)
        if reads == ("graph",) and not first.graph:
            return self.layers_of(first)
        if reads == ("graph",):
            stage, _, name = first.graph.partition(".")
            return [Result(stage, name, first.model, first.checkpoint, "" if stage == "structural" else first.dataset)]
        if reads == ("scored",):
            return list(dict.fromkeys(_scored(one) for one in group))
        if figure == "roi-vs-heads":
            return self._regions_of(group)
        return [result for result in made if result.stage in reads and result.place == first.place]


def _scored(reader: Result) -> Result:
    """The graph whose circuits a result is about."""
    stage, _, name = reader.graph.partition(".")
    return replace(reader, stage=stage, name=name, graph="", runs="")


def _followed(partitions: list[Result]) -> list[Result]:
    """Those of entries that are found at several training steps."""
    steps: dict[str, set[int]] = {}
    for one in partitions:
        if (step := step_of(one.checkpoint)) is not None:
            steps.setdefault(one.name, set()).add(step)
    return [one for one in partitions if len(steps.get(one.name, ())) > 1]


def _grouped(results: list[Result], key: Callable[[Result], Any]) -> list[list[Result]]:
    groups: dict[Any, list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return list(groups.values())
