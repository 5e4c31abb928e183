"""What a result of each stage asks a cluster for, and what it will likely cost, from what the config knows.

What is asked for are bounds, with their measurements and commands in ``docs/cluster.md``; what is likely are means,
with theirs in ``docs/running.md``. None of this is a parameter of a result: it says where a result is made, not which.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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
PROMPT_TOKENS = 32
"""Of an item of a transformer's data, about."""
KERNEL = 9
"""Weights of a convolution between two channels, about."""
PROCESS_MEGABYTES = 950
"""The largest process of the embedded study, which has loaded all libraries."""
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
    seconds : float
        Of one core, what a result of the embedded study takes beside passes through the network.
    share : float
        Part of the longest time of a pass that is likely.
    size : int
        Bytes that a result of the embedded study takes.
    """

    copies: int = 0
    passes: int = 0
    minutes: int = 10
    seconds: float = 0.3
    share: float = 0.1
    size: int = 20_000


STAGES: Mapping[str, Load] = {
    "train": Load(copies=4, minutes=60, seconds=3, share=0.2, size=2_000_000),
    "import-model": Load(copies=2, seconds=1, size=500),
    "data": Load(seconds=0.6, size=600_000),
    "activations": Load(copies=2, passes=1, seconds=0.1, size=350_000),
    "attributions": Load(copies=3, passes=5, seconds=0.1, size=6_400_000),
    "dictionaries": Load(copies=2, minutes=60, seconds=1, size=1_000_000),
    "structural": Load(copies=3, minutes=20, seconds=0.1),
    "functional": Load(copies=1, minutes=20, seconds=0.1, size=1_500_000),
    "effective": Load(copies=4, passes=5, seconds=0.2),
    "rois": Load(copies=1, minutes=20, seconds=0.3, size=100_000),
    "ablation": Load(copies=3, passes=20, seconds=0.3, share=0.05, size=4_200_000),
    "evaluation": Load(seconds=0.5),
    "nulls": Load(copies=2, minutes=20, seconds=1, size=200_000),
    "communities": Load(minutes=20, seconds=1.1, size=3_000),
    "sbm": Load(minutes=60, seconds=3.3),
    "tests": Load(copies=3, passes=50, minutes=20, seconds=1),
    "statistics": Load(minutes=20, seconds=0.9),
    "comparison": Load(),
    "structures": Load(minutes=20, seconds=7.5),
    "wiring": Load(seconds=3),
    "ground-truth": Load(minutes=20, seconds=40, size=200_000),
    "tracking": Load(seconds=0.7, size=40_000),
    "scale": Load(),
    "explore": Load(seconds=1.5, size=600_000),
    "figure": Load(seconds=0.7, size=470_000),
    "report": Load(size=8_500_000),
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
    stage, config = stage_of_rule(rule), study.config
    load = STAGES[stage]
    weights, seen = _work(study, rule, model, dataset)
    memory = BASE_MEGABYTES + load.copies * weights * MEGABYTES_PER_PARAMETER
    minutes = load.minutes + weights * seen * SECONDS_PER_PARAMETER / 60
    found = Estimate(math.ceil(memory), math.ceil(minutes))
    said = config.run.resources.get(stage)
    if said is None:
        return found
    return Estimate(said.mem_mb or found.mem_mb, said.minutes or found.minutes, said.cpus or found.cpus)


@dataclass(frozen=True)
class Likely:
    """What one result will likely cost.

    Attributes
    ----------
    seconds : float
        Of one core.
    peak_bytes : float
        Memory of the process that makes it.
    size : float
        Bytes on disk.
    """

    seconds: float
    peak_bytes: float
    size: float


def likely(study: Study, rule: str, model: str = "", dataset: str = "") -> Likely:
    """What a result will likely cost, by the size of the model and of the data; parameters as of `estimate`.

    Sizes on disk are those of the embedded study, but for checkpoints, which are as large as their weights.
    """
    load = STAGES[stage_of_rule(rule)]
    weights, seen = _work(study, rule, model, dataset)
    facts = study.facts.get(rule.removeprefix("train_") if rule.startswith("train_") else model)
    each = 0.0 if facts is None else products(facts) * SECONDS_PER_PARAMETER / PROMPT_TOKENS
    seconds = load.seconds + load.share * seen * each
    megabytes = PROCESS_MEGABYTES + load.copies * weights * MEGABYTES_PER_PARAMETER
    size: float = load.size
    if rule.startswith("train_") and facts is not None:
        size = sum(count for count, _ in _layers(facts)) * MEGABYTES_PER_PARAMETER * 1e6
    return Likely(seconds, megabytes * 1e6, size)


def _work(study: Study, rule: str, model: str, dataset: str) -> tuple[int, int]:
    """Weights of a result's network, and the items that pass through it."""
    stage, config = stage_of_rule(rule), study.config
    if stage == "train":
        model = rule.removeprefix("train_")
    weights = parameters(study.facts[model]) if model in study.facts else 0
    if stage == "train":
        recipe: Any = config.models[model]
        return weights, recipe.steps * recipe.batch_size
    return weights, STAGES[stage].passes * (items(config.datasets[dataset]) if dataset in config.datasets else 0)


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


def products(facts: Facts) -> int:
    """Multiplications of an item's pass through a model, about: of weights with tokens, of kernels with places."""
    return sum(weights * places for weights, places in _layers(facts))


def _layers(facts: Facts) -> Iterator[tuple[int, int]]:
    """Weights of each layer, and at how many places of an item they are used."""
    if facts.kind == "transformer":
        yield parameters(facts), PROMPT_TOKENS
        return
    if facts.sites is None or facts.image_shape is None:
        yield parameters(facts), 1
        return
    channels, height, width = facts.image_shape
    before = channels * height * width
    for site, units in list(facts.sites.items())[1:]:
        if site.startswith("conv"):  # followed by pooling over 2 x 2
            places = (height // 2) * (width // 2)
            yield KERNEL * channels * units // places, 4 * places
            channels, height, width = units // places, height // 2, width // 2
        else:
            yield before * units, 1
        before = units


def items(dataset: Any) -> int:
    """Items of a dataset, about."""
    return getattr(dataset, "n", None) or WHOLE_FILE
