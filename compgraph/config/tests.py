"""Section ``tests``: what circuits, blocks and regions are put to, each against its own chance.

Entries of one method apply to effective graphs, or (``class-ablation``, ``region-ablation``) to the regions found at a
place.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from compgraph import catalogue
from compgraph.config.attributions import OF_UNITS
from compgraph.config.base import (
    DataEntry,
    Fraction,
    GraphEntry,
    Positive,
    Section,
    Seed,
    Words,
    listing,
    method_tag,
    one_of,
    union,
    unknown_word,
)
from compgraph.config.metrics import MetricName

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Level = Annotated[float, Field(gt=0.0, lt=1.0)]
Fractions = listing(Fraction)
FRACTIONS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
BLOCK_STAGES = ("sbm", "communities")
"""Sections whose results label the nodes of a graph."""
BLOCKS = tuple(f"{stage}.<name of an entry of the section {stage}>" for stage in BLOCK_STAGES)
PARTITIONS = ("rois.<name>", *(f"{stage}.<name>@<section.name of a graph>" for stage in BLOCK_STAGES))
PARTITION = re.compile(r"rois\.[^@]+|(?:sbm|communities)\.[^@]+@(?:structural|functional|effective)\.[^@]+")

REPLICATED = ("<name of a dataset>", "effective.<name>", "effective.<name>@<dataset>")
REPLICATE = re.compile(r"effective\.[^@]+@[^@]+")
SOURCES = ("seeds", "phrasings")
"""Keys that name graphs made again, and what differs between them."""


def _blocks(value: str) -> str:
    if not value.startswith(tuple(f"{stage}." for stage in BLOCK_STAGES)):
        raise unknown_word("division into blocks", value, BLOCKS)
    return value


def _partition(value: str) -> str:
    if not PARTITION.fullmatch(value):
        raise unknown_word("division into regions", value, PARTITIONS)
    return value


def _attributions(value: str) -> str:
    if not value.startswith("attributions."):
        raise unknown_word("buffer", value, ("attributions.<name of an entry of the section attributions>",))
    return value


def _replicate(value: str) -> str:
    if "@" in value and not REPLICATE.fullmatch(value):
        raise unknown_word("graph made again", value, REPLICATED)
    return value


Attributed = Annotated[str, AfterValidator(_attributions)]
BlockChoice = Annotated[str, AfterValidator(_blocks)]
PartitionWords = listing(Annotated[str, AfterValidator(_partition)])
Replicates = listing(Annotated[str, AfterValidator(_replicate)])


class Run(Section):
    """What all tests that run the network share."""

    baseline: Annotated[str, one_of(catalogue.BASELINES, "baseline")] = Field(
        "counterfactual", description="What a removed edge or node carries instead."
    )
    baseline_data: str | None = Field(
        None, description="Dataset that mean, position-mean, resample, noise and optimal are taken from; else its own."
    )
    batch_size: Positive | None = Field(None, description="Examples a pass; chosen to bound memory if not given.")
    seed: Seed = Field(0, description="Seed of all that is drawn: random circuits, nulls, resamples, baselines.")


class OnGraph(GraphEntry):
    """One result per effective graph."""

    graphs: Words | None = Field(None, description="Effective graphs to cut down (effective.heads); all if not given.")


class OneCircuit(OnGraph, Run):
    """Tests of one circuit of each graph."""

    size: Fraction = Field(0.2, description="Share of the edges that the circuit keeps, before it is pruned.")
    selection: Annotated[str, one_of(catalogue.SELECTIONS, "selection")] = Field(
        "top", description="Rule that chooses the edges of a circuit."
    )
    options: dict[str, int | float | bool | str] = Field(
        {}, description="Options of that rule (by: abs, signed or negative, ...)."
    )
    metric: MetricName = Field("logit_difference", description="Scalar of the output that is compared.")
    examples: Literal["held-out", "all", "chosen"] = Field(
        "held-out", description="Which are run: held-out from the graph's scores (all, if none were), all, or chosen."
    )
    alpha: Level = Field(0.05, description="Level of significance.")


class CircuitTests(OneCircuit):
    """The five tests of Shi et al. 2024."""

    method: Literal["circuit-tests"] = Field(..., description="Method: the tests of Shi et al. 2024.")
    n_random: Positive = Field(100, description="Random circuits.")
    random: Literal["size", "layers", "degree"] = Field(
        "size", description="What random circuits share with the circuit: size, layers or degree."
    )
    necessity: Literal["random", "disjoint"] = Field(
        "random", description="What losing the circuit is compared with: losing random circuits, or other edges."
    )
    q: Level = Field(0.9, description="Share of the random circuits that the circuit must beat.")
    epsilon: Level = Field(0.1, description="How far from one half a share still counts as equivalent.")
    n_permutations: Positive = Field(1000, description="Permutations of the test of independence.")


class Minimality(OneCircuit):
    """The verdict on one circuit, and whether each of its edges is needed."""

    method: Literal["minimality"] = Field(..., description="Method: the loss without each single edge or node.")
    by: Literal["edge", "node"] = Field("edge", description="What is removed alone: edge or node.")
    reference: Literal["inflated", "random"] = Field(
        "inflated", description="Chance: an edge of a path added to the circuit (inflated), or of a random circuit."
    )
    n_random: Positive = Field(199, description="Random circuits.")
    random: Literal["size", "layers", "degree"] = Field(
        "layers", description="What random circuits share with the circuit: size, layers or degree."
    )
    n_bootstrap: Count = Field(1000, description="Resamples of the examples for the interval.")


class KnockOut(OnGraph, Run):
    """Faithfulness, completeness and their overlap, by size."""

    method: Literal["knock-out"] = Field(..., description="Method: circuits alone, and the network without them.")
    sizes: Fractions = Field(FRACTIONS, description="Fractions of the edges to keep.")  # type: ignore[valid-type]
    selection: Annotated[str, one_of(catalogue.SELECTIONS, "selection")] = Field(
        "top", description="Rule that chooses the edges of a circuit."
    )
    options: dict[str, int | float | bool | str] = Field(
        {}, description="Options of that rule (by: abs, signed or negative, ...)."
    )
    prune: bool = Field(False, description="Drop what lies on no path from input to output before running.")
    ablation: Literal["edge", "node"] = Field("edge", description="What is removed: edges, or whole nodes.")
    metrics: Annotated[list[MetricName], Field(min_length=1)] = Field(
        ["logit_difference"], description="What to measure."
    )
    examples: Literal["held-out", "all", "chosen"] = Field(
        "held-out", description="Which are run: held-out from the graph's scores (all, if none were), all, or chosen."
    )
    n_bootstrap: Count = Field(1000, description="Resamples of the examples for the interval.")


class Stability(OnGraph, Run):
    """Circuits of the same graph made from disjoint samples of its examples."""

    method: Literal["stability"] = Field(..., description="Method: the graph made again from disjoint samples.")
    samples: Annotated[int, Field(ge=2)] = Field(4, description="Disjoint samples of the examples.")
    sizes: Fractions = Field(FRACTIONS, description="Sizes of the compared circuits.")  # type: ignore[valid-type]
    by: Literal["abs", "signed", "negative"] = Field(
        "abs", description="What strong means: large absolute, positive (signed) or negative scores."
    )
    metrics: Annotated[list[MetricName], Field(min_length=1)] = Field(
        ["logit_difference"], description="What CPR and CMD are of, on the examples held out."
    )


class Reproducibility(OnGraph, Run):
    """A graph against graphs of the same nodes that were made again: other seeds, other wordings."""

    method: Literal["reproducibility"] = Field(..., description="Method: a graph and others of the same nodes.")
    seeds: Replicates | None = Field(  # type: ignore[valid-type]
        None, description="Graphs from another seed: a dataset, effective.<name>, or effective.<name>@<dataset>."
    )
    phrasings: Replicates | None = Field(  # type: ignore[valid-type]
        None, description="The same for graphs from other wordings of the task."
    )
    sizes: Fractions = Field(FRACTIONS, description="Sizes of the compared circuits.")  # type: ignore[valid-type]
    by: Literal["abs", "signed", "negative"] = Field(
        "abs", description="What strong means: large absolute, positive (signed) or negative scores."
    )
    metrics: Annotated[list[MetricName], Field(min_length=1)] = Field(
        ["logit_difference"], description="What CPR and CMD are of, on the examples held out."
    )
    among: Literal["layers", "size"] = Field(
        "layers", description="Edges that exchange scores under the null: between the same sites, or all (size)."
    )
    n_null: Count = Field(199, description="Shuffles of the scores behind the null; 0 for none.")


class AgainstRandom(OnGraph, Run):
    """A graph over its nodes, and over random nodes of equal sizes."""

    method: Literal["against-random"] = Field(..., description="Method: the graph over random nodes of equal sizes.")
    sites: Words | None = Field(
        None, description="Where nodes are random: sites or patterns; all with several nodes if not given."
    )
    sizes: Fractions = Field(FRACTIONS, description="Fractions of the edges to keep.")  # type: ignore[valid-type]
    metrics: Annotated[list[MetricName], Field(min_length=1)] = Field(
        ["logit_difference"], description="What to measure."
    )
    examples: Literal["held-out", "all", "chosen"] = Field(
        "held-out", description="Which are run: held-out from the graph's scores (all, if none were), all, or chosen."
    )
    n_random: Count = Field(19, description="Random partitions, each with a graph and circuits of its own; 0 for none.")
    n_bootstrap: Count = Field(1000, description="Resamples of the examples for the interval.")


class Separability(OnGraph):
    """Whether tasks (of images: classes) use different blocks."""

    method: Literal["separability"] = Field(..., description="Method: the share of each block's attribution by task.")
    buffer: Attributed | None = Field(
        None, description="What it reads: attributions.<name>, an entry of that section; it must be given."
    )
    blocks: BlockChoice | None = Field(
        None, description="Blocks of the graph: sbm.<name> or communities.<name>; every node by itself if not given."
    )
    sign: Literal["abs", "support", "against"] = Field(
        "abs", description="Which attributions count: all by size (abs), what supports, or what works against."
    )
    weigh: Literal["examples", "attribution"] = Field(
        "examples", description="What counts alike: examples, or attribution."
    )
    n_permutations: Count = Field(999, description="Shuffles of the tasks; 0 for no null.")
    seed: Seed = Field(0, description="Seed of the shuffles.")


class BlockAblation(OnGraph, Run):
    """What every task loses without the blocks of each task, and keeps with them alone."""

    method: Literal["block-ablation"] = Field(..., description="Method: blocks of one task removed, or alone kept.")
    buffer: Attributed | None = Field(
        None, description="What it reads: attributions.<name>, an entry of that section; it must be given."
    )
    blocks: BlockChoice | None = Field(
        None, description="Blocks of the graph: sbm.<name> or communities.<name>; every node by itself if not given."
    )
    sign: Literal["abs", "support", "against"] = Field(
        "support", description="Which attributions say whom a block serves: abs, support, or against."
    )
    least: Share = Field(0.0, description="Share of a block's attribution from which it serves a task.")
    metrics: Annotated[list[MetricName], Field(min_length=1)] = Field(["accuracy"], description="What to measure.")
    among: Literal["kind", "site", "all"] = Field(
        "kind", description="Nodes that change roles under the null: those of one kind of site, of one site, or all."
    )
    n_null: Count = Field(99, description="Random choices of as many nodes; 0 for no null.")
    n_bootstrap: Count = Field(1000, description="Resamples of the examples for the interval.")


class ClassAblation(DataEntry, Run):
    """Accuracy with a growing share of the regions removed, or alone kept."""

    method: Literal["class-ablation"] = Field(..., description="Method: regions removed, or alone kept.")
    buffer: Attributed | None = Field(
        None, description="What it reads: attributions.<name>, an entry of that section; it must be given."
    )
    partitions: PartitionWords | None = Field(  # type: ignore[valid-type]
        None, description="Regions, a line each: rois.<name>, or sbm.<name>@<graph>, communities.<name>@<graph>."
    )
    shares: listing(Share) = Field(  # type: ignore[valid-type]
        [0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], description="Shares of the regions."
    )
    order: Literal["input", "class"] = Field("input", description="Whose attribution sorts regions: input or class.")
    rank: Literal["support", "abs"] = Field("support", description="First comes what supports most, or is largest.")
    baseline: Annotated[str, one_of(OF_UNITS, "baseline")] = Field(
        "zero", description="What a removed node carries instead."
    )
    n_random: Count = Field(5, description="Random partitions of equal sizes; 0 for none.")
    n_bootstrap: Count = Field(1000, description="Resamples of the examples for the interval.")


class RegionAblation(DataEntry, Run):
    """What every class or task loses without the regions of each, for several divisions."""

    method: Literal["region-ablation"] = Field(..., description="Method: regions of one class removed, or alone kept.")
    buffer: Attributed | None = Field(
        None, description="What it reads: attributions.<name>, an entry of that section; it must be given."
    )
    partitions: PartitionWords | None = Field(  # type: ignore[valid-type]
        None, description="Regions, a line each: rois.<name>, or sbm.<name>@<graph>, communities.<name>@<graph>."
    )
    held_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.5, description="Share of the examples that are ablated; the others say whom regions serve. 0: all are both."
    )
    sign: Literal["abs", "support", "against"] = Field(
        "support", description="Which attributions say whom a region serves: abs, support, or against."
    )
    least: Share = Field(0.0, description="Share of a region's attribution from which it serves a class.")
    metrics: Annotated[list[MetricName], Field(min_length=1)] = Field(["accuracy"], description="What to measure.")
    among: Literal["kind", "site", "all"] = Field(
        "site", description="Regions that change roles under the null: those of one kind of site, of one site, or all."
    )
    baseline: Annotated[str, one_of(OF_UNITS, "baseline")] = Field(
        "zero", description="What a removed region carries instead."
    )
    n_null: Count = Field(99, description="Random choices of as many regions; 0 for no null.")
    n_bootstrap: Count = Field(1000, description="Resamples of the examples for the interval.")


METHODS: dict[str, type[Section]] = {
    "circuit-tests": CircuitTests,
    "minimality": Minimality,
    "knock-out": KnockOut,
    "stability": Stability,
    "reproducibility": Reproducibility,
    "against-random": AgainstRandom,
    "separability": Separability,
    "block-ablation": BlockAblation,
    "class-ablation": ClassAblation,
    "region-ablation": RegionAblation,
}
Tests = union(METHODS, method_tag())
