"""Which edges or nodes of a circuit are needed: the loss when one alone is removed, against chance.

The loss of removing e from a circuit C is mean (s(C) - s(C - e))², s a metric of single examples (Shi et al. 2024,
arXiv 2410.13032). What counts as chance is a choice:

- `inflated`: a random edge of a random path, removed from C with that path added. "Needed more than what C can do
  without." The authors' choice.
- `random`: an edge (node) of a random circuit like C, removed from that circuit. "Needed more than the edges of any
  such circuit are." In a network of few nodes random circuits share edges with C, and nothing stands out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from compgraph.ablation.baselines import Baseline
from compgraph.ablation.circuits import CircuitMasks, masks_for
from compgraph.errors import GraphError
from compgraph.evaluation.hypothesis_tests import loss
from compgraph.evaluation.inflated import inflated_circuits, without_one
from compgraph.evaluation.random_circuits import Kind, Masks, sample_circuits
from compgraph.evaluation.scores import Scores, circuit_scores, rank_p
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.multiple_testing import benjamini_hochberg

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 128
"""Scores that differ by less than this many units in the last place of the largest are the same."""
COLUMNS = ("name", "source", "target", "channel", "loss", "change", "chance", "p", "q", "needed", "n_random")


def minimality(
    net: Network,
    circuit: ComputationalGraph,
    pairs: Any,
    metric: str = "logit_difference",
    *,
    by: Literal["edge", "node"] = "edge",
    reference: Literal["inflated", "random"] = "inflated",
    kind: Kind = "layers",
    n_random: int = 199,
    connected: bool = True,
    alpha: float = 0.05,
    ablation: str = "edge",
    baseline: str | Baseline = "counterfactual",
    seed: int = 0,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """The loss of each edge or node of a circuit, and whether it is larger than chance.

    Parameters
    ----------
    by
        `edge`, or `node`: all edges of the node are removed; inputs and outputs are not tested.
    reference
        See the head of the module; `inflated` is for edges only.
    kind, connected
        Of `random` circuits (`compgraph.evaluation.random_circuits`).
    n_random
        Circuits in the reference; one element of each is removed. A circuit of m elements wants at least m / alpha: q
        of the only one that is needed is at least m / (n_random + 1).
    alpha
        `needed` where q is at most this.

    Returns
    -------
    DataFrame
        One row per edge or node in the circuit's order: `name`, for edges `source`, `target`, `channel`; `loss`;
        `change` (mean of the metric without it, minus with it); `chance` (loss that a share `alpha` of the random ones
        exceed, the same for all); `p` = (1 + number of random ones with at least this
        loss) / (1 + n_random), `q` (Benjamini and Hochberg), `needed`, `n_random`.

    Raises
    ------
    GraphError
        An unknown word, a circuit without edges or not connected, edges under node ablation (removing one leaves the
        nodes).
    """
    _check(by, reference, ablation)
    frame = masks_for(net, circuit)
    mask = frame.mask(circuit)
    elements = removals(frame, mask, by)
    if len(elements) == 0:
        raise GraphError(f"this circuit has no {by} that could be removed")
    before, after = _reference(frame, mask, by, reference, kind, n_random, connected, seed)
    masks = np.concatenate([mask[None], mask & ~elements, before, after])
    scores = circuit_scores(
        net, frame, masks, pairs, [metric], ablation=ablation, baseline=baseline, batch_size=batch_size, seed=seed
    )[1:, 0]
    own, one_less, inflated, less = np.split(scores, np.cumsum([1, len(elements), n_random]))
    floor = rounding(net, scores)
    losses, null = loss(own, one_less, floor), loss(inflated, less, floor)
    p = np.array([rank_p(value, null) for value in losses])
    q = benjamini_hochberg(p)
    change = one_less.mean(1) - own.mean()
    chance: Any = float(np.quantile(null, 1 - alpha))
    columns = {"loss": losses, "change": change, "chance": chance, "p": p, "q": q}
    columns |= {"needed": q <= alpha, "n_random": n_random}
    return _table(frame, mask, by, columns)


def removals(frame: CircuitMasks, mask: Masks, by: str) -> Masks:
    """The edges that each removal takes away, bool [elements, edges]."""
    graph = frame.full
    if by == "edge":
        out = np.zeros((int(mask.sum()), len(mask)), bool)
        out[np.arange(len(out)), np.flatnonzero(mask)] = True
        return out
    nodes = _inner(frame, mask)
    return mask & ((graph.source == nodes[:, None]) | (graph.target == nodes[:, None]))


def rounding(net: Network, scores: Scores) -> float:
    """Largest difference of scores that rounding can make."""
    return float(ROUNDING * torch.finfo(net.dtype).eps * np.abs(scores).max())


def _reference(
    frame: CircuitMasks, mask: Masks, by: str, reference: str, kind: Kind, n: int, connected: bool, seed: int
) -> tuple[Masks, Masks]:
    """Circuits before and after the removal of one random element each, bool [n, edges]."""
    if reference == "inflated":
        before, edges = inflated_circuits(frame.full, mask, n, seed)
        return before, without_one(before, edges)
    before = sample_circuits(frame, mask, n, kind, seed, connected).masks
    rng = np.random.default_rng([seed, 11])
    if by == "edge":
        return before, without_one(before, np.array([rng.choice(np.flatnonzero(one)) for one in before]))
    after = before.copy()
    for one in after:
        nodes = _inner(frame, one)
        if len(nodes):
            node = rng.choice(nodes)
            one[(frame.full.source == node) | (frame.full.target == node)] = False
    return before, after


def _inner(frame: CircuitMasks, mask: Masks) -> npt.NDArray[np.int64]:
    """Nodes of a circuit that are neither input nor output."""
    nodes = frame.nodes(mask)
    nodes[frame.full.inputs] = False
    nodes[frame.full.outputs] = False
    return np.flatnonzero(nodes)


def _check(by: str, reference: str, ablation: str) -> None:
    if by not in ("edge", "node"):
        raise GraphError(f"by {by!r} is not known; valid are edge, node")
    if reference not in ("random", "inflated"):
        raise GraphError(f"reference {reference!r} is not known; valid are random, inflated")
    if by == "node" and reference == "inflated":
        raise GraphError("reference 'inflated' is for edges; nodes are compared with 'random'")
    if by == "edge" and ablation == "node":
        raise GraphError("node ablation cannot tell whether an edge is there; use by='node', or ablation='edge'")


def _table(frame: CircuitMasks, mask: Masks, by: str, columns: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    graph, names = frame.full, frame.full.node_names
    if by == "node":
        labels = [names[node] for node in _inner(frame, mask)]
        return pd.DataFrame({"name": labels} | columns)
    edges = np.flatnonzero(mask)
    source, target = [names[i] for i in graph.source[edges]], [names[i] for i in graph.target[edges]]
    channel = [graph.channels[i] for i in graph.channel[edges]]
    labels = [f"{s} -> {t}" + (f" ({c})" if c else "") for s, t, c in zip(source, target, channel, strict=True)]
    ends = {"name": labels, "source": source, "target": target, "channel": channel}
    return pd.DataFrame(ends | columns)[list(COLUMNS)]
