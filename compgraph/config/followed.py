"""Sections ``tracking`` and ``scale``: which results are followed over checkpoints, and over models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compgraph.config.base import describe_unknown
from compgraph.config.models import step_of
from compgraph.config.problems import Problem
from compgraph.config.results import GRAPH_STAGES, Result

if TYPE_CHECKING:
    from compgraph.config.fan_out import FanOut

EVERY = "all"
"""Stands for the checkpoint, or the model, of a result that is of several."""
LAST = "last"
READ = ("rois", "evaluation", "communities", "sbm", "statistics")
"""Sections, beside graphs and the tests for separability, whose results are followed."""
CHECKPOINT, MODEL = "{checkpoint}", "{model}"
"""Where the names stand in the path of a result that there is one of for each."""

Followed = dict[Result, list[Result]]
"""A result with `{checkpoint}` (and `{model}`) in its place, to the results that it stands for."""


def results_of_tracking(study: FanOut, made: list[Result]) -> Iterator[Result]:
    """Every result of the section ``tracking``, for the results of a study's other sections."""
    for name, entry in study.entries("tracking").items():
        for model in study.models_for("tracking", entry):
            for dataset in study.datasets_for("tracking", entry, model):
                result = Result("tracking", name, model, EVERY, dataset)
                if tracked(study, result, made):
                    yield result


def results_of_scale(study: FanOut, made: list[Result]) -> Iterator[Result]:
    """Every result of the section ``scale``."""
    for name, entry in study.entries("scale").items():
        for dataset in study.config.datasets:
            result = Result("scale", name, EVERY, LAST, dataset)
            if (entry.datasets is None or dataset in entry.datasets) and scaled(study, result, made):
                yield result


def tracked(study: FanOut, result: Result, made: list[Result]) -> Followed:
    """What a result of ``tracking`` reads: what is made at all of its checkpoints."""
    checkpoints = study.checkpoints_for(study.entries("tracking")[result.name], result.model)
    if len(checkpoints) < 2:
        return {}
    found = _over_checkpoints(study, result, made)
    return {role: there for role, there in found.items() if not _gap(there, checkpoints)}


def scaled(study: FanOut, result: Result, made: list[Result]) -> Followed:
    """What a result of ``scale`` reads: what is made at the last checkpoint of all its models, and the models."""
    found = _over_models(study, result, made)
    models = models_of(study, result, made)
    if len(models) < 2:
        return {}
    whole = {role: there for role, there in found.items() if {one.model for one in there} == set(models)}
    if not whole:
        return {}
    last = [Result("model", at, model, at) for model in models for at in study.facts[model].checkpoints[-1:]]
    return {Result("model", CHECKPOINT, MODEL, CHECKPOINT): last, **whole}


def models_of(study: FanOut, result: Result, made: list[Result]) -> list[str]:
    """The models that a result of ``scale`` compares, in the order of the config."""
    named = study.entries("scale")[result.name].models
    having = {one.model for there in _over_models(study, result, made).values() for one in there}
    return [model for model in study.config.models if (model in having if named is None else model in named)]


def _over_checkpoints(study: FanOut, result: Result, made: list[Result]) -> Followed:
    entry = study.entries("tracking")[result.name]
    checkpoints = study.checkpoints_for(entry, result.model)
    found: Followed = {}
    for one in made:
        if one.model == result.model and one.checkpoint in checkpoints and _reads(study, entry, one, result.dataset):
            found.setdefault(replace(one, checkpoint=CHECKPOINT), []).append(one)
    return {role: sorted(there, key=lambda one: checkpoints.index(one.checkpoint)) for role, there in found.items()}


def _over_models(study: FanOut, result: Result, made: list[Result]) -> Followed:
    entry = study.entries("scale")[result.name]
    found: Followed = {}
    for one in made:
        if entry.models is not None and one.model not in entry.models:
            continue
        follows = one.stage == "tracking" and one.name == entry.tracking and one.dataset == result.dataset
        if follows or (_is_last(study, one) and _reads(study, entry, one, result.dataset)):
            at = one.checkpoint if follows else CHECKPOINT
            found.setdefault(replace(one, model=MODEL, checkpoint=at), []).append(one)
    order = list(study.config.models)
    return {role: sorted(there, key=lambda one: order.index(one.model)) for role, there in found.items()}


def _is_last(study: FanOut, result: Result) -> bool:
    return result.model in study.facts and result.checkpoint == study.facts[result.model].checkpoints[-1]


def _reads(study: FanOut, entry: Any, result: Result, dataset: str) -> bool:
    if result.dataset not in (dataset, ""):
        return False
    if result.stage in GRAPH_STAGES:
        name = f"{result.stage}.{result.name}"
        return result.stage == "effective" if entry.graphs is None else name in entry.graphs
    separable = result.stage == "tests" and study.entries("tests")[result.name].method == "separability"
    if result.stage not in READ and not separable:
        return False
    return not result.graph or entry.graphs is None or result.graph in entry.graphs


def _gap(there: list[Result], checkpoints: list[str]) -> list[str]:
    made = {one.checkpoint for one in there}
    return [checkpoint for checkpoint in checkpoints if checkpoint not in made]


def problems_of_followed(study: FanOut) -> Iterator[Problem]:
    """Trajectories with gaps, checkpoints that tell no step, and entries that nothing is made for."""
    made = [result for result in study.results() if result.stage not in ("figure", "scale")]
    for name, entry in study.entries("tracking").items():
        place = ("tracking", name)
        found = [result for result in study.results() if result.stage == "tracking" and result.name == name]
        for model in study.models_for("tracking", entry):
            yield from _steps(study, (*place, "checkpoints"), entry, model, bool(entry.models))
            for dataset in study.datasets_for("tracking", entry, model):
                yield from _gaps(study, place, Result("tracking", name, model, EVERY, dataset), made)
        if not found:
            yield Problem(place, "no graph, evaluation or other result is made at two or more of its checkpoints")
    for name, entry in study.entries("scale").items():
        place = ("scale", name)
        if entry.tracking is not None and entry.tracking not in study.entries("tracking"):
            valid = list(study.entries("tracking"))
            yield Problem((*place, "tracking"), describe_unknown("entry of tracking", entry.tracking, valid))
        found = [result for result in study.results() if result.stage == "scale" and result.name == name]
        if not found:
            yield Problem(place, "no result is made at the last checkpoint of all its models, of which it needs two")


def _steps(study: FanOut, place: tuple[str, ...], entry: Any, model: str, named: bool) -> Iterator[Problem]:
    checkpoints = study.checkpoints_for(entry, model)
    steps = [step_of(checkpoint) for checkpoint in checkpoints]
    nameless = [checkpoint for checkpoint, step in zip(checkpoints, steps, strict=True) if step is None]
    if nameless and (named or len(checkpoints) > 1):
        yield Problem(place, f"the name of '{model}' checkpoint {nameless[0]} tells no step, as step1000 does")
    elif named and len(checkpoints) < 2:
        yield Problem(place, f"'{model}' has {len(checkpoints)} of them; a trajectory needs two")
    elif not nameless and steps != sorted(set(steps), key=lambda step: step or 0):
        yield Problem(place, f"the checkpoints of '{model}' are not in the order of training: {', '.join(checkpoints)}")


def _gaps(study: FanOut, place: tuple[str, ...], result: Result, made: list[Result]) -> Iterator[Problem]:
    checkpoints = study.checkpoints_for(study.entries("tracking")[result.name], result.model)
    for role, there in _over_checkpoints(study, result, made).items():
        missing = _gap(there, checkpoints)
        # What is made once is no part of a trajectory; what is made twice is one with gaps.
        if missing and len(there) > 1:
            what = f"{role.stage}.{role.name}" + (f" of {role.graph}" if role.graph else "")
            why = f"{what} is not made at {', '.join(missing)} of '{result.model}'"
            yield Problem(place, f"{why}; select these checkpoints there, or leave them out here")
