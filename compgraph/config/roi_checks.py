"""What is wrong with entries of the section `rois`, and with partitions that refer to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compgraph import catalogue
from compgraph.catalogue.units import contradictions
from compgraph.config.base import describe_unknown
from compgraph.config.problems import Problem
from compgraph.config.results import GRAPH_STAGES
from compgraph.config.serving import rois_in

if TYPE_CHECKING:
    from compgraph.config.study import Study


def checks_of_rois(study: Study) -> Iterator[Problem]:
    """All problems of regions that single entries do not show."""
    yield from _rois_references(study)
    yield from _roi_entries(study)


def _rois_references(study: Study) -> Iterator[Problem]:
    valid = list(study.config.rois)
    for stage in GRAPH_STAGES:
        for name, entry in study.entries(stage).items():
            place = (stage, name, "partition")
            names = rois_in(entry.partition)
            unknown = [word for word in names if word not in valid]
            for word in unknown:
                listed = [f"rois.{known}" for known in valid]
                yield Problem(place, describe_unknown("partition", f"rois.{word}", listed))
            if len(names) > 1:
                yield Problem(place, f"it mixes the ROIs of {' and '.join(names)}; one entry of rois at a time")
            if names and not unknown:
                featured = getattr(entry, "dictionaries", None)
                if study.entries("rois")[names[0]].dictionaries != featured:
                    units = f"features of '{featured}'" if featured else "units themselves"
                    yield Problem(place, f"the ROIs '{names[0]}' are not of the {units}")
                yield from _rois_apply(study, stage, place, entry, names[0])


def _roi_entries(study: Study) -> Iterator[Problem]:
    """Random ROIs that are like others, and what a consensus is of."""
    entries = study.config.rois
    for name, entry in entries.items():
        place = ("rois", name)
        if entry.consensus and not entry.n_repeats:
            yield Problem((*place, "consensus"), "a consensus is of repeats; give n_repeats")
        if entry.method == "sbm":
            yield from _block_models(place, entry)
        if entry.method == "labels" and not Path(entry.path).expanduser().is_file():
            missing = f"there is no table '{entry.path}'" if entry.path else "this key is missing"
            yield Problem((*place, "path"), missing)
        if entry.method != "random":
            continue
        able = [other for other, one in entries.items() if one.method != "random"]
        if not entry.like and entry.n_rois is None:
            yield Problem(place, "random ROIs need n_rois, or like, the entry of rois whose sizes they have")
        elif entry.like and entry.like not in able:
            yield Problem((*place, "like"), describe_unknown("entry of rois that is not random", entry.like, able))
        elif entry.like:
            found = {(model, dataset) for model, _, dataset in study.places("rois", entries[entry.like])}
            wanted = dict.fromkeys((model, dataset) for model, _, dataset in study.places("rois", entry))
            for model, dataset in [pair for pair in wanted if pair not in found][:1]:
                yield Problem((*place, "like"), f"'{entry.like}' is not found for '{model}' on '{dataset}'")


def _block_models(place: tuple[str, ...], entry: Any) -> Iterator[Problem]:
    """Settings that contradict each other, and those that only graph-tool serves where it is missing."""
    keys = ("n_rois", "nested", "hierarchy_level", "weights", "graph", "weighted")
    for key, reason in contradictions(**{key: getattr(entry, key) for key in keys}).items():
        yield Problem((*place, key), reason)
    if catalogue.missing(catalogue.STAGES["sbm"]):
        if entry.nested:
            yield Problem((*place, "nested"), f"a nested model {NEEDS_GRAPH_TOOL}, or take nested: false")
        if entry.engine == "graph-tool":
            yield Problem((*place, "engine"), f"this engine {NEEDS_GRAPH_TOOL}, or take engine: dense")


NEEDS_GRAPH_TOOL = (
    "needs graph-tool, which is not installed: `apt install python3-graph-tool` on Debian, or "
    "`conda install -c conda-forge graph-tool`"
)


def _rois_apply(study: Study, stage: str, place: tuple[str, ...], entry: Any, name: str) -> Iterator[Problem]:
    """ROIs must exist wherever the graph is made; a structural graph has no dataset, so they must come from one."""
    roi_entry = study.entries("rois")[name]
    for model in study.models_for(stage, entry):
        if model not in study.models_for("rois", roi_entry):
            yield Problem(place, f"the ROIs '{name}' are not found for the model '{model}'")
            continue
        found = study.datasets_for("rois", roi_entry, model)
        if stage == "structural" and len(found) != 1:
            yield Problem(
                place, f"the ROIs '{name}' of '{model}' come from {len(found)} datasets; select one in rois.{name}"
            )
        for dataset in [] if stage == "structural" else study.datasets_for(stage, entry, model):
            if dataset not in found:
                yield Problem(place, f"the ROIs '{name}' are not found for '{model}' on '{dataset}'")
