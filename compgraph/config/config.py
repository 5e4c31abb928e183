"""The whole config: its sections in pipeline order, and reading it with every error reported at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from compgraph.config import attributions as _attributions
from compgraph.config import communities as _communities
from compgraph.config import dictionaries as _dictionaries
from compgraph.config import effective as _effective
from compgraph.config import functional as _functional
from compgraph.config import rois as _rois
from compgraph.config import structural as _structural
from compgraph.config import tests as _tests
from compgraph.config.ablation import Ablation
from compgraph.config.activations import Activations
from compgraph.config.base import NAME_PATTERN, RESERVED, Section
from compgraph.config.comparison import Comparison
from compgraph.config.datasets import DATASET_KINDS, Data
from compgraph.config.evaluation import Evaluation
from compgraph.config.expansion import Expansion, expand
from compgraph.config.figures import Figures
from compgraph.config.ground_truth import GroundTruth
from compgraph.config.models import MODEL_KINDS, Model
from compgraph.config.problems import Problem, Problems, from_pydantic
from compgraph.config.reading import Document, read
from compgraph.config.report import Report
from compgraph.config.run import Needs, Run, Slurm
from compgraph.config.sbm import Sbm
from compgraph.config.scale import Scale
from compgraph.config.statistics import Statistics
from compgraph.config.tracking import Tracking
from compgraph.errors import ConfigError


def _check_name(name: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > 64:
        raise PydanticCustomError(
            "rule",
            "'{name}' cannot be a file name here; use lower-case letters, digits, '-', '_' and '.', at most 64, "
            "a letter or digit first",
            {"name": name},
        )
    if name in RESERVED:
        raise PydanticCustomError("rule", "'{name}' has a meaning of its own; choose another name", {"name": name})
    return name


Name = Annotated[str, AfterValidator(_check_name)]


class Config(Section):
    """A study: models, what they are looked at with, and what is made of that, one section a stage."""

    models: dict[Name, Model] = Field({}, description="Networks: trained here from a recipe, or pretrained.")
    datasets: dict[Name, Data] = Field({}, description="What the networks are looked at with.")
    activations: Activations = Field(Activations(), description="What is recorded while the data stream through.")
    attributions: dict[Name, _attributions.Attributions] = Field(
        {}, description="Buffers of what each unit contributes to a metric."
    )
    dictionaries: dict[Name, _dictionaries.Dictionaries] = Field(
        {}, description="Features of sites: trained on recorded activations, or loaded."
    )
    structural: dict[Name, _structural.Structural] = Field({}, description="Graphs from the weights alone.")
    functional: dict[Name, _functional.Functional] = Field({}, description="Graphs of what varies together.")
    effective: dict[Name, _effective.Effective] = Field({}, description="Graphs of causal influence.")
    rois: dict[Name, _rois.Rois] = Field({}, description="Regions of interest: parts found from the data.")
    ablation: dict[Name, Ablation] = Field({}, description="The network run as an effective graph, cut down.")
    evaluation: dict[Name, Evaluation] = Field({}, description="How faithful the cut-down graphs are, in tables.")
    communities: dict[Name, _communities.Communities] = Field({}, description="Groups of nodes tied together.")
    sbm: dict[Name, Sbm] = Field({}, description="Stochastic block models.")
    tests: dict[Name, _tests.Tests] = Field({}, description="What circuits, blocks and regions are put to.")
    statistics: dict[Name, Statistics] = Field({}, description="Numbers that describe a graph.")
    comparison: dict[Name, Comparison] = Field({}, description="Kinds of connectivity against each other.")
    tracking: dict[Name, Tracking] = Field({}, description="What changes over the checkpoints of a training.")
    scale: dict[Name, Scale] = Field({}, description="Structure against the size of models.")
    ground_truth: GroundTruth = Field(
        GroundTruth(), description="Effective methods on networks whose true edges are known."
    )
    figures: Figures = Field(Figures(), description="Which results are drawn.")
    report: Report = Field(Report(), description="One page for the whole study.")
    run: Run = Field(Run(), description="Where and with what; changes no result.")


SECTIONS = tuple(Config.model_fields)
"""Names of the sections, in pipeline order."""

ENTRY_MODELS: dict[str, Mapping[str, type[Section]]] = {
    "models": MODEL_KINDS,
    "datasets": DATASET_KINDS,
    "attributions": _attributions.METHODS,
    "dictionaries": _dictionaries.METHODS,
    "structural": _structural.METHODS,
    "functional": _functional.METHODS,
    "effective": _effective.METHODS,
    "rois": _rois.METHODS,
    "ablation": {"": Ablation},
    "evaluation": {"": Evaluation},
    "communities": _communities.METHODS,
    "sbm": {"": Sbm},
    "tests": _tests.METHODS,
    "statistics": {"": Statistics},
    "comparison": {"": Comparison},
    "tracking": {"": Tracking},
    "scale": {"": Scale},
}
"""Models of the entries of each section that fans out, by method, kind or source."""

SINGLE_MODELS: dict[str, type[Section]] = {
    "activations": Activations,
    "ground_truth": GroundTruth,
    "figures": Figures,
    "report": Report,
    "run": Run,
}

NESTED: Mapping[tuple[str, ...], type[Section]] = {("run", "slurm"): Slurm, ("run", "resources"): Needs}
"""Models inside these, by their place."""

TAG_KEYS = {"models": "source", "datasets": "kind"}
"""The key that tells the entries of a section apart, where it is not ``method``."""


def load(path: str | Path, *, check: bool = True) -> Config:
    """Read, validate and cross-check a config file.

    Parameters
    ----------
    path : str or Path
        The YAML file.
    check : bool
        Whether to check the sections against each other and against the disk as well.

    Raises
    ------
    ConfigError
        With all errors, each with its path in the file, the value and what is valid.
    """
    return validate(read(path), check=check)


def from_mapping(values: Mapping[str, Any], name: str = "config", *, check: bool = True) -> Config:
    """Like :func:`load`, for a config that is already a mapping."""
    return validate(Document(name, dict(values), {}), check=check)


def validate(document: Document, *, check: bool = True) -> Config:
    """A document as a :class:`Config`; see :func:`load`."""
    from compgraph.config.checks import cross_check

    # A section left empty in the file ("rois:" and nothing under it) is the same as one left out.
    expanded = expand({name: section for name, section in document.values.items() if section is not None})
    problems = list(expanded.problems)
    try:
        config = Config.model_validate(expanded.values)
    except ValidationError as error:
        found = from_pydantic(error.errors(include_url=False), expanded.values, _keys, _tag_key)
        raise _problems(document, expanded, [*problems, *found]).error() from None
    if not problems and check:
        problems = cross_check(config)
    if problems:
        raise _problems(document, expanded, problems).error()
    return config


def _problems(document: Document, expanded: Expansion, found: list[Problem]) -> Problems:
    """Problems at their places in the file; what all models of a family have in common is said once."""
    placed = [Problem(expanded.place(problem.place), problem.message) for problem in found]
    return Problems(document.name, placed, document.lines)


def _keys(location: tuple[str | int, ...]) -> list[str]:
    """Valid keys at a pydantic location: the file's top, a section, or an entry of one branch of a section."""
    if not location:
        return list(SECTIONS)
    section = str(location[0])
    if section in SINGLE_MODELS:
        return list(NESTED.get(tuple(map(str, location[:2])), SINGLE_MODELS[section]).model_fields)
    members = ENTRY_MODELS[section]
    model = members.get(str(location[-1])) or next(iter(members.values()))
    return list(model.model_fields)


def _tag_key(section: str, entry: Mapping[str, Any]) -> str:
    """The key of an entry that decides which fields it has."""
    if section == "models" and entry.get("source") == "trained":
        return "architecture"
    return TAG_KEYS.get(section, "method")


__all__ = ["Config", "ConfigError", "from_mapping", "load", "validate"]
