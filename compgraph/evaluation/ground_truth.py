"""How well scores find edges that are known to be true.

Every threshold on |score| calls some edges true. Over all thresholds, edges of equal score together, this traces the
ROC curve from (0, 0) to (1, 1) and the precision-recall curve, as AutoCircuit (UFO-101/auto-circuit) does. Networks
with known true edges come from `compgraph.models.compiled`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph import progress
from compgraph.circuits.greedy import greedy
from compgraph.connectivity.effective.attribution import effective_connectivity
from compgraph.data.prompts import PromptPairs
from compgraph.errors import CompgraphError, GraphError
from compgraph.evaluation.planning import FRACTIONS
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import Order, strength
from compgraph.models.compiled.plan import CompiledCase
from compgraph.partition import Partition

if TYPE_CHECKING:
    import pandas as pd

AREAS = ("auroc", "auprc", "interpbench_auroc", "n_true", "n_edges")
Edges = Iterable[tuple[str, str, str]] | ComputationalGraph | npt.NDArray[np.bool_]


@dataclass
class EdgeRecovery:
    """True edges against scores.

    Attributes
    ----------
    table
        One row per threshold, from none to all edges: `threshold` (edges of at least this strength are kept; infinite
        in the first row), `n_edges` (kept), `true_positives`, `false_positives`, `tpr` (recall), `fpr`, `precision`
        (1 in the first row, where nothing is kept).
    auroc
        Area under the ROC curve by trapezoids: the chance that a true edge scores above another, ties counting half.
    auprc
        Area under the precision-recall curve as average precision, Σ (recall step) · precision, which does not
        interpolate between thresholds.
    n_true, n_edges
        True edges and all edges.
    """

    table: pd.DataFrame
    auroc: float
    auprc: float
    n_true: int
    n_edges: int


def edge_recovery(
    graph: ComputationalGraph, true_edges: Edges, *, by: Order = "abs", tolerance: float = 0.0
) -> EdgeRecovery:
    """ROC and precision-recall curves of a graph's scores against known true edges.

    Parameters
    ----------
    graph
        Every edge that could be true, scores as weights.
    true_edges
        Names (source, target, channel), a circuit of the graph, or bool [E] in the order of its edges. Where the graph
        does not tell queries, keys and values apart, an edge is true if any of its channels is.
    by
        `abs`, `signed` or `negative`; see `ComputationalGraph.top`.
    tolerance
        Scores of magnitude up to this share of the largest count as 0, so that rounding does not break ties.

    Raises
    ------
    GraphError
        A true edge that the graph does not have; no true edge, or no other.
    """
    labels = true_mask(graph, true_edges)
    if not 0 < labels.sum() < len(labels):
        raise GraphError(f"{int(labels.sum())} of {len(labels)} edges are true; both kinds are needed for a curve")
    scores = np.asarray(graph.weight, dtype=np.float64)
    scores = np.where(np.abs(scores) > tolerance * np.abs(scores).max(), scores, 0.0)
    return _curves(strength(scores, by), labels)


def true_mask(graph: ComputationalGraph, true_edges: Edges) -> npt.NDArray[np.bool_]:
    """Which edges of the graph are true, bool [E] (see `edge_recovery`)."""
    if isinstance(true_edges, ComputationalGraph):
        return graph.mask_of(true_edges)
    if isinstance(true_edges, np.ndarray):
        if true_edges.dtype != bool or true_edges.shape != (graph.n_edges,):
            raise GraphError(f"true edges must be boolean of shape ({graph.n_edges},), not {true_edges.shape}")
        return true_edges
    split = len(graph.channels) > 1
    names = np.array(graph.node_names, dtype=object)
    ends = zip(names[graph.source], names[graph.target], graph.channel, strict=True)
    place = {(source, target, graph.channels[channel]): edge for edge, (source, target, channel) in enumerate(ends)}
    mask = np.zeros(graph.n_edges, dtype=bool)
    for source, target, channel in true_edges:
        key = (source, target, channel if split else "")
        if key not in place:
            via = f" ({channel})" if channel else ""
            raise GraphError(f"true edge {source} -> {target}{via} is not an edge of the graph")
        mask[place[key]] = True
    return mask


def _curves(values: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.bool_]) -> EdgeRecovery:
    import pandas as pd

    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # last edge of each group of equal scores
    hits = np.concatenate([[0], np.cumsum(labels[order])[ends]])
    kept = np.concatenate([[0], ends + 1])
    n_true, n_edges = int(labels.sum()), len(labels)
    tpr, fpr = hits / n_true, (kept - hits) / (n_edges - n_true)
    precision = np.where(kept > 0, hits / np.maximum(kept, 1), 1.0)
    table = pd.DataFrame(
        {
            "threshold": np.concatenate([[np.inf], ranked[ends]]),
            "n_edges": kept,
            "true_positives": hits,
            "false_positives": kept - hits,
            "tpr": tpr,
            "fpr": fpr,
            "precision": precision,
        }
    )
    # Whole numbers until the last division, so that a perfect score is 1 and not 1 - 1e-16.
    auroc = float((np.diff(kept - hits) * (hits[1:] + hits[:-1])).sum() / (2 * n_true * (n_edges - n_true)))
    auprc = float((np.diff(hits) * precision[1:]).sum() / n_true)
    return EdgeRecovery(table, auroc, auprc, n_true, n_edges)


def interpbench_auroc(
    graph: ComputationalGraph, true_edges: Edges, *, sizes: Sequence[float] = FRACTIONS, by: Order = "abs"
) -> float:
    """AUROC as the MIB benchmark computes it on its InterpBench models: over pruned circuits of a few sizes.

    Circuits of int(size · edges) edges are grown greedily (`compgraph.circuits.greedy`) and pruned; the true and false
    positive rates of their edges are joined by trapezoids in the order of the sizes, and the area is divided by the
    last false positive rate. Nothing is added at (0, 0), so a method that finds every true edge before any false one
    can score below 1, and what pruning removes counts as not found. Not comparable with `edge_recovery`.

    Source: the MIB benchmark (Mueller et al. 2025, arXiv 2504.13151) on the models of Gupta et al. 2024,
    arXiv 2407.14494; its definition as in the reference code. [C]

    Parameters
    ----------
    sizes
        Shares of the edges; the benchmark's ten.

    Raises
    ------
    GraphError
        As `edge_recovery`; the largest circuit holds no false edge, so that the area cannot be normalised.
    """
    labels = true_mask(graph, true_edges)
    if not 0 < labels.sum() < len(labels):
        raise GraphError(f"{int(labels.sum())} of {len(labels)} edges are true; both kinds are needed for a curve")
    tpr, fpr = [], []
    for size in sizes:
        chosen = greedy(graph, int(size * graph.n_edges), by=by).edges
        kept = graph.mask_of(graph.subgraph(chosen).prune())
        tpr.append(float(kept[labels].mean()))
        fpr.append(float(kept[~labels].mean()))
    if not fpr[-1] > 0:
        raise GraphError(
            f"the largest circuit ({sizes[-1]} of the edges) holds no false edge; sizes must reach circuits that do"
        )
    area = sum((b - a) * (low + high) / 2 for a, b, low, high in zip(fpr, fpr[1:], tpr, tpr[1:], strict=False))
    return float(area / fpr[-1])


@dataclass(frozen=True)
class KnownEdges:
    """How well methods find the true edges of several networks.

    Attributes
    ----------
    areas
        One row a case and method: `case`, `method`, `auroc`, `auprc`, `interpbench_auroc`, `n_true`, `n_edges`, and
        `reason`: why a method refused (its areas are NaN), else empty.
    curves
        One row a case, method and threshold: `case`, `method`, `fpr`, `tpr`, `precision`, `n_edges`.
    """

    areas: pd.DataFrame
    curves: pd.DataFrame


def recover_known(
    names: Sequence[str],
    cases: Iterable[CompiledCase],
    *,
    n: int = 64,
    seed: int = 0,
    metric: str | None = None,
    baseline: str = "counterfactual",
    tolerance: float = 1e-12,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    refusals: bool = False,
) -> KnownEdges:
    """ROC and precision-recall curves of effective methods on networks whose edges are known.

    Parameters
    ----------
    names
        Effective methods (`compgraph.catalogue.EFFECTIVE`).
    cases
        From `compgraph.models.compiled.compile_case`.
    n, seed
        Examples per case, and the seed of their draw and of methods that draw.
    metric, baseline, tolerance
        See `effective_connectivity` (metric None: each method's own) and `edge_recovery`.
    options
        Method -> arguments of its own; may also replace `metric` or `baseline` for it.
    refusals
        Whether a method that refuses a case (Granger causality with too few examples, say) has a row that says so; by
        default its error is raised.
    """
    import pandas as pd

    areas, curves = [], []
    rounds = [(case, name) for case in cases for name in names]
    for case, name in progress.track(rounds, "known edges"):
        row: dict[str, Any] = {"case": case.name, "method": name}
        pairs = PromptPairs(**case.examples(n, seed), task=case.name)
        arguments: dict[str, Any] = {"metric": metric, "baseline": baseline, "seed": seed}
        arguments |= (options or {}).get(name, {})
        try:
            graph = effective_connectivity(case.net, pairs, Partition.heads(case.net), name, **arguments)
        except CompgraphError as error:
            if not refusals:
                raise
            areas.append(row | dict.fromkeys(AREAS, float("nan")) | {"reason": str(error)})
            continue
        found = edge_recovery(graph, case.true_edges, tolerance=tolerance)
        areas.append(row | _areas(found, graph, case) | {"reason": ""})
        curves.append(found.table[["fpr", "tpr", "precision", "n_edges"]].assign(**row))
    columns = ["case", "method", "fpr", "tpr", "precision", "n_edges"]
    joined = pd.concat(curves, ignore_index=True)[columns] if curves else pd.DataFrame(columns=columns)
    return KnownEdges(pd.DataFrame(areas, columns=["case", "method", *AREAS, "reason"]), joined)


def _areas(found: EdgeRecovery, graph: ComputationalGraph, case: CompiledCase) -> dict[str, float]:
    numbers = (found.auroc, found.auprc, interpbench_auroc(graph, case.true_edges), found.n_true, found.n_edges)
    return dict(zip(AREAS, numbers, strict=True))
