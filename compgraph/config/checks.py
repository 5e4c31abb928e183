"""What only shows when the sections of a config are read together: names, methods that cannot serve, the disk."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from compgraph import catalogue
from compgraph.config.base import describe_unknown
from compgraph.config.config import Config
from compgraph.config.datasets import ImageData, PairsData, TaskData, TextData
from compgraph.config.dictionary_checks import features_apply, named_dictionaries
from compgraph.config.disk_use import too_little_space
from compgraph.config.facts import facts_of
from compgraph.config.fan_out import ON_EFFECTIVE
from compgraph.config.followed import problems_of_followed
from compgraph.config.metrics import user_metrics
from compgraph.config.null_graphs import without
from compgraph.config.problems import Problem
from compgraph.config.recorded_checks import checks_of_recordings
from compgraph.config.results import GRAPH_READERS, GRAPH_STAGES
from compgraph.config.roi_checks import checks_of_rois
from compgraph.config.rois import WEIGHTS, signals_of
from compgraph.config.study import Study
from compgraph.config.tested import applies, on_graphs, unknown_names
from compgraph.errors import DataError
from compgraph.importing import is_import_path, source_of

DATA_STAGES = ("attributions", "dictionaries", "functional", "effective", "rois")


def cross_check(config: Config) -> list[Problem]:
    """Everything that is wrong between the sections of a valid config, in the order of the file."""
    problems = [
        Problem((section,), f"the file names no {section}, so there is nothing to run")
        for section in ("models", "datasets")
        if not getattr(config, section) and (section == "models" or _reads_data(config))
    ]
    if misread := [*_paths(config)]:
        return [*problems, *misread]
    problems += _models(config)
    problems += [*_datasets(config), *_task_options(config), *_user_functions(config)]
    if problems:
        # What the other sections mean depends on these two; their errors would only repeat.
        return [*problems, *_references(config)]
    study = Study(config)
    problems += [*_references(config), *unknown_names(config), *checks_of_rois(study), *features_apply(study)]
    if problems:
        return problems
    problems += [*_compared(config)]
    problems += [*_dataset_models(study), *_services(study), *_checkpoints(study), *_sites(study)]
    problems += problems or [*checks_of_recordings(study), *applies(study), *without(study)]
    problems += problems or [*problems_of_followed(study)]
    return problems or [*too_little_space(study)]


def _paths(config: Config) -> Iterator[Problem]:
    """Paths that Snakemake would read as something else: it replaces what stands in angle brackets or braces."""
    for section in ("models", "datasets", "dictionaries"):
        for name, entry in getattr(config, section).items():
            path = getattr(entry, "path", None) or ""
            plain = path.replace("{site}", "") if section == "dictionaries" else path
            if set("<>{}") & set(plain) or not plain.isprintable():
                words = "a path holds none of < > { } and no line breaks; rename the folder or the file"
                yield Problem((section, name, "path"), f"{words}; it is {path!r}")


def _reads_data(config: Config) -> bool:
    return any(getattr(config, stage) for stage in DATA_STAGES)


def _models(config: Config) -> Iterator[Problem]:
    for name, model in config.models.items():
        try:
            facts_of(model)
        except ValueError as error:
            yield Problem(("models", name, "path"), str(error))


def _datasets(config: Config) -> Iterator[Problem]:
    for name, data in config.datasets.items():
        place = ("datasets", name, "path")
        if isinstance(data, PairsData) and not Path(data.path).expanduser().is_file():
            yield Problem(place, f"there is no file '{data.path}'")
        local = isinstance(data, TextData) and data.path.startswith((".", "/", "~"))
        if local and not Path(data.path or "").expanduser().exists():
            yield Problem(place, f"there is no file '{data.path}'")
        if isinstance(data, ImageData) and data.images != "digits":
            if data.path is None:
                yield Problem(place, f"this key is missing: {data.images} are read from a folder")
            elif not Path(data.path).expanduser().is_dir():
                yield Problem(place, f"there is no folder '{data.path}'")
    for name, model in config.models.items():
        images, path = getattr(model, "images", "digits"), getattr(model, "path", None)
        if images != "digits":
            if path is None:
                yield Problem(("models", name, "path"), f"this key is missing: {images} are read from a folder")
            elif not Path(path).expanduser().is_dir():
                yield Problem(("models", name, "path"), f"there is no folder '{path}'")


def _task_options(config: Config) -> Iterator[Problem]:
    """Options of tasks, as the task's own module describes them; it is only imported where there are some."""
    holders = [("datasets", name, data) for name, data in config.datasets.items()]
    holders += [("models", name, model) for name, model in config.models.items()]
    for section, name, data in holders:
        tasks = [data.task] if isinstance(data, TaskData) else list(getattr(data, "tasks", ()))
        for key, value in getattr(data, "options", {}).items():
            task, _, option = (data.task, "", key) if isinstance(data, TaskData) else key.rpartition(".")
            place = (section, name, "options", key)
            if task not in tasks:
                valid = [f"{known}.{option or key}" for known in tasks]
                yield Problem(place, describe_unknown("task option", key, valid))
                continue
            known = {field.name: field for field in fields(options_of(task))}
            if option not in known:
                yield Problem(place, describe_unknown(f"option of {task}", option, list(known)))
            elif problem := _option_problem(value, known[option]):
                yield Problem(place, problem)


def _option_problem(value: Any, option: Field[Any]) -> str:
    limits = option.metadata
    low, high, words = limits.get("minimum"), limits.get("maximum"), limits.get("choices")
    if option.default is None:
        return "" if isinstance(value, str) else f"it should be words, joined by '+'; it is {value!r}"
    if type(value) is not type(option.default):
        return f"it should be of type {type(option.default).__name__}, such as {option.default!r}; it is {value!r}"
    if words and value not in words:
        return describe_unknown("choice", value, list(words))
    if (low is not None and value < low) or (high is not None and value > high):
        return f"it should be {f'between {low} and {high}' if high is not None else f'at least {low}'}; it is {value}"
    return ""


def options_of(task: str) -> Any:
    """The dataclass of a task's options, from the module of the task."""
    return sys.modules[catalogue.load(catalogue.TASKS[task]).__module__].Options


def _user_functions(config: Config) -> Iterator[Problem]:
    """Functions of the user's own whose module is not there; nothing is imported to find out."""
    for place, name in user_metrics(config):
        module = name.partition(":")[0]
        if source_of(module) is None:
            yield Problem(place, f"'{name}': there is no module {module} with its source in this folder or installed")


def _references(config: Config) -> Iterator[Problem]:
    """Names of models, datasets and graphs that are no entries of their sections."""
    models, datasets = list(config.models), list(config.datasets)
    graphs = [f"{stage}.{name}" for stage in GRAPH_STAGES for name in getattr(config, stage)]
    for name, data in config.datasets.items():
        yield from _unknown(("datasets", name, "models"), "model", data.models, models)
    scales = ((("scale", name), "scale", entry) for name, entry in config.scale.items())
    for place, stage, entry in (*_selecting(config), *scales):
        yield from _unknown((*place, "models"), "model", entry.models, models)
        yield from _unknown((*place, "datasets"), "dataset", getattr(entry, "datasets", None), datasets)
        valid = [graph for graph in graphs if stage not in ON_EFFECTIVE or graph.startswith("effective.")]
        yield from _unknown((*place, "graphs"), "graph", getattr(entry, "graphs", None), valid)
        if stage in ("attributions", "effective"):
            yield from _metric(place, stage, entry)
        for key in ("pool", "against"):
            yield from _unknown((*place, key), "dataset", getattr(entry, key, None), datasets)
        yield from _baseline_data(place, entry, datasets)
        yield from _baseline_options(place, entry)
        yield from _unknown((*place, "runs"), "entry of ablation", getattr(entry, "runs", None), list(config.ablation))
        buffers = ["activations", *(f"attributions.{name}" for name in config.attributions)]
        for word in signals_of(entry):
            if word not in buffers and not (stage == "rois" and word == WEIGHTS):
                yield Problem((*place, "buffer"), describe_unknown("buffer", word, buffers))
        yield from named_dictionaries(config, place, stage, entry)
        method = catalogue.SECTIONS.get(stage, {}).get(getattr(entry, "method", ""))
        if method and (lacking := catalogue.missing(method)):
            yield Problem((*place, "method"), f"'{method.name}' needs {', '.join(lacking)}, which is not installed")
        for key in method.needs if method else ():
            if getattr(entry, key) is None:
                yield Problem((*place, key), f"this key is missing: the method '{entry.method}' needs it")


def _metric(place: tuple[str, ...], stage: str, entry: Any) -> Iterator[Problem]:
    """A metric to attribute must have a gradient that is not zero where the method takes it."""
    method = catalogue.SECTIONS[stage][entry.method]
    if not method.uses_gradient or is_import_path(entry.metric):
        return
    valid = [
        metric.name
        for metric in catalogue.METRICS.values()
        if not method.uses_gradient or (metric.differentiable and not (method.at_clean and metric.needs_reference))
    ]
    if entry.metric not in valid:
        why = "is flat in the clean run" if catalogue.METRICS[entry.metric].differentiable else "has no gradient"
        yield Problem((*place, "metric"), f"'{entry.metric}' {why}; valid: {', '.join(valid)}")
    elif catalogue.METRICS[entry.metric].needs_reference and (only := _only_clean(method, entry)):
        why = f"'{entry.metric}' is flat in the clean run, all that {method.name} looks at with {only}"
        yield Problem((*place, "metric"), f"{why}; take {only.partition(':')[0]} of at least 2")


def _only_clean(method: catalogue.Entry, entry: Any) -> str:
    return catalogue.only_clean(method, {name: getattr(entry, name) for name in method.clean_at_one})


def _baseline_data(place: tuple[str, ...], entry: Any, datasets: list[str]) -> Iterator[Problem]:
    """Other data for a baseline must be a dataset, and the baseline one that is made from data."""
    named = getattr(entry, "baseline_data", None)
    if named is None:
        return
    if named not in datasets:
        yield Problem((*place, "baseline_data"), describe_unknown("dataset", named, datasets))
    if not catalogue.BASELINES[entry.baseline].takes_reference:
        takers = ", ".join(name for name, baseline in catalogue.BASELINES.items() if baseline.takes_reference)
        why = f"the baseline '{entry.baseline}' takes nothing from other data; those that do: {takers}"
        yield Problem((*place, "baseline_data"), why)


def _baseline_options(place: tuple[str, ...], entry: Any) -> Iterator[Problem]:
    """Options must be those of the baseline; a loss must be a registered metric with a gradient."""
    given = getattr(entry, "baseline_options", {})
    if not given:
        return
    try:
        catalogue.settings_of(catalogue.BASELINES[entry.baseline], given, "baseline")
    except DataError as error:
        yield Problem((*place, "baseline_options"), str(error))
        return
    losses = [name for name, metric in catalogue.METRICS.items() if metric.differentiable]
    if given.get("metric", losses[0]) not in losses:
        yield Problem((*place, "baseline_options", "metric"), describe_unknown("loss", str(given["metric"]), losses))


def _selecting(config: Config) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """(place, stage, entry) of everything that selects where it applies."""
    yield ("activations",), "activations", config.activations
    readers = ("rois", *GRAPH_READERS, "evaluation", "tests", "comparison", "tracking")
    for stage in ("attributions", "dictionaries", *GRAPH_STAGES, *readers):
        for name, entry in getattr(config, stage).items():
            yield (stage, name), stage, entry


def _unknown(place: tuple[str, ...], what: str, named: Iterable[str] | None, valid: list[str]) -> Iterator[Problem]:
    for index, word in enumerate(named or ()):
        if word not in valid:
            yield Problem((*place, index), describe_unknown(what, word, valid))


def _compared(config: Config) -> Iterator[Problem]:
    """Graphs that are compared must be over the same nodes."""
    for name, entry in config.comparison.items():
        named = entry.graphs or []
        if len(named) < 2:
            yield Problem(("comparison", name, "graphs"), f"at least 2 graphs are compared; there are {len(named)}")
        known = {}
        for index, word in enumerate(named):
            stage, _, graph = word.partition(".")
            known[word] = getattr(config, stage)[graph].partition
            first = named[0]
            if known[word] != known[first]:
                why = f"'{word}' has the partition '{known[word]}' and '{first}' has '{known[first]}'"
                yield Problem(("comparison", name, "graphs", index), f"{why}; compare graphs over the same nodes")


def _dataset_models(study: Study) -> Iterator[Problem]:
    for name, data in study.config.datasets.items():
        reasons = {model: study.against_pair(model, name) for model in data.models or study.config.models}
        if data.models is not None:
            for index, model in enumerate(data.models):
                if reasons[model]:
                    yield Problem(("datasets", name, "models", index), reasons[model])
        elif all(reasons.values()):
            yield Problem(("datasets", name), f"no model can read it: {'; '.join(reasons.values())}")


def _services(study: Study) -> Iterator[Problem]:
    """Entries that name a model or dataset they cannot serve, or that apply to nothing at all."""
    for place, stage, entry in _selecting(study.config):
        named = list(getattr(entry, "models", None) or ())
        refused = {model: study.against_model(stage, entry, model) for model in named or study.config.models}
        for index, model in enumerate(named):
            if refused[model]:
                yield Problem((*place, "models", index), refused[model])
        able = [model for model, reason in refused.items() if not reason]
        if not able:
            if not named:
                yield Problem(place, f"it serves no model: {'; '.join(refused.values())}")
            continue
        if stage in (*DATA_STAGES, "activations") or (stage == "tests" and not on_graphs(entry)):
            yield from _data_services(study, place, stage, entry, able)
        elif stage in GRAPH_READERS or (stage == "tests" and on_graphs(entry)):
            yield from _graph_services(study, place, stage, entry)
        elif stage == "evaluation":
            yield from _evaluation_services(study, place, entry)


def _evaluation_services(study: Study, place: tuple[str, ...], entry: Any) -> Iterator[Problem]:
    """Metrics, or classes to be confused, that the data cannot have."""
    reasons = {one: study.against_dataset("evaluation", entry, one) for one in entry.datasets or study.config.datasets}
    for index, dataset in enumerate(entry.datasets or ()):
        if reasons[dataset]:
            yield Problem((*place, "datasets", index), reasons[dataset])
    if entry.datasets is None and reasons and all(reasons.values()):
        yield Problem(place, f"it applies to no dataset: {'; '.join(dict.fromkeys(reasons.values()))}")


def _data_services(
    study: Study, place: tuple[str, ...], stage: str, entry: Any, models: list[str]
) -> Iterator[Problem]:
    named = list(entry.datasets or ())
    served: set[str] = set()
    reasons: dict[str, str] = {}
    for dataset in named or study.config.datasets:
        for model in models:
            reason = study.against_dataset(stage, entry, dataset) or study.against_reading(entry, model, dataset)
            if reason:
                reasons.setdefault(dataset, reason)
                reasons.setdefault(model, reason)
            else:
                served |= {dataset, model}
    for index, dataset in enumerate(named):
        if dataset not in served:
            yield Problem((*place, "datasets", index), reasons[dataset])
    for index, model in enumerate(entry.models or ()):
        if model in models and model not in served and (not named or served):
            yield Problem((*place, "models", index), reasons.get(model, "there is no dataset for it"))
    if not served and not named and entry.models is None and stage != "activations":
        why = "; ".join(dict.fromkeys(reasons.values())) or "there is no dataset"
        yield Problem(place, f"it applies to no dataset: {why}")


def _graph_services(study: Study, place: tuple[str, ...], stage: str, entry: Any) -> Iterator[Problem]:
    results = study.results()
    graphs = [result for result in results if result.stage in GRAPH_STAGES]
    for index, word in enumerate(entry.graphs or ()):
        read = [graph for graph in graphs if f"{graph.stage}.{graph.name}" == word]
        if read and not any(study.reads(stage, entry, graph) for graph in read):
            refused = [study.against_dataset(stage, entry, graph.dataset) for graph in read if graph.dataset]
            why = next((reason for reason in refused if reason), "not at the models, datasets and checkpoints selected")
            yield Problem((*place, "graphs", index), f"there is no graph to read: {why}")
    able = not catalogue.missing(catalogue.STAGES[stage])
    if able and getattr(entry, "joined", False) and not any((one.stage, one.name) == place for one in results):
        yield Problem((*place, "layers"), f"layers: {entry.layers} finds no two graphs that it could read together")
    if entry.graphs is None and not any(study.reads(stage, entry, graph) for graph in graphs):
        kinds = "effective graphs" if stage in ON_EFFECTIVE else "graphs"
        yield Problem(place, f"the study makes no {kinds} that it could read")


def _checkpoints(study: Study) -> Iterator[Problem]:
    figures = (("figures",), "figures", study.config.figures)
    for place, stage, entry in [*_selecting(study.config), figures]:
        if not isinstance(entry.checkpoints, list):
            continue
        models = list(study.config.models) if stage == "figures" else study.models_for(stage, entry)
        known = list(dict.fromkeys(name for model in models for name in study.facts[model].checkpoints))
        yield from _unknown((*place, "checkpoints"), "checkpoint", entry.checkpoints, known)
        for model in getattr(entry, "models", None) or ():
            here = set(study.facts[model].checkpoints)
            if set(entry.checkpoints) <= set(known) and not set(entry.checkpoints) & here:
                yield Problem((*place, "checkpoints"), f"none of them is a checkpoint of '{model}'")


def _sites(study: Study) -> Iterator[Problem]:
    """Patterns that match no site of a model they apply to, though it has sites of that kind."""
    for place, stage, entry in _selecting(study.config):
        for key in ("sites", "partition"):
            patterns = getattr(entry, key, None)
            if not isinstance(patterns, (list, dict)):
                continue
            selected = getattr(entry, "models", None) or study.models_for(stage, entry)
            for index, pattern in enumerate(patterns):
                for model in selected:
                    known = study.facts[model].sites
                    if known is None or study.facts[model].matching([pattern]):
                        continue
                    if key == "partition" or _kind(pattern) in {_kind(site) for site in known} or not _is_glob(pattern):
                        last: str | int = index if key == "sites" else pattern
                        yield Problem((*place, key, last), describe_unknown(f"site of '{model}'", pattern, list(known)))
                        break


def _kind(site: str) -> str:
    return site.split(".")[0]


def _is_glob(pattern: str) -> bool:
    return bool(set("*?[") & set(pattern))
