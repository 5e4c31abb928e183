"""Random circuits: what a circuit is compared with.

A draw has as many edges as the circuit and, by kind,

- `size`: nothing else in common with it;
- `layers`: as many edges as it between every two sites, in every channel;
- `degree`: for every node as many edges out and in as it has, in every channel.

A *connected* draw has every edge on a path from an input to an output, as a pruned circuit has: without this, a random
circuit of 1 % of the edges is a handful of loose ends and any path beats it. No size is changed to get there (random
paths, as Shi et al. 2024 draw them, overshoot) and nothing is repaired. Draws that need not be connected are uniform
and independent. Connected ones, and those of equal degrees, are states of reversible Markov chains whose stationary
distribution is uniform over all such circuits (`random_chains`): one chain runs from the circuit to a hub, n chains
from there back (Besag and Clifford 1989), so that circuit and draws are exchangeable where the circuit is itself one
such random circuit. p-values from ranks are therefore valid however badly the chains mix; chains that mix badly give
draws too like the circuit, which costs power and never finds too much. `sample_circuits` says how alike they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from compgraph.ablation.circuits import CircuitMasks
from compgraph.errors import GraphError
from compgraph.evaluation.random_chains import ExchangeChain, TradeChain
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import on_path

Kind = Literal["size", "layers", "degree"]
KINDS = ("size", "layers", "degree")
Masks = npt.NDArray[np.bool_]

SWEEPS = 1
"""Tries per allowed edge on each leg of the exchange chains."""
FEWEST = 4000
"""Tries at least, for graphs of few edges."""
ROUNDS = 30
"""Rounds of trades on each leg of the degree chains; in each, every target trades with one other."""


@dataclass(frozen=True)
class RandomCircuits:
    """Random circuits and how far they are from the circuit they imitate.

    Attributes
    ----------
    masks
        bool [n, edges].
    kind, connected, seed
        As asked for.
    acceptance
        Share of tries, or of rounds' eligible edges, that changed something; NaN where draws are independent.
    overlap
        Mean share of the circuit's edges that a draw has.
    between
        Mean share of a draw's edges that another draw has. An `overlap` well above it says that the chains have not
        forgotten the circuit; both near 1, that there is little else to draw.
    """

    masks: Masks
    kind: str
    connected: bool
    seed: int
    acceptance: float
    overlap: float
    between: float


def random_circuits(
    graph: ComputationalGraph | CircuitMasks,
    circuit: ComputationalGraph | Masks,
    n: int,
    kind: Kind = "size",
    seed: int = 0,
    connected: bool = True,
) -> Masks:
    """Random circuits like a given one, bool [n, edges] in the order of the graph's edges; see `sample_circuits`."""
    return sample_circuits(graph, circuit, n, kind, seed, connected).masks


def sample_circuits(
    graph: ComputationalGraph | CircuitMasks,
    circuit: ComputationalGraph | Masks,
    n: int,
    kind: Kind = "size",
    seed: int = 0,
    connected: bool = True,
    effort: float = 1.0,
) -> RandomCircuits:
    """Random circuits like a given one, with the measure of their mixing.

    Parameters
    ----------
    graph
        All edges that a circuit may have: an architectural graph, or the frame of masks over it.
    circuit
        A circuit of it, or bool [edges].
    n
        How many.
    kind
        `size`, `layers` or `degree`; each is kept exactly.
    seed
        The same seed gives the same draws.
    connected
        Whether every edge is on a path from an input to an output. The circuit must then be so itself. Equal degrees
        keep it by themselves.
    effort
        Factor on the length of the chains.

    Raises
    ------
    GraphError
        An unknown kind, a mask that does not fit, a graph without an architecture, or a circuit that is not connected
        though the draws should be.
    """
    whole = _whole(graph)
    mask = _mask(whole, circuit)
    if kind not in KINDS:
        raise GraphError(f"kind {kind!r} is not known; valid are {', '.join(KINDS)}")
    if n < 1:
        raise GraphError(f"n is {n}; the number of random circuits must be at least 1")
    if not effort > 0:
        raise GraphError(f"effort is {effort}; it must be above 0")
    if connected:
        _check_connected(whole, mask)
    start = np.flatnonzero(mask)
    rng = np.random.default_rng([seed, KINDS.index(kind), len(start)])
    acceptance = np.nan
    if len(start) in (0, whole.n_edges):
        masks = np.tile(mask, (n, 1))
    elif kind == "degree":
        trades = TradeChain(whole)
        masks, acceptance = trades.sample(start, n, max(1, round(ROUNDS * effort)), rng)
    elif connected:
        chain = ExchangeChain(whole, cells_of(whole, kind), same_site=kind == "layers")
        tries = max(FEWEST, SWEEPS * whole.n_edges)
        masks, acceptance = chain.sample(start, n, max(1, round(tries * effort)), rng)
    else:
        masks = _independent(cells_of(whole, kind), mask, n, rng)
    return RandomCircuits(masks, kind, connected, seed, acceptance, *_overlaps(mask, masks))


def is_connected(graph: ComputationalGraph | CircuitMasks, mask: Masks) -> bool:
    """Whether every kept edge is on a path from an input to an output, so that pruning changes nothing."""
    return not _loose(_whole(graph), mask).any()


def pruned(graph: ComputationalGraph | CircuitMasks, mask: Masks) -> Masks:
    """The kept edges that are on a path from an input to an output."""
    return mask & ~_loose(_whole(graph), mask)


def _whole(graph: ComputationalGraph | CircuitMasks) -> ComputationalGraph:
    return graph.full if isinstance(graph, CircuitMasks) else graph


def _loose(graph: ComputationalGraph, mask: Masks) -> Masks:
    source, target = graph.source[mask], graph.target[mask]
    alive = on_path(source, target, graph.n_nodes, graph.inputs, graph.outputs)
    loose = np.zeros(graph.n_edges, bool)
    loose[mask] = ~(alive[source] & alive[target])
    return loose


def _mask(graph: ComputationalGraph, circuit: ComputationalGraph | Masks) -> Masks:
    if isinstance(circuit, ComputationalGraph):
        return graph.mask_of(circuit)
    mask = np.asarray(circuit)
    if mask.dtype != bool or mask.shape != (graph.n_edges,):
        raise GraphError(f"circuit must be boolean of shape ({graph.n_edges},), not {mask.dtype} of {mask.shape}")
    return mask


def _check_connected(graph: ComputationalGraph, mask: Masks) -> None:
    loose = int(_loose(graph, mask).sum())
    if loose:
        raise GraphError(
            f"{loose} of the circuit's {int(mask.sum())} edges are on no path from an input to an output; prune it "
            "first, or ask for connected=False"
        )


def cells_of(graph: ComputationalGraph, kind: str) -> npt.NDArray[np.int64]:
    """Cell of each edge: draws keep the number of edges in every cell."""
    if kind == "size":
        return np.zeros(graph.n_edges, np.int64)
    sites = np.unique(graph.node_columns["site"], return_inverse=True)[1].astype(np.int64)
    key = (sites[graph.target] * len(graph.channels) + graph.channel) * (sites.max() + 1) + sites[graph.source]
    return np.unique(key, return_inverse=True)[1].astype(np.int64)


def _independent(cells: npt.NDArray[np.int64], mask: Masks, n: int, rng: np.random.Generator) -> Masks:
    """Uniform draws with the circuit's number of edges in every cell."""
    kept, sizes = np.bincount(cells[mask], minlength=cells.max() + 1), np.bincount(cells)
    first = np.cumsum(sizes) - sizes
    by_cell = np.sort(cells)
    chosen = np.arange(len(cells)) - first[by_cell] < kept[by_cell]
    out = np.zeros((n, len(cells)), bool)
    for row in out:
        order = np.argsort(cells + rng.random(len(cells)) / 2)
        row[order[chosen]] = True
    return out


def _overlaps(mask: Masks, masks: Masks) -> tuple[float, float]:
    k, n = int(mask.sum()), len(masks)
    if k == 0:
        return np.nan, np.nan
    times = masks.sum(0, dtype=np.int64)
    between = float((times * (times - 1)).sum() / (n * (n - 1) * k)) if n > 1 else np.nan
    return float(times[mask].sum() / (n * k)), between
