"""Which results a config asks for, and where each lies: the fan-out over models, checkpoints, datasets and graphs.

``rule all``, ``compgraph plan`` and the report read the same list, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Any

from compgraph import catalogue
from compgraph.config.code import code_of, code_roots
from compgraph.config.config import SECTIONS
from compgraph.config.facts import local_folder
from compgraph.config.flags import render
from compgraph.config.models import Pretrained, revision_name, step_of
from compgraph.config.results import BUFFER_READERS, GRAPH_READERS, GRAPH_STAGES, PAYLOADS, Result, figure_of
from compgraph.config.rois import WEIGHTS, signals_of
from compgraph.config.serving import Serving, rois_in
from compgraph.config.tested import inputs_of, results_of_tests


class Study(Serving):
    """A validated config and what follows from it: its results, and what the rules need for each."""

    @property
    def root(self) -> Path:
        """The results folder."""
        return Path(self.config.run.results)

    def entries(self, stage: str) -> dict[str, Any]:
        """The entries of a section that fans out."""
        return dict(getattr(self.config, stage))

    # --- the fan-out ---

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
        named = getattr(entry, "datasets", None)
        return [
            dataset
            for dataset in self.config.datasets
            if (named is None or dataset in named)
            and not self.against_pair(model, dataset)
            and not self.against_dataset(stage, entry, dataset)
            and not (getattr(entry, "baseline_data", None) and self.against_pair(model, entry.baseline_data))
        ]

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
        readers += [*self._evaluations(readers), *tests, *self._comparisons()]
        dictionaries = list(self._dictionaries([*graphs, *rois]))
        buffers = list(self._buffers([*dictionaries, *graphs, *rois, *tests]))
        made = [*buffers, *dictionaries, *rois, *graphs, *readers]
        datasets = {(result.model, result.dataset): None for result in made if result.dataset}
        models = [
            Result("model", checkpoint, model, checkpoint)
            for model, facts in self.facts.items()
            for checkpoint in facts.checkpoints
        ]
        # The data that baselines are taken from are made even where nothing else reads them.
        datasets |= {(result.model, other): None for result in made if (other := self.baseline_data_of(result))}
        data = [Result("data", dataset, model, dataset=dataset) for model, dataset in datasets]
        return dict.fromkeys([*models, *data, *made, *self._figures([*dictionaries, *rois, *graphs, *readers])])

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
        # Those that a graph is made with are made even at checkpoints their own entry does not select.
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
            f"{stage} is left out: it needs {', '.join(lacking)}, which is not installed (see compgraph doctor)"
            for stage in GRAPH_READERS
            if self.entries(stage) and (lacking := catalogue.missing(catalogue.STAGES[stage]))
        ]

    def _readers(self, stage: str, graphs: list[Result]) -> Iterator[Result]:
        if catalogue.missing(catalogue.STAGES[stage]):
            return
        for name, entry in self.entries(stage).items():
            for graph in graphs:
                if self.reads(stage, entry, graph):
                    yield Result(
                        stage, name, graph.model, graph.checkpoint, graph.dataset, f"{graph.stage}.{graph.name}"
                    )

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
        chosen = {"models": runs.model, "datasets": runs.dataset, "runs": runs.name}
        named = all(getattr(entry, key) is None or word in getattr(entry, key) for key, word in chosen.items())
        if not named or runs.checkpoint not in self.checkpoints_for(entry, runs.model):
            return False
        return not self.against_dataset("evaluation", entry, runs.dataset)

    def reads(self, stage: str, entry: Any, graph: Result) -> bool:
        """Whether an entry of a graph-reading stage applies to a graph."""
        if stage in ON_EFFECTIVE and graph.stage != "effective":
            return False
        if entry.graphs is not None and f"{graph.stage}.{graph.name}" not in entry.graphs:
            return False
        if entry.datasets is not None and graph.dataset not in entry.datasets:
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
        if entry.reads == ("rois",):  # only where some nodes are regions
            places = {one.place for one in results if self._over_regions(one)}
            results = [result for result in results if result.place in places]
        if entry.per == "model":
            together = _grouped(results, lambda result: (result.model, result.dataset))
            return [group for group in together if len({step_of(result.checkpoint) for result in group} - {None}) > 1]
        shown = [
            result for result in results if result.checkpoint in self.checkpoints_for(self.config.figures, result.model)
        ]
        return _grouped(shown, lambda result: result.place) if entry.per == "place" else [[result] for result in shown]

    def _over_regions(self, evaluation: Result) -> bool:
        stage, _, name = evaluation.graph.partition(".")
        return bool(rois_in(getattr(self.entries(stage)[name], "partition", None)))

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
        """The dictionaries whose features are units of a graph or a partition: of its dataset, or of their only one."""
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
                found.append(Result(section, name or section, reader.model, reader.checkpoint, reader.dataset))
        return found

    def like_of(self, partition: Result) -> Result | None:
        """The partition whose sizes random regions have, if they are to have some's."""
        other = getattr(self.entries("rois")[partition.name], "like", "")
        return replace(partition, name=other) if other else None

    def baseline_data_of(self, result: Result) -> str | None:
        """The other dataset that a result's baseline is taken from, if there is one."""
        entries = self.entries(result.stage) if result.stage in COMPARING else {}
        return getattr(entries.get(result.name), "baseline_data", None)

    # --- what the rules need ---

    def path(self, result: Result) -> str:
        """The manifest of a result, from the working folder."""
        return f"{self.config.run.results}/{result.path}"

    def flags(self, stage: str, name: str = "") -> str:
        """The options of a stage's verb for one of its entries, as a piece of a shell line."""
        section = SECTION_OF.get(stage, stage)
        entry = self.entry(section, name)
        if stage == "train":
            return render(section, entry, checkpoints=entry.checkpoint_steps())
        return render(section, entry, revisions=None) if stage == "import-model" else render(section, entry)

    def code(self, stage: str, name: str = "") -> str:
        """Digest of the code behind a stage's result for one of its entries."""
        if stage == "figure":
            return code_of(tuple(sorted({*code_roots(stage), catalogue.FIGURES[name].module})))
        section = SECTION_OF.get(stage, stage)
        return code_of(code_roots(stage, self.entry(section, name) if section in SECTIONS else None))

    def entry(self, section: str, name: str = "") -> Any:
        """An entry of a section, or the section itself where it does not fan out."""
        found = getattr(self.config, section)
        return found[name] if name and isinstance(found, dict) else found

    def revision(self, model: str, checkpoint: str) -> str:
        """The revision of a pretrained model that a checkpoint's name stands for."""
        revisions: list[str] = self.config.models[model].revisions
        return next(revision for revision in revisions if revision_name(revision) == checkpoint)

    def sources(self, section: str, name: str) -> list[str]:
        """Local files outside the results that an entry of a section is read from."""
        entry = self.entry(section, name)
        path = getattr(entry, "path", None)
        if section == "dictionaries":
            return dictionary_files(path)
        if not path:
            return []
        found = local_folder(path) if isinstance(entry, Pretrained) else Path(path).expanduser()
        if found is None or not found.exists():
            return []
        if found.is_file():
            return [str(found)]
        patterns = ("*.json", "*.safetensors", "*.txt", "*.model") if isinstance(entry, Pretrained) else ("*",)
        return sorted(str(file) for pattern in patterns for file in found.glob(pattern) if file.is_file())

    def roi_paths(self, stage: str, name: str, model: str, checkpoint: str, dataset: str = "") -> list[str]:
        """The manifest of the ROIs that a graph's partition refers to: one path, or none."""
        needed = self.rois_of(Result(stage, name, model, checkpoint, dataset))
        return [self.path(needed)] if needed else []

    def test_inputs(self, place: str, name: str) -> dict[str, Result]:
        """What a result of ``tests`` reads beside its model and dataset, by role.

        Parameters
        ----------
        place : str
            ``model/checkpoint/dataset``.
        name : str
            The result's file name without its ending: the entry, with ``@`` and the graph where it is of one.
        """
        entry, _, graph = name.partition("@")
        model, checkpoint, dataset = place.split("/")
        return inputs_of(self, Result("tests", entry, model, checkpoint, dataset, graph))

    def dictionary_paths(self, stage: str, name: str, model: str, checkpoint: str, dataset: str) -> list[str]:
        """The manifest of the dictionaries an entry (of an ablation: its graph) is made with: one path, or none."""
        stage = "effective" if stage == "ablation" else stage
        needed = self.dictionaries_of(Result(stage, name, model, checkpoint, dataset))
        return [self.path(needed)] if needed else []

    def baseline_paths(self, stage: str, name: str, model: str) -> list[str]:
        """The manifest of the other dataset that an entry's baseline is taken from: one path, or none."""
        other = getattr(self.entries(stage)[name], "baseline_data", None)
        return [self.path(Result("data", other, model, dataset=other))] if other else []

    def buffer_paths(self, stage: str, name: str, model: str, checkpoint: str, dataset: str) -> list[str]:
        """Manifests of what an entry reads as signals, and of the partition whose sizes it has."""
        return [self.path(one) for one in self._read_signals(Result(stage, name, model, checkpoint, dataset))]

    def buffer_payloads(self, stage: str, name: str, model: str, checkpoint: str, dataset: str) -> list[str]:
        """Their payloads."""
        return [self.payload(one) for one in self._read_signals(Result(stage, name, model, checkpoint, dataset))]

    def _read_signals(self, reader: Result) -> list[Result]:
        like = self.like_of(reader) if reader.stage == "rois" else None
        return [*self.signals_of(reader), *([like] if like else [])]

    def compared_paths(self, name: str, model: str, checkpoint: str, dataset: str) -> list[str]:
        """Manifests of the graphs that a comparison reads."""
        return [self.path(graph) for graph in self.compared(Result("comparison", name, model, checkpoint, dataset))]

    def compared_payloads(self, name: str, model: str, checkpoint: str, dataset: str) -> list[str]:
        """Their payloads."""
        return [self.payload(graph) for graph in self.compared(Result("comparison", name, model, checkpoint, dataset))]

    def trained(self) -> list[str]:
        """Models that are trained here."""
        return [name for name, model in self.config.models.items() if not isinstance(model, Pretrained)]

    def pretrained(self) -> list[str]:
        """Models that are only registered here."""
        return [name for name, model in self.config.models.items() if isinstance(model, Pretrained)]

    def checkpoint_paths(self, model: str) -> list[str]:
        """Manifests of a model's checkpoints, the last one last."""
        names = self.facts[model].checkpoints
        return [self.path(Result("model", checkpoint, model, checkpoint)) for checkpoint in names]

    def paths(self) -> list[str]:
        """Manifests of all results."""
        return [self.path(result) for result in self.results()]

    def payloads(self) -> list[str]:
        """Payloads of all results."""
        return [self.payload(result) for result in self.results()]

    def figure_paths(self, place: str, name: str) -> list[str]:
        """Manifests of the results that a figure shows."""
        return [self.path(result) for result in self._figure_inputs[(place, name)]]

    def figure_payloads(self, place: str, name: str) -> list[str]:
        """Their payloads."""
        return [self.payload(result) for result in self._figure_inputs[(place, name)]]

    def payload(self, result: Result) -> str:
        """What lies beside a result's manifest."""
        return self.path(result).removesuffix(".json") + PAYLOADS[result.stage]

    @cached_property
    def _figure_inputs(self) -> dict[tuple[str, str], list[Result]]:
        stages = ("dictionaries", "rois", *GRAPH_STAGES, *GRAPH_READERS, "evaluation", "tests", "comparison")
        made = [result for result in self.results() if result.stage in stages]
        found = {}
        for figure in self.config.figures.names:
            for group in self._drawn(figure, made):
                drawn = figure_of(figure, group)
                found[(drawn.place, drawn.name)] = group + self._read_besides(figure, group, made)
        return found

    def _read_besides(self, figure: str, group: list[Result], made: list[Result]) -> list[Result]:
        first, reads = group[0], catalogue.FIGURES[figure].reads
        if reads == ("graphs",):
            return self.compared(first)
        if reads == ("graph",):
            stage, _, name = first.graph.partition(".")
            return [Result(stage, name, first.model, first.checkpoint, "" if stage == "structural" else first.dataset)]
        if catalogue.FIGURES[figure].per == "place":
            return [result for result in made if result.stage in reads and result.place == first.place]
        return [
            result
            for result in made
            if result.stage in reads and (result.model, result.dataset) == (first.model, first.dataset)
        ]


def dictionary_files(path: str | None) -> list[str]:
    """Files that published dictionaries are read from; `{site}` in the path stands for any site."""
    found = [Path(one) for one in glob(str(Path(path.replace("{site}", "*")).expanduser()))] if path else []
    files = [file for one in found for file in (one.iterdir() if one.is_dir() else [one])]
    return sorted(str(file) for file in files if file.suffix in (".safetensors", ".json"))


ON_EFFECTIVE = ("ablation", "tests")
"""Stages that read effective graphs only."""

COMPARING = ("attributions", "effective", "ablation", "tests")
"""Stages whose entries name a baseline."""

SECTION_OF = {"train": "models", "import-model": "models", "data": "datasets"}
"""Config section of the stages that are not called like theirs."""


def _grouped(results: list[Result], key: Callable[[Result], Any]) -> list[list[Result]]:
    groups: dict[Any, list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return list(groups.values())
