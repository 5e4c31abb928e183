"""Stochastic block models of weighted graphs, by several engines under one face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from compgraph.communities.agreement import Labels, mean_agreement
from compgraph.communities.block_model import BlockModel
from compgraph.communities.blocks.choose import APART, Found, find_blocks
from compgraph.communities.blocks.engine import Fit
from compgraph.communities.blocks.problem import Graphs, Problem, describe
from compgraph.communities.blocks.question import ANY, Question
from compgraph.communities.blocks.tables import (
    blocks_table,
    memberships_table,
    models_table,
    parts_table,
    runs_table,
)
from compgraph.communities.sbm_engines import chosen_engine, judge


def fit_sbm(
    graph: Graphs,
    *,
    nested: bool | str = True,
    weights: str | Sequence[str] | None = "real-normal",
    degree_corrected: bool | None = None,
    n_runs: int = 3,
    seed: int = 0,
    standardise: bool | str = True,
    constraint: str = "auto",
    layers: str = "none",
    structure: str = ANY,
    n_blocks: int | None = None,
    odds: float = 100.0,
    effort: int = 1,
    engine: str = "auto",
    moves: str = "greedy",
) -> BlockModel:
    """Partition a graph's nodes into blocks that describe it shortest.

    The description length is the one graph-tool computes (Peixoto, Phys. Rev. E 95, 012317; weights:
    Phys. Rev. E 97, 012306), so that fits can be compared. Weights are summed over channels to one per
    pair of nodes, each pair counts once.

    Parameters
    ----------
    graph
        Any graph: a `ComputationalGraph`, a networkx or igraph graph, or a square array; or several, by name or
        in a row, as layers of one (multiplex): all have the same blocks, and each edge counts, weights and
        degrees of its own. Nodes are matched by name.
    nested
        True: fit flat and nested models and keep the shorter description, so that a hierarchy has to pay for
        itself; False: flat only; "always": the nested model whatever it costs.
    weights
        `real-normal`, `real-exponential` (weights >= 0), `discrete-geometric`, `discrete-poisson`,
        `discrete-binomial` (whole weights >= 0, as they are), or None for the presence of edges alone. With "sign"
        beside it, `["real-normal", "sign"]`, it explains |w|, and whether w > 0 is a second weight.
    degree_corrected
        None: try both and keep the shorter description. Without meaning, and refused, for weights of layered graphs.
    n_runs
        Runs from different seeds; the shortest description is kept, the spread is reported.
    seed
        The same seed gives the same result.
    standardise
        True: weights to mean 0 and deviation 1 (`real-exponential`: to mean 1), so that their unit does not
        matter. "scores": to normal scores of their ranks, so that a heavy tail does not either. False: as
        they are, for data whose unit means something to graph-tool's priors.
    constraint
        `layers`: edges are where the architecture puts them. Of weights that is normal scores of
        what log |w| holds beyond effects of source and target (robust two-way fit); pairs of weight zero
        are left out. Without weights it is which allowed pairs have an edge beyond degrees (`blocks.masked`).
        `levels`: the same, and all nodes of a block are of one level. `none`: presence and signed weights are
        explained; on a layered graph this finds depth. `bipartite`: the same, and blocks keep to one side of a graph
        with two sides. `auto`: `layers` for directed graphs with an architecture, else `none`.
    layers
        `channels`: the channels of one graph (q, k, v, and direct reads) are layers; `none`: they are added up.
    structure
        `any`: the general model. `assortative`, `core-periphery`, `ordered`, `overlapping`: that model alone, of the
        presence of edges.
        `select`: all of these that serve the graph, and the shortest description is kept.
    n_blocks
        Fit exactly this many blocks (flat; `odds` is not asked).
    odds
        More than one block only if it is at least so many times more probable than one (exp of the
        nats saved). On small graphs some partition nearly always saves a little: of structureless layered
        graphs with 12 nodes, more than half had one that was shorter than one block, one in twenty by a
        factor of 100; with 30 nodes one in eight, and one in a hundred at most. 1 keeps the shortest
        description however little it saves. Several layers must save that much each, on average.
    effort
        Multiplies sweeps and informed starts.
    engine
        `dense`: a search of closed form on matrices, whose best partition graph-tool refines; without graph-tool
        it serves flat models by itself. `graph-tool`: graph-tool's moves from informed starts. `auto`: dense
        where every pair of nodes has an edge, or where graph-tool is missing. Presence among allowed pairs is searched
        in closed form always. Which one it was is in `parameters["engine"]`, and who computed the description length
        in `parameters["judge"]`.
    moves
        Of the dense engine. `greedy`: nodes move where that gains. `annealed`: from the best partition found so, a
        fifth of the nodes at a time draw their blocks at a temperature that falls geometrically in 60 rounds, from the
        mean size of what a node's best move changes to 0.1 nats; the result is kept if it is shorter.

    Raises
    ------
    MissingDependency
        If graph-tool is needed and not installed: for nested models, loops, several layers or weights, structures, and
        above 10,000 nodes.
    GraphError
        If the graph cannot be described in the way asked for.
    """
    question = Question(
        nested=nested,
        degree_corrected=degree_corrected,
        n_runs=n_runs,
        seed=seed,
        n_blocks=n_blocks,
        odds=odds,
        effort=effort,
        engine=engine,
        moves=moves,
        structure=structure,
    )
    problem = describe(graph, weights=weights, standardise=standardise, constraint=constraint, layers=layers)
    question.check(problem)
    parameters = {"standardise": standardise, "layers": layers, **_parameters(problem, question)}
    if len(problem.layers) > 1:
        parameters["constraint"] = constraint  # what it comes to may differ between layers
    if len(problem.nodes) == 0 or not _varies(problem):
        return _nothing(problem, parameters)
    found = find_blocks(problem, question)
    return _model(problem, found, parameters, [*_too_weak(found, odds), *_better_apart(found)])


def _parameters(problem: Problem, question: Question) -> dict[str, Any]:
    """Everything that decides a result, JSON-able."""
    seen, engine = problem.first, chosen_engine(question.engine, problem, question.nested)
    return {
        "nested": question.nested,
        "weights": seen.weights if seen.sign is None else [seen.weights, "sign"],
        "degree_corrected": question.degree_corrected,
        "n_runs": question.n_runs,
        "seed": question.seed,
        "constraint": seen.constraint,
        "layer_names": [name for name, _ in problem.layers if name],
        "structure": question.structure,
        "n_blocks": question.n_blocks,
        "odds": question.odds,
        "effort": question.effort,
        "engine": engine,
        "moves": question.moves,
        "judge": judge(engine),
        "transform": seen.transform if len(problem.layers) == 1 else {n: one.transform for n, one in problem.layers},
        "pairs": problem.n_pairs,
    }


def _varies(problem: Problem) -> bool:
    """Whether there is something to explain."""
    if problem.first.masked:
        return problem.n_pairs > 0
    return problem.topology or any(seen.value is not None and bool(seen.value.any()) for _, seen in problem.layers)


def _model(problem: Problem, found: Found, parameters: dict[str, Any], notes: list[str]) -> BlockModel:
    levels = tuple(problem.on_all_nodes(labels) for labels in found.best.levels)
    return BlockModel(
        levels=levels,
        description_length=found.best.length,
        description_length_one_block=found.one.length,
        description_length_configuration=found.configuration.length,
        nested=found.best.nested,
        degree_corrected=found.best.degree_corrected,
        structure=found.structure,
        parameters=parameters,
        runs=runs_table(found),
        models=models_table(found),
        parts=parts_table(found, problem.n_pairs),
        memberships=memberships_table(found, problem),
        agreement=mean_agreement([fit.levels[0] for fit in found.kept]),
        blocks=blocks_table(problem, levels),
        names=problem.names,
        sites=problem.sites,
        directed=problem.directed,
        notes=(*problem.notes, *notes),
    )


def _too_weak(found: Found, odds: float) -> list[str]:
    """What the odds that were asked for kept from being more than one block."""
    if found.structure != ANY:
        return []
    shortest = min(found.runs, key=lambda fit: fit.length)
    if found.best.n_blocks > found.one.n_blocks or shortest.n_blocks <= found.one.n_blocks:
        return []
    each = " in each layer" if found.n_layers > 1 else ""
    return [
        f"{shortest.n_blocks} blocks would save {found.one.length - shortest.length:.1f} nats, which is less "
        f"than the odds of {odds:g} that were asked for{each}"
    ]


def _better_apart(found: Found) -> list[str]:
    """Whether layers have too little in common to share their blocks."""
    saved = [found.best.length - one.fit.length for one in found.rivals if one.model == APART and one.fit]
    return [f"blocks of its own for every layer would save {nats:.1f} nats" for nats in saved if nats > 0]


def _nothing(problem: Problem, parameters: dict[str, Any]) -> BlockModel:
    """The result where no pair says anything: all nodes in one block, and a note."""
    labels: Labels = np.zeros(len(problem.names), np.int32)
    whole = Fit((labels,), 0.0, False, False, "one block")
    found = Found(whole, whole, whole, runs=[], kept=[], rivals=[], parts={})
    note = "no pair of nodes holds evidence about blocks, so all nodes are in one"
    return _model(replace(problem, nodes=np.arange(len(problem.names))), found, parameters, [note])
