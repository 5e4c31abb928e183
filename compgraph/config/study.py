"""What the rules need to know of a study: where each result lies, the flags of its verb, the digest of its code.

``rule all``, ``compgraph plan`` and the report read the same list of results, so they cannot disagree.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

from compgraph import catalogue
from compgraph.config.code import code_of, code_roots
from compgraph.config.config import SECTIONS
from compgraph.config.facts import local_folder
from compgraph.config.fan_out import FanOut
from compgraph.config.flags import render
from compgraph.config.followed import Followed, scaled, tracked
from compgraph.config.functional import PART_FIELDS
from compgraph.config.models import Pretrained, revision_name
from compgraph.config.null_graphs import Making, nulls_of
from compgraph.config.pages import NAME, STAGE, shown_beside
from compgraph.config.results import BUFFER_READERS, BUFFER_STAGES, PAYLOADS, Result
from compgraph.config.tested import inputs_of

SECTION_OF = {"train": "models", "import-model": "models", "data": "datasets", "functional-part": "functional",
              "ground-truth": "ground_truth"}  # fmt: skip
"""Config section of the stages that are not called like theirs."""


class Study(FanOut):
    """A validated config and what follows from it: its results, and what the rules need for each."""

    @property
    def root(self) -> Path:
        """The results folder."""
        return Path(self.config.run.results)

    def path(self, result: Result) -> str:
        """The manifest of a result, from the working folder."""
        return f"{self.config.run.results}/{result.path}"

    def flags(self, stage: str, name: str = "") -> str:
        """The options of a stage's verb for one of its entries, as a piece of a shell line."""
        section = SECTION_OF.get(stage, stage)
        entry = self.entry(section, name)
        if stage == "functional-part":
            return render(section, entry, only=PART_FIELDS)
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
        folders = [found, *(found / revision for revision in getattr(entry, "revisions", ()))]
        files = {str(file) for folder in folders for pattern in patterns for file in folder.glob(pattern)}
        return sorted(file for file in files if Path(file).is_file())

    def null_graphs(self, place: str, name: str, graph: str) -> Making:
        """How the null graphs of a graph are made: `name` is theirs, `graph` is `stage.name`."""
        return Making.at(self, place, name, graph)

    def null_graph_paths(self, stage: str, name: str, place: str, graph: str) -> list[str]:
        """The manifest of the null graphs that a result is compared with: one path, or none."""
        model, checkpoint, *dataset = place.split("/")
        needed = nulls_of(self, Result(stage, name, model, checkpoint, "".join(dataset), graph))
        return [self.path(needed)] if needed else []

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
        signals = self._read_signals(Result(stage, name, model, checkpoint, dataset))
        return [self.path(one) for one in signals if one.dataset in ("", dataset)]

    def buffers_besides(self, name: str, model: str, checkpoint: str, dataset: str) -> dict[str, list[str]]:
        """Manifests of the buffers of other datasets that a functional entry reads: `pool` and `against`."""
        entry = self.entry("functional", name)
        own = self.signals_of(Result("functional", name, model, checkpoint, dataset))[0]
        return {
            key: [self.path(replace(own, dataset=other)) for other in getattr(entry, key, None) or ()]
            for key in ("pool", "against")
        }

    def part_paths(self, name: str, model: str, checkpoint: str, dataset: str) -> list[str]:
        """Manifests of the parts that a functional entry is merged from; none if it makes one pass."""
        n = self.entry("functional", name).parts
        folder = self.path(Result("functional", name, model, checkpoint, dataset)).removesuffix(".json")
        return [f"{folder}.parts/{number}-of-{n}.json" for number in range(n)] if n > 1 else []

    def buffer_payloads(self, stage: str, name: str, model: str, checkpoint: str, dataset: str) -> list[str]:
        """Their payloads."""
        return [self.payload(one) for one in self._read_signals(Result(stage, name, model, checkpoint, dataset))]

    def _read_signals(self, reader: Result) -> list[Result]:
        like = self.like_of(reader) if reader.stage == "rois" else None
        return [*self.signals_of(reader), *([like] if like else [])]

    def all_parts(self) -> list[str]:
        """Manifests of all such parts."""
        made = [result for result in self.results() if result.stage == "functional"]
        return [path for one in made for path in self.part_paths(one.name, one.model, one.checkpoint, one.dataset)]

    def compared_paths(self, name: str, model: str, checkpoint: str, dataset: str) -> list[str]:
        """Manifests of the graphs that a comparison reads."""
        return [self.path(graph) for graph in self.compared(Result("comparison", name, model, checkpoint, dataset))]

    def compared_payloads(self, name: str, model: str, checkpoint: str, dataset: str) -> list[str]:
        """Their payloads."""
        return [self.payload(graph) for graph in self.compared(Result("comparison", name, model, checkpoint, dataset))]

    def layer_paths(self, stage: str, place: str, name: str) -> list[str]:
        """Manifests of the graphs that an entry reads as layers at a place, ``model/checkpoint[/dataset]``."""
        return [self.path(graph) for graph in self._layers(stage, place, name)]

    def layer_payloads(self, stage: str, place: str, name: str) -> list[str]:
        """Their payloads."""
        return [self.payload(graph) for graph in self._layers(stage, place, name)]

    def _layers(self, stage: str, place: str, name: str) -> list[Result]:
        model, checkpoint, dataset = [*place.split("/"), ""][:3]
        return self.layers_of(Result(stage, name, model, checkpoint, dataset))

    def followed(self, stage: str, model: str, checkpoint: str, dataset: str, name: str) -> Followed:
        """What a result of ``tracking`` or ``scale`` reads, by its path over checkpoints (and models)."""
        made = [result for result in self.results() if result.stage not in ("figure", "scale")]
        result = Result(stage, name, model, checkpoint, dataset)
        return tracked(self, result, made) if stage == "tracking" else scaled(self, result, made)

    def followed_flags(self, stage: str, model: str, checkpoint: str, dataset: str, name: str) -> str:
        """The options that name these: each path once, and where it leads to."""
        found = self.followed(stage, model, checkpoint, dataset, name)
        words = [f"--input {shlex.quote(self.path(role))}" for role in found]
        first = next(iter(found.values()))
        at = [one.checkpoint if stage == "tracking" else f"{one.model}/{one.checkpoint}" for one in first]
        return " ".join([*words, f"--at {','.join(at)}"])

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

    def passing_buffers(self) -> list[Result]:
        """Buffers that ``run.keep`` lets go when all that reads them is made; none if everything is kept."""
        if self.config.run.keep == "all":
            return []
        readers = [result for result in self.results() if result.stage in BUFFER_READERS]
        read = dict.fromkeys(one for reader in readers for one in self._read_signals(reader))
        return [result for result in read if result.stage in BUFFER_STAGES]

    def lasting_payloads(self) -> list[str]:
        """Payloads of all results but these."""
        passing = set(self.passing_buffers())
        return [self.payload(result) for result in self.results() if result not in passing]

    def figure_paths(self, place: str, name: str) -> list[str]:
        """Manifests of the results that a figure shows."""
        return [self.path(result) for result in self.figure_inputs[(place, name)]]

    def figure_payloads(self, place: str, name: str) -> list[str]:
        """Their payloads."""
        return [self.payload(result) for result in self.figure_inputs[(place, name)]]

    def page_paths(self, model: str, checkpoint: str, dataset: str, graph: str) -> list[str]:
        """Manifests of what the interactive page of a graph (`stage.name`) shows beside it."""
        page = Result(STAGE, NAME, model, checkpoint, dataset, graph)
        return [self.path(one) for one in shown_beside(self, page)]

    def page_payloads(self, model: str, checkpoint: str, dataset: str, graph: str) -> list[str]:
        """What lies beside these manifests."""
        page = Result(STAGE, NAME, model, checkpoint, dataset, graph)
        return [self.payload(one) for one in shown_beside(self, page)]

    def payload(self, result: Result) -> str:
        """What lies beside a result's manifest."""
        return self.path(result).removesuffix(".json") + PAYLOADS[result.stage]


def dictionary_files(path: str | None) -> list[str]:
    """Files that published dictionaries are read from; `{site}` in the path stands for any site."""
    found = [Path(one) for one in glob(str(Path(path.replace("{site}", "*")).expanduser()))] if path else []
    files = [file for one in found for file in (one.iterdir() if one.is_dir() else [one])]
    return sorted(str(file) for file in files if file.suffix in (".safetensors", ".json"))
