"""Which circuits a graph is tested by: sizes, their complements, random ones like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.ablation.circuits import CircuitMasks, masks_for
from compgraph.circuits.select import select_circuit
from compgraph.errors import GraphError
from compgraph.evaluation.random_circuits import KINDS, pruned, sample_circuits
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.models.size import site_parameters

if TYPE_CHECKING:
    import pandas as pd

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""MIB's grid of kept shares of edges."""

Masks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PlannedCircuits:
    """Circuits to run.

    Attributes
    ----------
    frame
        The architectural graph that masks select from.
    masks
        bool [runs, edges]: what has to be run, each once; row 0 is the empty graph.
    table
        One row per circuit: `role` (`circuit`, `complement`, `random`), `size` (as asked for), `draw` (number of a
        random circuit, else -1), `fraction` (kept share of the graph's edges, before pruning), `n_edges`, `n_nodes`,
        `mean_degree` (edges a node), `units` and `parameters` (shares of the units and of the parameters of all nodes
        that the nodes kept hold, see `compgraph.models.size.site_parameters`), `run` (row of `masks`), `note` (what is
        out of the ordinary, else "").
    about
        How circuits were chosen.
    """

    frame: CircuitMasks
    masks: Masks
    table: pd.DataFrame
    about: dict[str, Any]


def plan_circuits(
    net: Network,
    graph: ComputationalGraph,
    sizes: Sequence[float | int] = FRACTIONS,
    *,
    selection: str = "top",
    options: Mapping[str, Any] | None = None,
    prune: bool = False,
    ablation: str = "edge",
    complement: bool = False,
    n_random: int = 0,
    random: str = "size",
    seed: int = 0,
) -> PlannedCircuits:
    """The circuits of a graph at several sizes, and what they are compared with.

    Parameters
    ----------
    sizes
        Kept shares of the edges (floats in (0, 1], `int(share · edges)`), or numbers of edges (ints). For the selection
        `threshold` thresholds.
    selection, options
        A rule (`compgraph.catalogue.SELECTIONS`) and its options, as for `compgraph.select_circuit`.
    prune
        Drop what is on no path from input to output; `n_edges` counts what is left.
    ablation
        `edge` or `node`: what the complement of a circuit is (`CircuitMasks.complement`).
    complement
        Whether to run each circuit's complement too.
    n_random, random, seed
        Random circuits per size, by kind (`compgraph.evaluation.random_circuits`), connected. They imitate the circuit
        without its loose ends, which count for nothing; where nothing is left there are none.

    Raises
    ------
    GraphError
        Sizes out of range, an unknown rule, option or kind, a graph that is no circuit of this network.
    """
    if len(sizes) == 0:
        raise GraphError("sizes is empty; it must hold at least one share or number of edges")
    if random not in KINDS:
        raise GraphError(f"random {random!r} is not known; valid are {', '.join(KINDS)}")
    frame = masks_for(net, graph)
    universe, options = frame.mask(graph), dict(options or {})
    rows: list[dict[str, Any]] = []
    masks: list[Masks] = []

    held = _held(net, frame)

    def add(mask: Masks, **row: Any) -> None:
        masks.append(mask)
        rows.append(row | _measures(frame, mask, held))

    mixing = {}
    for k, size in enumerate(sizes):
        chosen = frame.mask(circuit_of_size(graph, size, selection, options))
        fraction = float(chosen.sum() / max(1, universe.sum()))
        kept = pruned(frame.full, chosen) if prune else chosen
        row = {"size": float(size), "draw": -1, "fraction": fraction}
        add(kept, role="circuit", note=frame.note(kept), **row)
        if complement:
            add(frame.complement(kept, ablation) & universe, role="complement", note="", **row)
        alive = pruned(frame.full, kept)
        if n_random and alive.any():
            whole = graph.subgraph(np.ones(graph.n_edges, bool))
            drawn = sample_circuits(whole, alive[universe], n_random, random, seed + k)  # type: ignore[arg-type]
            mixing[str(size)] = {"overlap": round(drawn.overlap, 4), "between": round(drawn.between, 4)}
            for draw, mask in enumerate(drawn.masks):
                lifted = np.zeros(frame.n_edges, bool)
                lifted[universe] = mask
                add(lifted, role="random", note="", **(row | {"draw": draw}))
    about = {"selection": selection, "options": options, "pruned": prune, "n_edges": int(universe.sum())}
    if n_random:
        about |= {"random": random, "n_random": n_random, "mixing": mixing}
    return _planned(frame, masks, rows, about | {"seed": seed})


def circuit_of_size(
    graph: ComputationalGraph, size: float | int, selection: str, options: Mapping[str, Any]
) -> ComputationalGraph:
    """The circuit that a rule chooses at one size, unpruned; for `threshold` the size is the threshold."""
    options = dict(options)
    if selection == "threshold":
        return select_circuit(graph, None, selection, **(options | {"at": float(size)}))
    return select_circuit(graph, size, selection, **options)


def _planned(
    frame: CircuitMasks, masks: list[Masks], rows: list[dict[str, Any]], about: dict[str, Any]
) -> PlannedCircuits:
    """Circuits with the same edges are run once."""
    import pandas as pd

    found: dict[bytes, int] = {np.packbits(np.zeros(frame.n_edges, bool)).tobytes(): 0}
    runs = []
    unique = [np.zeros(frame.n_edges, bool)]
    for mask in masks:
        key = np.packbits(mask).tobytes()
        if key not in found:
            found[key] = len(unique)
            unique.append(mask)
        runs.append(found[key])
    table = pd.DataFrame(rows)
    table["run"] = runs
    return PlannedCircuits(frame, np.stack(unique), table, about)


def _held(net: Network, frame: CircuitMasks) -> dict[str, npt.NDArray[np.float64]]:
    """Units and parameters of every node, [nodes] each."""
    assert frame.full.architecture is not None
    nodes = frame.full.nodes
    n_units = {site.name: site.n_units for site in frame.full.architecture.node_sites}
    each = {site: n / n_units[site] for site, n in site_parameters(net, n_units).items()}
    units = nodes["size"].to_numpy(dtype=float)
    parameters = units * np.array([each[site] for site in nodes["site"]])
    return {"units": units, "parameters": parameters}


def _measures(frame: CircuitMasks, mask: Masks, held: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, Any]:
    nodes = frame.nodes(mask)
    n_edges, n_nodes = int(mask.sum()), int(nodes.sum())
    return {
        "n_edges": n_edges,
        "n_nodes": n_nodes,
        "mean_degree": n_edges / n_nodes if n_nodes else 0.0,
        **{name: float(of[nodes].sum() / of.sum()) for name, of in held.items()},
    }
