"""What a study makes, each result with all that decides its bytes: parameters, code, and what it is read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from compgraph.config.flags import flag_fields, given_words, parse
from compgraph.config.functional import PART_FIELDS
from compgraph.config.models import Pretrained
from compgraph.config.null_graphs import Making, nulls_of
from compgraph.config.of_no_model import STAGES as STAGES_OF_NO_MODEL
from compgraph.config.of_no_model import STRUCTURES, WIRING
from compgraph.config.outside import files_of
from compgraph.config.pages import STAGE as PAGES
from compgraph.config.pages import graph_of, shown_beside
from compgraph.config.results import Result
from compgraph.config.study import SECTION_OF, Study
from compgraph.config.tested import inputs_of


@dataclass(frozen=True)
class Job:
    """A result that a study asks for.

    Attributes
    ----------
    stage : str
        The verb that makes it.
    name : str
        The entry of its section.
    model : str
        The model that it is of.
    manifest, payload : str
    parameters : mapping or None
        What its manifest should say; None where nothing can be chosen.
    roots : tuple of str
        Modules whose code makes it.
    reads : tuple of str
        Manifests of what it is made from.
    reader : str
        Manifest of the model whose tokenizer, or preparation of images, it depends on.
    files : tuple of str
        Files outside the results that it is read from.
    together : str
        What results that one call makes have in common.
    """

    stage: str
    name: str
    model: str
    manifest: str
    payload: str
    parameters: Mapping[str, Any] | None
    roots: tuple[str, ...]
    reads: tuple[str, ...] = ()
    reader: str = ""
    files: tuple[str, ...] = field(default=(), repr=False)
    together: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Manifests that must be there before it can be made."""
        return (*self.reads, *([self.reader] if self.reader else []))


def jobs_of(study: Study) -> list[Job]:
    """Every result of a study, each after those that it is made from; the report is none."""
    maker = _Maker(study)
    made = [maker.job(result) for result in study.results()]
    made += [part for job in made if job.stage == "functional" for part in _parts(study, job)]
    return _in_order(made)


def _in_order(jobs: list[Job]) -> list[Job]:
    waiting = {job.manifest: job for job in jobs}
    ordered: dict[str, Job] = {}

    def add(job: Job) -> None:
        if job.manifest in ordered:
            return
        for path in job.needs:
            if path in waiting:
                add(waiting[path])
        ordered[job.manifest] = job

    for job in jobs:
        add(job)
    return list(ordered.values())


class _Maker:
    """Jobs of results; what results of one entry have in common is worked out once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._parameters = cache(self._parameters_of)
        self._roots = cache(study.code_roots)
        self._files = cache(self._files_of)

    def job(self, result: Result) -> Job:
        """The job of a result."""
        study, stage = self.study, result.stage
        job = Job(stage, result.name, result.model, study.path(result), study.payload(result), None, ())
        reads = tuple(dict.fromkeys(_path(study, one) for one in reads_of(study, result)))
        if stage == "model":
            return self._model(replace(job, name=result.model), result)
        if stage == "figure":
            name = result.name.partition(".")[0]
            place = result.place.split("/")
            parameters = {"name": name, "subject": ", ".join(place)}
            return replace(job, parameters=parameters, roots=self._roots(stage, name), reads=reads)
        if stage == "nulls":
            making = Making(study, result)
            parameters = dict(zip(("randomised", "n_nulls", "seed"), result.name.split("-"), strict=True))
            numbers = {key: int(word) if word.isdigit() else word for key, word in parameters.items()}
            return replace(job, parameters=numbers, roots=making.roots, reads=reads)
        if stage in (STRUCTURES, WIRING):
            return replace(job, roots=self._roots(stage, ""))
        if stage == PAGES:
            return replace(job, parameters={}, roots=self._roots(stage, ""), reads=reads)
        reader = study.checkpoint_paths(result.model)[-1] if stage == "data" else ""
        name = "" if stage == "activations" else result.name
        return replace(
            job,
            parameters=self._parameters(stage, name),
            roots=self._roots(stage, name),
            reads=reads,
            reader=reader,
            files=self._files(stage, name, None),
        )

    def _model(self, job: Job, result: Result) -> Job:
        entry = self.study.entry("models", result.model)
        if not isinstance(entry, Pretrained):
            parameters = self._parameters("train", result.model)
            roots, files = self._roots("train", result.model), self._files("train", result.model, None)
            return replace(job, stage="train", parameters=parameters, roots=roots, files=files, together=result.model)
        revision = self.study.revision(result.model, result.checkpoint)
        return replace(
            job,
            stage="import-model",
            parameters={"path": entry.path, "revision": revision, "dtype": entry.dtype},
            roots=self._roots("import-model", result.model),
            files=self._files("import-model", result.model, revision),
        )

    def _parameters_of(self, stage: str, name: str) -> dict[str, Any]:
        """What a verb keeps of the options that it is called with."""
        section = SECTION_OF.get(stage, stage)
        entry, problems = parse(section, given_words(section, self.study.flags(stage, name)))
        assert entry is not None, problems
        if stage == "train":
            return entry.model_dump(mode="json", exclude={"variants", "seeds"})
        values = entry.model_dump(mode="json")
        return {key: values[key] for key in flag_fields(section) if key in values}

    def _files_of(self, stage: str, name: str, revision: str | None) -> tuple[str, ...]:
        section = SECTION_OF.get(stage, stage)
        return tuple(files_of(section, self.study.entry(section, name), revision))


def _parts(study: Study, job: Job) -> Iterator[Job]:
    """The parts that functional statistics are merged from."""
    paths = [path for path in job.reads if path.startswith(f"{job.manifest.removesuffix('.json')}.parts/")]
    others = tuple(path for path in job.reads if path not in paths)
    for number, path in enumerate(paths):
        values = {key: (job.parameters or {})[key] for key in PART_FIELDS}
        yield replace(
            job,
            stage="functional-part",
            manifest=path,
            payload=path.removesuffix(".json") + ".part",
            parameters=values | {"number": number, "of": len(paths)},
            roots=study.code_roots("functional-part", job.name),
            reads=others,
        )


Read = Result | str
"""What a result is made from: another, or the manifest of a part."""


def _path(study: Study, read: Read) -> str:
    return read if isinstance(read, str) else study.path(read)


def reads_of(study: Study, result: Result) -> list[Read]:
    """What a result is made from, beside the tokenizer of a dataset."""
    model = Result("model", result.checkpoint, result.model, result.checkpoint)
    data = Result("data", result.dataset, result.model, dataset=result.dataset)
    stage = result.stage
    if stage in ("model", "data", *STAGES_OF_NO_MODEL):
        return []
    if stage == PAGES:
        return [graph_of(result), *shown_beside(study, result)]
    if stage == "figure":
        return [*study.figure_inputs[(result.place, result.name)]]
    if stage == "nulls":
        return [*Making(study, result).inputs.values()]
    if stage == "comparison":
        return [*study.compared(result)]
    if stage in ("tracking", "scale"):
        about = (result.model, result.checkpoint, result.dataset)
        followed = study.followed(stage, *about, result.name)
        return [one for role in followed.values() for one in role]
    if stage == "evaluation":
        return [data, replace(result, stage="ablation", name=result.runs, runs="")]
    graph = _graph(result)
    if stage in ("communities", "sbm", "statistics"):
        nulls = nulls_of(study, result)
        return [*([graph] if graph else study.layers_of(result)), *([nulls] if nulls else [])]
    return [one for one in _of_network(study, result, model, data, graph) if one]


def _of_network(study: Study, result: Result, model: Result, data: Result, graph: Result | None) -> list[Read | None]:
    stage = result.stage
    if stage == "structural":
        return [model, study.rois_of(result)]
    if stage == "activations":
        return [model, data]
    if stage == "dictionaries":
        return [model, data, *study.signals_of(result)]
    if stage == "rois":
        features = study.dictionaries_of(result)
        return [*study.signals_of(result), study.like_of(result), features, model if features else None]
    if stage == "functional":
        return _functional(study, result, model)
    other = study.baseline_data_of(result)
    found = [model, data, Result("data", other, result.model, dataset=other) if other else None]
    if stage == "tests":
        return [*found, *inputs_of(study, result).values()]
    if stage == "ablation":
        assert graph is not None
        return [*found, graph, study.dictionaries_of(graph)]
    if stage == "effective":
        found.append(study.rois_of(result))
    return [*found, study.dictionaries_of(result)]


def _functional(study: Study, result: Result, model: Result) -> list[Read | None]:
    features = study.dictionaries_of(result)
    parts = study.part_paths(result.name, result.model, result.checkpoint, result.dataset)
    return [*study.signals_of(result), *parts, features, model if features else None, study.rois_of(result)]


def _graph(result: Result) -> Result | None:
    """The graph that a result is of."""
    if not result.graph:
        return None
    stage, _, name = result.graph.partition(".")
    dataset = "" if stage == "structural" else result.dataset
    return Result(stage, name, result.model, result.checkpoint, dataset)
