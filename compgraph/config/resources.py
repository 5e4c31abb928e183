"""What a result of each stage asks a cluster for: memory, time, threads, estimated from what the config knows.

The constants are bounds of measurements that ``docs/cluster.md`` lists with their commands. None of this is a parameter
of a result: it says where a result is made, not which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compgraph.config.facts import Facts
    from compgraph.config.study import Study

BASE_MEGABYTES = 1500
"""The Snakemake of a cluster job, and the process that makes its results, with all libraries that these may load."""
MEGABYTES_PER_PARAMETER = 4e-6
SECONDS_PER_PARAMETER = 2e-8
"""Of a pass of one item, backward and the products between units included."""
UNKNOWN_PARAMETERS = 125_000_000
"""Of a model on the hub, of which nothing is known before it is loaded."""
WHOLE_FILE = 1024
"""Items taken for a dataset that is as long as its file."""


@dataclass(frozen=True)
class Load:
    """What a stage's results take beside the base.

    Attributes
    ----------
    copies : int
        Arrays of the size of all weights that it holds.
    passes : int
        Passes of the data through the network.
    minutes : int
        What any result is given at least.
    """

    copies: int = 0
    passes: int = 0
    minutes: int = 10


STAGES: Mapping[str, Load] = {
    "train": Load(copies=4, minutes=60),
    "import-model": Load(copies=2),
    "data": Load(),
    "activations": Load(copies=2, passes=1),
    "attributions": Load(copies=3, passes=5),
    "dictionaries": Load(copies=2, minutes=60),
    "structural": Load(copies=3, minutes=20),
    "functional": Load(copies=1, minutes=20),
    "effective": Load(copies=4, passes=5),
    "rois": Load(copies=1, minutes=20),
    "ablation": Load(copies=3, passes=20),
    "evaluation": Load(),
    "nulls": Load(copies=2, minutes=20),
    "communities": Load(minutes=20),
    "sbm": Load(minutes=60),
    "tests": Load(copies=3, passes=50, minutes=20),
    "statistics": Load(minutes=20),
    "comparison": Load(),
    "structures": Load(minutes=20),
    "wiring": Load(),
    "ground-truth": Load(minutes=20),
    "tracking": Load(),
    "scale": Load(),
    "explore": Load(),
    "figure": Load(),
    "report": Load(),
}
"""Stages whose needs can be set in ``run.resources``."""


@dataclass(frozen=True)
class Estimate:
    """What one result asks for at the first attempt.

    Attributes
    ----------
    mem_mb, minutes, cpus : int
    """

    mem_mb: int
    minutes: int
    cpus: int = 1


def stage_of_rule(rule: str) -> str:
    """The stage that a rule of the workflow belongs to: every trained model, say, has a rule of its own.

    Raises
    ------
    ValueError
        For a rule of no stage.
    """
    name = rule.replace("_", "-")
    if name.startswith("train-"):
        return "train"
    found = name if name in STAGES else name.partition("-")[0]
    if found not in STAGES:
        raise ValueError(f"rule {rule} belongs to no stage of compgraph.config.resources.STAGES")
    return found


def estimate(study: Study, rule: str, model: str = "", dataset: str = "") -> Estimate:
    """What a result asks for.

    Parameters
    ----------
    study : Study
    rule : str
        The rule that makes it.
    model, dataset : str
        What it is a result of; empty where it is of none.

    Returns
    -------
    Estimate
        As ``run.resources`` says, else by the size of the model and of the data.
    """
    stage = stage_of_rule(rule)
    load, config = STAGES[stage], study.config
    if stage == "train":
        model = rule.removeprefix("train_")
    weights = parameters(study.facts[model]) if model in study.facts else 0
    if stage == "train":
        recipe: Any = config.models[model]
        seen = recipe.steps * recipe.batch_size
    else:
        seen = load.passes * (items(config.datasets[dataset]) if dataset in config.datasets else 0)
    memory = BASE_MEGABYTES + load.copies * weights * MEGABYTES_PER_PARAMETER
    minutes = load.minutes + weights * seen * SECONDS_PER_PARAMETER / 60
    found = Estimate(math.ceil(memory), math.ceil(minutes))
    said = config.run.resources.get(stage)
    if said is None:
        return found
    return Estimate(said.mem_mb or found.mem_mb, said.minutes or found.minutes, said.cpus or found.cpus)


def parameters(facts: Facts) -> int:
    """Weights of a model, about: the products of the sites that its matrices connect."""
    sites = facts.sites
    if sites is None:
        return UNKNOWN_PARAMETERS if facts.kind == "transformer" else 0
    if facts.kind == "transformer":
        width = sites["embed"]
        inside = sum(
            units * width * (4 if site.startswith("attn") else 3 if site.startswith("mlp") else 0)
            for site, units in sites.items()
        )
        return inside + 2 * width * sites["logits"]
    return sum(one * other for one, other in pairwise(sites.values()))


def items(dataset: Any) -> int:
    """Items of a dataset, about."""
    return getattr(dataset, "n", None) or WHOLE_FILE
