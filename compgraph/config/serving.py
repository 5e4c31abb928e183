"""What can serve what: methods, networks, datasets, partitions. Every refusal is a sentence for the user."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from compgraph import catalogue
from compgraph.config.config import Config
from compgraph.config.datasets import AnyData, ImageData, MixtureData, PairsData, TaskData, TextData
from compgraph.config.facts import Facts, facts_of
from compgraph.config.metrics import metric_entry, named_metrics
from compgraph.config.models import IMAGE_SHAPES
from compgraph.config.rois import signals_of


@dataclass(frozen=True)
class Serving:
    """A validated config, and what its models and datasets can serve.

    Attributes
    ----------
    config : Config
        The config.
    source : Path or None
        A file that holds it.
    """

    config: Config
    source: Path | None = field(default=None, compare=False)

    @cached_property
    def facts(self) -> dict[str, Facts]:
        """What is known of each model."""
        return {name: facts_of(model) for name, model in self.config.models.items()}

    def against_model(self, stage: str, entry: Any, model: str) -> str:
        """Why an entry of a stage cannot be computed for a model; empty if it can."""
        kind = self.facts[model].kind
        registered = catalogue.SECTIONS.get(stage, {}).get(getattr(entry, "method", ""))
        if registered and kind not in registered.serves:
            return f"the method '{registered.name}' does not serve {_a(kind)} such as '{model}'"
        partition = getattr(entry, "partition", None)
        words = [partition] if isinstance(partition, str) else list((partition or {}).values())
        for word, only in (("heads", "transformer"), ("channels", "sequential")):
            if word in words and kind != only:
                return f"the partition '{word}' does not serve {_a(kind)} such as '{model}'"
        facts = self.facts[model]
        if isinstance(partition, dict) and facts.sites:
            for pattern in partition:
                if not facts.matching([pattern]):
                    return f"the partition's '{pattern}' matches no site of '{model}'"
        patterns = getattr(entry, "sites", None)
        if patterns and facts.sites and not facts.matching(patterns):
            return f"none of the sites {', '.join(patterns)} is in '{model}'"
        if getattr(entry, "norm_scale", "exact") != "exact" and kind == "sequential":
            return f"norm_scale is {entry.norm_scale}, and {_a(kind)} such as '{model}' has no norms"
        wanted = self.config.dictionaries.get(getattr(entry, "dictionaries", None) or "")
        if wanted is not None:
            if wanted.models is not None and model not in wanted.models:
                return f"the dictionaries '{entry.dictionaries}' are not made for '{model}'"
            if reason := self.against_model("dictionaries", wanted, model):
                return f"the dictionaries '{entry.dictionaries}' are not made for '{model}': {reason}"
        for name, source in self.attributions_of(entry):
            if source.models is not None and model not in source.models:
                return f"the attributions '{name}' are not made for '{model}'"
            if reason := self.against_model("attributions", source, model):
                return reason
        return ""

    def against_dataset(self, stage: str, entry: Any, dataset: str) -> str:
        """Why an entry of a stage cannot be computed over a dataset; empty if it can."""
        data = self.config.datasets[dataset]
        baseline = getattr(entry, "baseline", None)
        method = catalogue.SECTIONS.get(stage, {}).get(getattr(entry, "method", ""))
        named = [] if method is None else [method]
        if baseline is not None and (method is None or method.takes_baseline):
            named.append(catalogue.BASELINES[baseline])
        if any(one.needs_counterfactual for one in named) and not has_counterfactuals(data):
            return f"it needs counterfactuals, and the dataset '{dataset}' has none"
        for metric in named_metrics(entry):
            if metric_entry(metric).needs_answers and isinstance(data, TextData):
                return f"the metric '{metric}' needs answers, and the dataset '{dataset}' has none"
        if getattr(entry, "confusion", False) and not isinstance(data, ImageData):
            return f"confusion of classes needs images, and the dataset '{dataset}' has none"
        if dataset in datasets_besides(entry):
            return f"the dataset '{dataset}' is one of those that are read besides"
        for name, source in self.attributions_of(entry):
            for read in (dataset, *datasets_besides(entry)):
                if source.datasets is not None and read not in source.datasets:
                    return f"the attributions '{name}' are not made for '{read}'"
                if reason := self.against_dataset("attributions", source, read):
                    return reason
        return ""

    def attributions_of(self, entry: Any) -> list[tuple[str, Any]]:
        """Name and entry of all attributions that an entry reads, as far as they are known."""
        words = (word.partition(".") for word in signals_of(entry))
        names = [name for section, _, name in words if section == "attributions"]
        return [(name, self.config.attributions[name]) for name in names if name in self.config.attributions]

    def against_reading(self, entry: Any, model: str, dataset: str) -> str:
        """Why a model cannot read a dataset and all that an entry reads besides; empty if it can."""
        reasons = (self.against_pair(model, one) for one in (dataset, *datasets_besides(entry)))
        return next((reason for reason in reasons if reason), "")

    def against_pair(self, model: str, dataset: str) -> str:
        """Why a model cannot read a dataset; empty if it can."""
        facts, data = self.facts[model], self.config.datasets[dataset]
        if data.models is not None and model not in data.models:
            return f"the dataset '{dataset}' is not for '{model}'"
        images = isinstance(data, ImageData)
        if images != (facts.kind == "sequential"):
            return f"'{model}' reads {'tokens' if images else 'images'}, not the {data.kind} of '{dataset}'"
        if isinstance(data, ImageData) and facts.image_shape:
            shape = IMAGE_SHAPES.get(data.images)
            if shape and shape != facts.image_shape:
                return f"'{model}' reads images of {_size(facts.image_shape)}, '{dataset}' has {_size(shape)}"
        if facts.tasks is not None:
            if isinstance(data, (TextData, PairsData)):
                return f"'{model}' knows only the words of its training tasks, not those of '{dataset}'"
            unknown = [task for task in tasks_of(data) if task not in facts.tasks]
            if unknown:
                return f"'{model}' is not trained on the task '{unknown[0]}' of '{dataset}'"
        return ""


def datasets_besides(entry: Any) -> list[str]:
    """Datasets whose buffers an entry reads beside that of its own: pooled with it, or compared."""
    return [*(getattr(entry, "pool", None) or ()), *(getattr(entry, "against", None) or ())]


def lacking(stage: str, entry: Any) -> list[str]:
    """Libraries that an entry of a stage needs and that are not installed; simple block models need none."""
    simple = stage == "sbm" and not entry.nested and entry.engine != "graph-tool" and entry.layers == "none"
    simple = simple and entry.structure == "any" and not entry.signs and not entry.n_samples
    return [] if simple else catalogue.missing(catalogue.STAGES[stage])


def rois_in(partition: str | dict[str, str] | None) -> list[str]:
    """Names of the ROI entries that a partition refers to."""
    words = [partition] if isinstance(partition, str) else list((partition or {}).values())
    return list(dict.fromkeys(word.removeprefix("rois.") for word in words if word.startswith("rois.")))


def tasks_of(data: AnyData) -> list[str]:
    """Tasks of a dataset, empty if it is not made from tasks."""
    if isinstance(data, TaskData):
        return [data.task]
    return list(data.tasks) if isinstance(data, MixtureData) else []


def has_counterfactuals(data: AnyData) -> bool:
    """Whether every item of a dataset has a corrupted twin, as far as the config tells."""
    if isinstance(data, PairsData) and data.columns is not None:
        return "corrupted" in data.columns
    return not isinstance(data, TextData)


def _a(kind: str) -> str:
    return f"a {kind} network" if kind == "sequential" else f"a {kind}"


def _size(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))
