"""Stochastic block models of weighted graphs, by two engines under one face."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.communities.agreement import adjusted_rand, mean_agreement
from compgraph.communities.block_model import MODEL_COLUMNS, RUN_COLUMNS, BlockModel, Labels
from compgraph.communities.pairs import Integers
from compgraph.communities.sbm_engines import ALWAYS, ENGINES, Engine, Run, Task, chosen_engine, judge, make_engine
from compgraph.communities.sbm_search import Fit
from compgraph.communities.sbm_weights import Evidence, evidence, without_values
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

if TYPE_CHECKING:
    import pandas as pd


def fit_sbm(
    graph: ComputationalGraph,
    *,
    nested: bool | str = True,
    weights: str | None = "real-normal",
    degree_corrected: bool | None = None,
    n_runs: int = 3,
    seed: int = 0,
    standardise: bool | str = True,
    constraint: str = "auto",
    n_blocks: int | None = None,
    odds: float = 100.0,
    effort: int = 1,
    engine: str = "auto",
) -> BlockModel:
    """Partition a graph's nodes into blocks that describe it shortest.

    The description length is the one graph-tool computes (Peixoto, Phys. Rev. E 95, 012317; weights:
    Phys. Rev. E 97, 012306), so that fits can be compared. Weights are summed over channels to one per
    pair of nodes, each pair counts once.

    Parameters
    ----------
    graph
        Any graph.
    nested
        True: fit flat and nested models and keep the shorter description, so that a hierarchy has to pay for
        itself; False: flat only; "always": the nested model whatever it costs.
    weights
        `real-normal`, `real-exponential` (weights >= 0), `discrete-geometric`, `discrete-poisson`,
        `discrete-binomial` (whole weights >= 0, as they are), or None for the presence of edges alone.
    degree_corrected
        None: try both and keep the shorter description. Without meaning, and refused, on layered graphs.
    n_runs
        Runs from different seeds; the shortest description is kept, the spread is reported.
    seed
        The same seed gives the same result.
    standardise
        True: weights to mean 0 and deviation 1 (`real-exponential`: to mean 1), so that their unit does not
        matter. "scores": to normal scores of their ranks, so that a heavy tail does not either. False: as
        they are, for data whose unit means something to graph-tool's priors.
    constraint
        `layers`: edges are where the architecture puts them, and only weights are explained: normal scores of
        what log |w| holds beyond effects of source and target (robust two-way fit). Pairs of weight zero
        are left out. `none`: presence and signed weights are explained; on a layered graph this finds depth.
        `auto`: `layers` for directed graphs with an architecture, else `none`.
    n_blocks
        Fit exactly this many blocks (flat; `odds` is not asked).
    odds
        More than one block only if it is at least so many times more probable than one (exp of the
        nats saved). On small graphs some partition nearly always saves a little: of structureless layered
        graphs with 12 nodes, more than half had one that was shorter than one block, one in twenty by a
        factor of 100; with 30 nodes one in eight, and one in a hundred at most. 1 keeps the shortest
        description however little it saves.
    effort
        Multiplies sweeps and informed starts.
    engine
        `dense`: a search of closed form on matrices, whose best partition graph-tool refines; without graph-tool
        it serves flat models by itself. `graph-tool`: graph-tool's moves from informed starts. `auto`: dense
        where every pair of nodes has an edge, or where graph-tool is missing. Which one it was is in
        `parameters["engine"]`, and who computed the description length in `parameters["judge"]`.

    Raises
    ------
    MissingDependency
        If graph-tool is needed and not installed: for nested models, for loops, and above 10,000 nodes.
    GraphError
        If the graph cannot be described in the way asked for.
    """
    _check(nested, degree_corrected, n_runs, n_blocks, odds, effort, engine)
    seen = evidence(graph, weights, standardise, constraint)
    if seen.constraint == "layers" and degree_corrected:
        raise GraphError(
            "sbm: degree correction is about which edges exist, and the architecture decides that on a layered "
            "graph; use degree_corrected=None, or constraint='none'"
        )
    nodes = _described_nodes(graph.n_nodes, seen)
    parameters: dict[str, Any] = {
        "nested": nested,
        "weights": seen.weights,
        "degree_corrected": degree_corrected,
        "n_runs": n_runs,
        "seed": seed,
        "standardise": standardise,
        "constraint": seen.constraint,
        "n_blocks": n_blocks,
        "odds": odds,
        "effort": effort,
        "engine": chosen_engine(engine, seen, len(nodes), nested),
        "judge": judge(),
        "transform": seen.transform,
        "pairs": len(seen.used),
    }
    if len(nodes) == 0 or (seen.constraint == "layers" and not _varies(seen)):
        return _nothing(graph, seen, parameters)
    if n_blocks is not None and n_blocks > len(nodes):
        raise GraphError(f"sbm: {n_blocks} blocks were asked for, but only {len(nodes)} nodes have edges to tell")
    choices = (False, True) if degree_corrected is None else (degree_corrected,)
    if seen.constraint == "layers":
        choices = (False,)
    made = _engine(graph, seen, nodes, parameters)
    task = Task(choices, nested, n_blocks, n_runs, seed)
    runs = made.runs(task)
    whole = [made.one_block(choice) for choice in choices]
    one = min(whole, key=lambda fit: fit.length)
    fits = [run.best(nested) for run in runs]
    kept = [fit if n_blocks or _worth(fit, one, odds) else one for fit in fits]
    best = min(kept, key=lambda fit: (fit.length, fit.n_blocks))
    levels = tuple(_on_all_nodes(labels, nodes, graph.n_nodes) for labels in best.levels)
    rivals = _unweighted(graph, seen, nodes, parameters, task, whole)
    return BlockModel(
        levels=levels,
        description_length=best.length,
        description_length_one_block=one.length,
        nested=best.nested,
        degree_corrected=best.degree_corrected,
        parameters=parameters,
        runs=_runs_table(fits, best),
        models=_models_table(best, whole, runs, rivals, seen.weights is not None),
        agreement=mean_agreement([fit.levels[0] for fit in kept]),
        blocks=_block_table(seen, levels),
        names=graph.node_names,
        sites=tuple(graph.node_columns["site"]),
        directed=graph.directed,
        notes=(*seen.notes, *_too_weak(best, fits, one, odds)),
    )


def _check(
    nested: bool | str,
    degree_corrected: bool | None,
    n_runs: int,
    n_blocks: int | None,
    odds: float,
    effort: int,
    engine: str,
) -> None:
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    if nested not in (True, False, ALWAYS):
        raise ValueError(f"nested must be True, False or {ALWAYS!r}, not {nested!r}")
    if degree_corrected not in (True, False, None):
        raise ValueError(f"degree_corrected must be True, False or None, not {degree_corrected!r}")
    if n_runs < 1 or effort < 1:
        raise ValueError(f"n_runs and effort must be at least 1, not {n_runs} and {effort}")
    if n_blocks is not None and n_blocks < 1:
        raise ValueError(f"n_blocks must be at least 1, not {n_blocks}")
    if not odds >= 1:
        raise ValueError(f"odds must be at least 1, not {odds}")


def _varies(seen: Evidence) -> bool:
    """Whether there is a value to explain."""
    return seen.value is not None and bool(seen.value.any())


def _described_nodes(n_nodes: int, seen: Evidence) -> Integers:
    """Nodes the model can tell something about: all where presence counts, else those with a used pair."""
    if seen.constraint == "none":
        return np.arange(n_nodes)
    nodes: Integers = np.unique(np.concatenate([seen.source, seen.target]))
    return nodes


def _engine(graph: ComputationalGraph, seen: Evidence, nodes: Integers, parameters: dict[str, Any]) -> Engine:
    number = np.full(graph.n_nodes, -1)
    number[nodes] = np.arange(len(nodes))
    arguments = {
        "source": number[seen.source],
        "target": number[seen.target],
        "value": seen.value,
        "rec_type": seen.weights,
        "directed": graph.directed,
        "topology": seen.constraint == "none",
        "levels": graph.node_columns["level"][nodes],
        "effort": parameters["effort"],
    }
    return make_engine(parameters["engine"], arguments, len(nodes))


def _unweighted(
    graph: ComputationalGraph,
    seen: Evidence,
    nodes: Integers,
    parameters: dict[str, Any],
    task: Task,
    whole: list[Fit],
) -> list[Fit]:
    """The model in which blocks explain the presence of edges, and one law all weights, by degree correction.

    The weights then cost what they cost in one block. Where every pair has an edge, or the architecture
    decides which have, presence has no blocks, and one block is that model already.
    """
    pairs = len(nodes) * (len(nodes) - 1) // (1 if graph.directed else 2)
    if seen.value is None or seen.constraint == "layers" or len(seen.used) >= pairs or task.n_blocks is not None:
        return []
    bare = without_values(seen)
    made = _engine(graph, bare, nodes, parameters)
    found = made.runs(replace(task, nested=False, n_runs=1))[0].flat
    fits = []
    for one in whole:
        choice = one.degree_corrected
        values = one.length - made.one_block(choice).length
        fits.append(replace(found[choice], length=found[choice].length + values))
    return fits


def _too_weak(best: Fit, fits: list[Fit], one: Fit, odds: float) -> list[str]:
    shortest = min(fits, key=lambda fit: fit.length)
    if best.n_blocks > 1 or shortest.n_blocks == 1:
        return []
    return [
        f"{shortest.n_blocks} blocks would save {one.length - shortest.length:.1f} nats, which is less "
        f"than the odds of {odds:g} that were asked for"
    ]


def _worth(fit: Fit, one: Fit, odds: float) -> bool:
    """Whether a partition is so much more probable than one block, or is a trivial hierarchy that was asked for."""
    return (fit.n_blocks == 1 and fit.nested) or (fit.n_blocks > 1 and one.length - fit.length >= math.log(odds))


def _on_all_nodes(labels: Labels, nodes: Integers, n_nodes: int) -> Labels:
    full = np.full(n_nodes, -1, np.int32)
    full[nodes] = labels
    return full


def _nothing(graph: ComputationalGraph, seen: Evidence, parameters: dict[str, Any]) -> BlockModel:
    """The result where no pair says anything: all nodes in one block, and a note."""
    import pandas as pd

    labels = np.zeros(graph.n_nodes, np.int32)
    note = "no pair of nodes holds evidence about blocks, so all nodes are in one"
    return BlockModel(
        levels=(labels,),
        description_length=0.0,
        description_length_one_block=0.0,
        nested=False,
        degree_corrected=False,
        parameters=parameters,
        runs=pd.DataFrame({name: [] for name in RUN_COLUMNS}),
        models=pd.DataFrame({name: [] for name in MODEL_COLUMNS}),
        agreement=math.nan,
        blocks=_block_table(seen, (labels,)),
        names=graph.node_names,
        sites=tuple(graph.node_columns["site"]),
        directed=graph.directed,
        notes=(*seen.notes, note),
    )


def _runs_table(fits: list[Fit], best: Fit) -> pd.DataFrame:
    import pandas as pd

    rows = [
        (
            run,
            fit.n_blocks,
            fit.length,
            fit.nested,
            fit.degree_corrected,
            fit.start,
            adjusted_rand(fit.levels[0], best.levels[0]),
        )
        for run, fit in enumerate(fits)
    ]
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def _models_table(best: Fit, whole: list[Fit], runs: list[Run], rivals: list[Fit], weighted: bool) -> pd.DataFrame:
    """The shortest fit of each model, and the log odds of the result against it."""
    import pandas as pd

    shortest: dict[tuple[bool, bool], Fit] = {}
    for fit in (fit for run in runs for fit in run.fits):
        model = (fit.nested, fit.degree_corrected)
        if model not in shortest or fit.length < shortest[model].length:
            shortest[model] = fit
    named = [("one block", weighted, fit) for fit in whole]
    named += [("nested" if fit.nested else "flat", weighted, fit) for fit in shortest.values()]
    named += [("flat", False, fit) for fit in rivals]
    rows = [
        (name, weights, fit.degree_corrected, fit.n_blocks, fit.length, fit.length - best.length)
        for name, weights, fit in named
    ]
    return pd.DataFrame(rows, columns=list(MODEL_COLUMNS))


def _block_table(seen: Evidence, levels: tuple[Labels, ...]) -> pd.DataFrame:
    """Means over the used pairs of nodes between every two blocks, at every level."""
    import pandas as pd

    source, target = seen.source, seen.target
    values = {
        "weight": seen.pairs.weight[seen.used],
        "magnitude": seen.pairs.magnitude[seen.used],
        "value": seen.value,
    }
    tables = []
    for level, labels in enumerate(levels):
        width = int(labels.max(initial=0)) + 1
        first, second = labels[source].astype(np.int64), labels[target]
        if not seen.pairs.directed:
            first, second = np.minimum(first, second), np.maximum(first, second)
        cells = first * width + second
        pairs = np.bincount(cells, minlength=width * width)
        used = np.flatnonzero(pairs)
        columns: dict[str, Any] = {
            "level": np.full(len(used), level, np.int32),
            "source": (used // width).astype(np.int32),
            "target": (used % width).astype(np.int32),
            "pairs": pairs[used],
        }
        for name, value in values.items():
            sums = None if value is None else np.bincount(cells, value, minlength=width * width)[used]
            columns[name] = np.full(len(used), np.nan) if sums is None else sums / pairs[used]
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)
