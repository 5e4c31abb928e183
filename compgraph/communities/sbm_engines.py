"""The searches for a block model under one face: graph-tool's, and closed ones that need no graph-tool."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.blocks.engine import ALWAYS, Engine, Fit, Run, Task
from compgraph.communities.blocks.library import INSTALL, reproducible
from compgraph.communities.blocks.masked_search import MaskedEngine
from compgraph.communities.blocks.observed import Observed
from compgraph.communities.blocks.problem import Problem
from compgraph.communities.dense.annealing import GREEDY
from compgraph.communities.dense.graph import DenseGraph
from compgraph.communities.dense.search import DenseSearch
from compgraph.communities.sbm_search import Search
from compgraph.errors import GraphError, MissingDependency
from compgraph.provenance import graph_tool_version

ENGINES = ("auto", "dense", "graph-tool")

MASKED = "masked"
"""The engine of presence among allowed pairs, which is none of graph-tool's models."""

MOST_DENSE = 10_000
"""Nodes up to which a graph is held as matrices (float32: 0.4 GB each)."""

MOST_MASKED = 3_000
"""Nodes up to which the masked engine holds matrices (float64, several)."""

CLOSED_FORM = "closed form"


class GraphToolEngine:
    """graph-tool, from informed starts."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def one_block(self, degree_corrected: bool) -> Fit:
        """All nodes in one block."""
        return self._search.one_block(degree_corrected)

    def runs(self, task: Task) -> list[Run]:
        """One run a seed."""
        found = []
        for seed in task.seeds:
            with reproducible(seed):
                found.append(self._run(task, seed))
        return found

    def _run(self, task: Task, seed: int) -> Run:
        if task.n_blocks is not None:
            return Run({choice: self._search.fixed(choice, seed, task.n_blocks)[0] for choice in task.choices})
        fits = {choice: self._search.flat(choice, seed) for choice in task.choices}
        flat = {choice: found[0] for choice, found in fits.items()}
        if task.nested is False:
            return Run(flat)
        # The degree correction is chosen on the flat fits; the nested ones start from their best partitions.
        starts = min(fits.values(), key=lambda found: found[0].length)
        return Run(flat, self._search.nested(starts[:3])[0])


class DenseEngine:
    """Closed-form searches; graph-tool, where it is there, refines the best one and is the judge.

    Parameters
    ----------
    graph
        The graph.
    judge
        graph-tool on the same graph, made when it is first needed; None: it is not installed, and the closed form's
        own lengths are reported, of flat models.
    effort
        Multiplies rounds.
    moves
        See `DenseSearch`.
    """

    def __init__(
        self, graph: DenseGraph, judge: Callable[[], Search] | None, effort: int, moves: str = GREEDY
    ) -> None:
        self._graph, self._make_judge, self._effort, self._moves = graph, judge, effort, moves
        self._judge: Search | None = None
        self._searches: dict[bool, DenseSearch] = {}
        self._judgements: dict[tuple[bool, bytes], float] = {}

    def one_block(self, degree_corrected: bool) -> Fit:
        """All nodes in one block."""
        search = self._search(degree_corrected)
        return self._as_judged(
            _one_block(self._graph.n_nodes, lambda labels, _: search.length(labels), degree_corrected)
        )

    def runs(self, task: Task) -> list[Run]:
        """One run a seed; the shortest is refined by graph-tool. To be called once: it lets the matrices go."""
        found = [Run(flat) for flat in self._flat(task)]
        self._graph = self._graph.without_matrices()
        self._searches.clear()
        if self._make_judge is None:
            return found
        at = min(range(len(found)), key=lambda run: found[run].best(False).length)
        with reproducible(task.seeds[0]):
            found[at] = self._refined(found[at], task)
        for fit in found[at].flat.values():
            self._judgements[fit.degree_corrected, fit.levels[0].tobytes()] = fit.length
        return [replace(run, flat={choice: self._as_judged(fit) for choice, fit in run.flat.items()}) for run in found]

    def _flat(self, task: Task) -> list[dict[bool, Fit]]:
        """Fits of each run by degree correction.

        Where every pair has an edge, degrees say little: one search, and the other model from its partitions.
        """
        runs: list[dict[bool, Fit]] = [{} for _ in task.seeds]
        first = task.choices[0]
        for choice in task.choices:
            search = self._search(choice)
            if choice != first and self._graph.present is None and task.n_blocks is None:
                results = [
                    search.polished(run[first].levels[0], seed) for run, seed in zip(runs, task.seeds, strict=True)
                ]
            else:
                results = search.runs(task.seeds, task.n_blocks)
            for run, found in zip(runs, results, strict=True):
                run[choice] = Fit((found.labels,), found.length, False, choice, "dense")
        if task.n_blocks is None:
            for run in runs:
                self._exchange(run)
        return runs

    def _exchange(self, run: dict[bool, Fit]) -> None:
        """Start each model from the partition of the other too."""
        for choice, fit in list(run.items()):
            other = run.get(not choice)
            if other is None or np.array_equal(other.levels[0], fit.levels[0]):
                continue
            found = self._search(choice).polished(other.levels[0])
            if found.length < fit.length:
                run[choice] = Fit((found.labels,), found.length, False, choice, "dense")

    def _refined(self, run: Run, task: Task) -> Run:
        """With its shortest fit refined: only that one, for graph-tool's state of each model is large."""
        judge = self._judged()
        shortest = min(run.flat.values(), key=lambda fit: fit.length)
        refined = judge.refined(shortest, task.n_blocks is not None)
        flat = run.flat | {refined.degree_corrected: refined}
        if task.nested is False or task.n_blocks is not None:
            return Run(flat)
        return Run(flat, judge.nested([refined])[0])

    def _search(self, degree_corrected: bool) -> DenseSearch:
        if degree_corrected not in self._searches:
            self._searches[degree_corrected] = DenseSearch(self._graph, degree_corrected, self._effort, self._moves)
        return self._searches[degree_corrected]

    def _as_judged(self, fit: Fit) -> Fit:
        """With graph-tool's length where it has judged that partition, so that equal fits are equal to the last bit."""
        known = self._judgements.get((fit.degree_corrected, fit.levels[0].tobytes()))
        return fit if known is None else replace(fit, length=known)

    def _judged(self) -> Search:
        if self._judge is None:
            assert self._make_judge is not None
            self._judge = self._make_judge()
        return self._judge


def has_graph_tool() -> bool:
    """Whether graph-tool is installed."""
    return importlib.util.find_spec("graph_tool") is not None


def judge(engine: str) -> str:
    """Who computes the description lengths that are reported."""
    if engine == MASKED or not has_graph_tool():
        return CLOSED_FORM
    return f"graph-tool {graph_tool_version()}"


def chosen_engine(engine: str, problem: Problem, nested: bool | str) -> str:
    """`dense`, `graph-tool`, or `masked` where presence among allowed pairs is explained.

    Parameters
    ----------
    engine
        `auto`: dense where every pair of nodes has an edge, or graph-tool is missing and the graph fits.
    problem
        What is explained.
    nested
        As in `fit_sbm`.

    Raises
    ------
    MissingDependency
        If graph-tool is needed and not installed.
    GraphError
        If the engine that was asked for does not serve this graph.
    """
    if problem.first.masked:
        return _masked(engine, problem, nested)
    obstacle = _obstacle(problem)
    if not has_graph_tool():
        if engine == "graph-tool" or (engine == "auto" and obstacle):
            raise MissingDependency(INSTALL)
        if nested is not False:
            raise MissingDependency(f"{INSTALL}. Without it the dense engine fits flat models: nested=False")
    if engine == "dense" and obstacle:
        raise GraphError(f"sbm: the dense engine does not serve this graph: {obstacle}; use engine='graph-tool'")
    if engine != "auto":
        return engine
    return "dense" if (problem.complete and not obstacle) or not has_graph_tool() else "graph-tool"


def _masked(engine: str, problem: Problem, nested: bool | str) -> str:
    if engine != "auto":
        raise GraphError(
            f"sbm: presence among allowed pairs is searched in closed form, not by engine {engine!r}; use 'auto'"
        )
    if nested == ALWAYS:
        raise GraphError("sbm: presence among allowed pairs has flat models only; use nested=False or weights")
    if len(problem.nodes) > MOST_MASKED:
        raise GraphError(
            f"sbm: presence among allowed pairs is for at most {MOST_MASKED} nodes, not {len(problem.nodes)}"
        )
    return MASKED


def _obstacle(problem: Problem) -> str | None:
    seen = problem.observed
    if len(problem.nodes) > MOST_DENSE:
        return f"{len(problem.nodes)} nodes are more than its {MOST_DENSE}"
    if problem.loops:
        return f"{problem.loops} pairs join a node with itself"
    if seen.layer is not None:
        return f"it has {len(problem.layers)} layers"
    if seen.kinds is not None:
        return f"blocks are kept apart by the constraint {problem.first.constraint!r}"
    return "each pair has several weights" if len(seen.covariates) > 1 else None


def make_engine(engine: str, problem: Problem, effort: int, moves: str = GREEDY) -> Engine:
    """The engine of a name for a problem."""
    if engine == MASKED:
        return MaskedEngine(problem.masked, effort)
    seen = problem.observed
    if engine == "graph-tool":
        return GraphToolEngine(Search(seen, effort))
    judge = (lambda: Search(seen, effort)) if has_graph_tool() else None
    return DenseEngine(_dense(seen), judge, effort, moves)


def _dense(seen: Observed) -> DenseGraph:
    model = seen.covariates[0].model if seen.covariates else None
    return DenseGraph.of(
        seen.n_nodes, seen.source, seen.target, seen.leading, model, directed=seen.directed, topology=seen.topology
    )


def _one_block(n_nodes: int, length: Callable[[Labels, bool], float], degree_corrected: bool) -> Fit:
    labels = np.zeros(n_nodes, np.int32)
    return Fit((labels,), length(labels, degree_corrected), False, degree_corrected, "one block")
