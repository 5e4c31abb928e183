"""Stochastic block models of weighted graphs, fitted by graph-tool from informed starts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.communities.agreement import mean_agreement
from compgraph.communities.block_model import BlockModel, Labels
from compgraph.communities.optimise import run_seeds
from compgraph.communities.pairs import Integers
from compgraph.communities.sbm_search import Fit, Search, load_graph_tool, reproducible
from compgraph.communities.sbm_weights import Evidence, evidence
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

if TYPE_CHECKING:
    import pandas as pd

ALWAYS = "always"


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
        `real-normal`, `real-exponential` (weights >= 0), or None for the presence of edges alone.
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

    Raises
    ------
    MissingDependency
        If graph-tool is not installed.
    GraphError
        If the graph cannot be described in the way asked for.
    """
    _check(nested, degree_corrected, n_runs, n_blocks, odds, effort)
    load_graph_tool()
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
        "transform": seen.transform,
        "pairs": len(seen.used),
    }
    if len(nodes) == 0 or (seen.constraint == "layers" and not _varies(seen)):
        return _nothing(graph, seen, parameters)
    search = _search(graph, seen, nodes, effort)
    choices = [False, True] if degree_corrected is None else [degree_corrected]
    if seen.constraint == "layers":
        choices = [False]
    if n_blocks is not None and n_blocks > len(nodes):
        raise GraphError(f"sbm: {n_blocks} blocks were asked for, but only {len(nodes)} nodes have edges to tell")
    one = _one_block(search, choices)
    fits, notes = [], list(seen.notes)
    for run_seed in run_seeds(seed, n_runs):
        with reproducible(run_seed):
            fits.append(_run(search, choices, nested, n_blocks, run_seed))
    kept = [fit if n_blocks or _worth(fit, one, odds) else one for fit in fits]
    best = min(kept, key=lambda fit: (fit.length, fit.n_blocks))
    shortest = min(fits, key=lambda fit: fit.length)
    if best.n_blocks == 1 and shortest.n_blocks > 1:
        notes.append(
            f"{shortest.n_blocks} blocks would save {one.length - shortest.length:.1f} nats, which is less "
            f"than the odds of {odds:g} that were asked for"
        )
    levels = tuple(_on_all_nodes(labels, nodes, graph.n_nodes) for labels in best.levels)
    return BlockModel(
        levels=levels,
        description_length=best.length,
        description_length_one_block=one.length,
        nested=best.nested,
        degree_corrected=best.degree_corrected,
        parameters=parameters,
        runs=_runs_table(fits),
        agreement=mean_agreement([fit.levels[0] for fit in kept]),
        blocks=_block_table(seen, levels),
        names=graph.node_names,
        sites=tuple(graph.node_columns["site"]),
        directed=graph.directed,
        notes=tuple(notes),
    )


def _check(
    nested: bool | str,
    degree_corrected: bool | None,
    n_runs: int,
    n_blocks: int | None,
    odds: float,
    effort: int,
) -> None:
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


def _search(graph: ComputationalGraph, seen: Evidence, nodes: Integers, effort: int) -> Search:
    number = np.full(graph.n_nodes, -1)
    number[nodes] = np.arange(len(nodes))
    return Search(
        len(nodes),
        number[seen.source],
        number[seen.target],
        seen.value,
        seen.weights,
        directed=graph.directed,
        topology=seen.constraint == "none",
        levels=graph.node_columns["level"][nodes],
        effort=effort,
    )


def _one_block(search: Search, choices: list[bool]) -> Fit:
    """The best model without blocks."""
    labels = np.zeros(search.n_nodes, np.int32)
    fits = [Fit((labels,), search.flat_length(labels, choice), False, choice, "one block") for choice in choices]
    return min(fits, key=lambda fit: fit.length)


def _run(search: Search, choices: list[bool], nested: bool | str, n_blocks: int | None, seed: int) -> Fit:
    """The shortest description from one seed."""
    if n_blocks is not None:
        fixed = [search.fixed(choice, seed, n_blocks)[0] for choice in choices]
        return min(fixed, key=lambda fit: fit.length)
    flat = min((search.flat(choice, seed) for choice in choices), key=lambda fits: fits[0].length)
    if nested is False:
        return flat[0]
    # The degree correction is chosen on the flat fits; the nested ones start from their best partitions.
    hierarchies = search.nested(flat[:3])
    if nested == ALWAYS:
        return hierarchies[0]
    return min([flat[0], hierarchies[0]], key=lambda fit: fit.length)


def _worth(fit: Fit, one: Fit, odds: float) -> bool:
    """Whether a partition is so much more probable than one block."""
    return fit.n_blocks == 1 or one.length - fit.length >= math.log(odds)


def _on_all_nodes(labels: Labels, nodes: Integers, n_nodes: int) -> Labels:
    full = np.full(n_nodes, -1, np.int32)
    full[nodes] = labels
    return full


def _nothing(graph: ComputationalGraph, seen: Evidence, parameters: dict[str, Any]) -> BlockModel:
    """The result where no pair says anything: all nodes in one block, and a note."""
    import pandas as pd

    labels = np.zeros(graph.n_nodes, np.int32)
    note = "no pair of nodes holds evidence about blocks, so all nodes are in one"
    empty: dict[str, list[Any]] = {name: [] for name in ("run", *_RUN_COLUMNS)}
    return BlockModel(
        levels=(labels,),
        description_length=0.0,
        description_length_one_block=0.0,
        nested=False,
        degree_corrected=False,
        parameters=parameters,
        runs=pd.DataFrame(empty),
        agreement=math.nan,
        blocks=_block_table(seen, (labels,)),
        names=graph.node_names,
        sites=tuple(graph.node_columns["site"]),
        directed=graph.directed,
        notes=(*seen.notes, note),
    )


_RUN_COLUMNS = ("n_blocks", "description_length", "nested", "degree_corrected", "start")


def _runs_table(fits: list[Fit]) -> pd.DataFrame:
    import pandas as pd

    rows = [
        (run, fit.n_blocks, fit.length, fit.nested, fit.degree_corrected, fit.start) for run, fit in enumerate(fits)
    ]
    return pd.DataFrame(rows, columns=["run", *_RUN_COLUMNS])


def _block_table(seen: Evidence, levels: tuple[Labels, ...]) -> pd.DataFrame:
    """Means over the used pairs of nodes between every two blocks, at every level."""
    import pandas as pd

    value = np.full(len(seen.used), np.nan) if seen.value is None else seen.value
    tables = []
    for level, labels in enumerate(levels):
        source, target = labels[seen.source], labels[seen.target]
        if not seen.pairs.directed:
            source, target = np.minimum(source, target), np.maximum(source, target)
        rows = pd.DataFrame(
            {
                "source": source,
                "target": target,
                "pairs": np.ones(len(source), np.int64),
                "weight": seen.pairs.weight[seen.used],
                "magnitude": seen.pairs.magnitude[seen.used],
                "value": value,
            }
        )
        means = {"pairs": "sum", "weight": "mean", "magnitude": "mean", "value": "mean"}
        grouped = rows.groupby(["source", "target"], as_index=False).agg(means)
        grouped.insert(0, "level", np.int32(level))
        tables.append(grouped)
    return pd.concat(tables, ignore_index=True)
