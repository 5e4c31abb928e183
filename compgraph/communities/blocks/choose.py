"""Fits of every model that was asked for, and which of them is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.blocks.engine import Fit, Run
from compgraph.communities.blocks.library import reproducible
from compgraph.communities.blocks.problem import Problem
from compgraph.communities.blocks.question import ANY, SELECT, Question
from compgraph.communities.blocks.states import WHOLE, States
from compgraph.communities.blocks.structures import STRUCTURES, Structured
from compgraph.communities.optimise import run_seeds
from compgraph.communities.sbm_engines import CLOSED_FORM, MASKED, chosen_engine, judge, make_engine
from compgraph.communities.sbm_weights import without_values

APART = "layers apart"
"""The model in which every layer has blocks of its own."""


@dataclass(frozen=True)
class Rival:
    """A model beside the one that is kept.

    Attributes
    ----------
    model
        Its name.
    weighted
        Whether its blocks explain weights.
    fit
        Its shortest fit, or None where it does not serve the graph.
    reason
        Why it does not.
    """

    model: str
    weighted: bool
    fit: Fit | None
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes
    ----------
    best
        The fit that is kept.
    one, configuration
        All nodes in one block: of the better model, and of the degree-corrected one, which is the configuration
        model; under a constraint that keeps nodes apart, one block for each kind.
    runs
        The fit of each run of the general model.
    kept
        The same, or one block where a run's fit is not worth it.
    rivals
        All models, by their shortest fits.
    parts
        Description length of `best` by what is told, nats.
    memberships
        Shares of overlapping blocks, of the nodes that are described, float64 [n, K], or None.
    structure
        Which model is kept: `any`, or the name of a structure.
    engine
        Who searched.
    n_layers
        Number of layers that share the blocks.
    """

    best: Fit
    one: Fit
    configuration: Fit
    runs: list[Fit]
    kept: list[Fit]
    rivals: list[Rival]
    parts: dict[str, float]
    memberships: np.ndarray | None = field(default=None)
    structure: str = ANY
    engine: str = ""
    n_layers: int = 1


def find_blocks(problem: Problem, question: Question) -> Found:
    """Search for the blocks of shortest description."""
    found = _searched(problem, question)
    # The engine is gone by now: its state of a large graph and that of the parts would be the peak of memory.
    return found if found.parts else replace(found, parts=_parts(problem, found))


def _searched(problem: Problem, question: Question) -> Found:
    engine = chosen_engine(question.engine, problem, question.nested)
    made, task = make_engine(engine, problem, question.effort, question.moves), question.task(problem)
    runs = made.runs(task)
    whole = [made.one_block(choice) for choice in task.choices]
    one = min(whole, key=lambda fit: fit.length)
    fits = [run.best(task.nested) for run in runs]
    bar = len(problem.layers) * math.log(question.odds)
    kept = [fit if task.n_blocks or worth(fit, one, bar) else one for fit in fits]
    best = min(kept, key=lambda fit: (fit.length, fit.n_blocks))
    rivals = [Rival("one block", bool(problem.observed.covariates), fit) for fit in whole]
    rivals += _shortest(runs, bool(problem.observed.covariates))
    rivals += _unweighted(problem, question, whole) + _apart(problem, question)
    corrected = made.one_block(True) if problem.topology or problem.first.masked else one
    found = Found(best, one, corrected, fits, kept, rivals, {}, engine=engine, n_layers=len(problem.layers))
    if question.structure != ANY:
        found = _structured(problem, question, found)
    return found


def worth(fit: Fit, one: Fit, bar: float) -> bool:
    """Whether a partition saves so many nats over one block, or is a trivial hierarchy that was asked for.

    The bar is the logarithm of the odds for every layer: going from one block to two, even to two random ones, makes
    graph-tool's description of independent normal weights about 3 nats shorter, in each layer anew.
    """
    trivial = fit.n_blocks <= one.n_blocks
    return (trivial and fit.nested) or (not trivial and one.length - fit.length >= bar)


def _shortest(runs: list[Run], weighted: bool) -> list[Rival]:
    """The shortest fit of each general model."""
    shortest: dict[tuple[bool, bool], Fit] = {}
    for fit in (fit for run in runs for fit in run.fits):
        model = (fit.nested, fit.degree_corrected)
        if model not in shortest or fit.length < shortest[model].length:
            shortest[model] = fit
    return [Rival("nested" if fit.nested else "flat", weighted, fit) for fit in shortest.values()]


def _unweighted(problem: Problem, question: Question, whole: list[Fit]) -> list[Rival]:
    """The model in which blocks explain the presence of edges, and one law all weights, by degree correction.

    The weights then cost what they cost in one block. Where every pair has an edge, or the architecture
    decides which have, presence has no blocks, and one block is that model already.
    """
    if not problem.observed.covariates or not problem.topology or problem.complete or question.n_blocks is not None:
        return []
    bare = replace(problem, layers=tuple((name, without_values(seen)) for name, seen in problem.layers))
    engine = chosen_engine(question.engine, bare, question.nested)
    made = make_engine(engine, bare, question.effort, question.moves)
    found = made.runs(replace(question.task(problem), nested=False, n_runs=1))[0].flat
    fits = []
    for one in whole:
        choice = one.degree_corrected
        values = one.length - made.one_block(choice).length
        fits.append(replace(found[choice], length=found[choice].length + values))
    return [Rival("flat", False, fit) for fit in fits]


def _apart(problem: Problem, question: Question) -> list[Rival]:
    """Each layer with a partition of its own: the sum of their descriptions, and all blocks together."""
    if len(problem.layers) == 1 or question.n_blocks is not None:
        return []
    fits = []
    for name, seen in problem.layers:
        nodes = problem.nodes if problem.topology else np.unique(np.concatenate([seen.source, seen.target]))
        alone = replace(problem, layers=((name, seen),), nodes=nodes)
        found = find_blocks(alone, replace(question, nested=False, n_runs=1, structure=ANY))
        fits.append(found.best)
    # One label for each node in each layer, so that blocks can be counted.
    offset = np.cumsum([0, *(fit.n_blocks for fit in fits[:-1])])
    labels = np.concatenate([fit.levels[0] + shift for fit, shift in zip(fits, offset, strict=True)])
    length = sum(fit.length for fit in fits)
    together = Fit((labels.astype(np.int32),), length, False, all(fit.degree_corrected for fit in fits), APART)
    return [Rival(APART, bool(problem.observed.covariates), together)]


def _structured(problem: Problem, question: Question, general: Found) -> Found:
    """With models of one structure as rivals; the shortest that was asked for is kept."""
    asked = list(STRUCTURES) if question.structure == SELECT else [question.structure]
    reasons = {name: STRUCTURES[name].refusal(problem) for name in asked}
    fits = {
        name: _of_structure(name, problem, question, general.runs) for name, reason in reasons.items() if not reason
    }
    rivals = [Rival(name, False, fits[name].fit if name in fits else None, reasons[name] or "") for name in asked]
    rivals = general.rivals + rivals
    worthy = {name: one for name, one in fits.items() if worth(one.fit, general.one, math.log(question.odds))}
    name = min(worthy, key=lambda name: worthy[name].fit.length, default=None)
    if question.structure != SELECT and name is None:
        return replace(general, best=general.one, rivals=rivals, structure=question.structure)
    if name is None or (question.structure == SELECT and worthy[name].fit.length >= general.best.length):
        return replace(general, rivals=rivals)
    chosen = worthy[name]
    return replace(
        general,
        best=chosen.fit,
        rivals=rivals,
        parts=chosen.parts,
        memberships=chosen.memberships,
        structure=name,
    )


def _of_structure(name: str, problem: Problem, question: Question, runs: Sequence[Fit]) -> Structured:
    """The shortest fit of a structure, from the general fits and one block, over all seeds."""
    made = STRUCTURES[name](States(problem.observed), question.effort)
    starts: dict[bytes, Labels] = {fit.levels[0].tobytes(): fit.levels[0] for fit in runs}
    whole = np.zeros(len(problem.nodes), np.int32)
    starts.setdefault(whole.tobytes(), whole)
    found = []
    for seed in run_seeds(question.seed, question.n_runs):
        with reproducible(seed):
            found.append(made.fits(list(starts.values()))[0])
    return min(found, key=lambda one: (one.fit.length, one.fit.n_blocks))


def _parts(problem: Problem, found: Found) -> dict[str, float]:
    """The description length of the general model that is kept by what is told, nats."""
    best = found.best
    if found.engine == MASKED:
        return problem.masked.parts(best.levels[0])
    if judge(found.engine) == CLOSED_FORM:
        return {WHOLE: best.length}
    return States(problem.observed).parts(best.levels, best.degree_corrected, best.nested)
