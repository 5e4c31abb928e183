"""Edges that a block model was not shown, predicted by it: a check that no description length enters.

Edges are dealt into folds; blocks are fitted without one fold, and say how probable its edges are beside pairs that
have none, and which weights they have. The configuration model says the same from degrees, or strengths, alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.block_model import BlockModel
from compgraph.communities.blocks.choose import find_blocks
from compgraph.communities.blocks.engine import Fit
from compgraph.communities.blocks.problem import Graphs, Problem, described_again
from compgraph.communities.blocks.question import ANY, Question
from compgraph.communities.pairs import Floats, Integers, Mask
from compgraph.communities.sbm_weights import Evidence
from compgraph.errors import GraphError
from compgraph.tables import write_table

if TYPE_CHECKING:
    import pandas as pd

MOST_NODES = 3_000
"""Scores are held for all pairs of nodes."""

BACKFITS = 50
"""Rounds in which effects of sources and of targets are fitted to what the other leaves."""

COLUMNS = (
    "fold",
    "layer",
    "n_blocks",
    "held_out",
    "absent",
    "auc",
    "auc_configuration",
    "average_precision",
    "average_precision_configuration",
    "r_squared",
    "r_squared_configuration",
    "reason",
)


@dataclass(frozen=True)
class EdgePrediction:
    """How well blocks predict edges that they were not fitted to.

    Attributes
    ----------
    folds
        One row a fold and layer: fold, layer, n_blocks (of the fit without the fold), held_out (edges), absent (pairs
        without an edge), auc (chance that a held-out edge scores above an absent pair, ties half), average_precision,
        both of the blocks and of the configuration model (`_configuration`); r_squared (share of the variance of the
        held-out values that is predicted, below 0 where the mean of the others does better) of block means, and of
        effects of source and target. NaN where it has no meaning, and `reason` says why.
    """

    folds: pd.DataFrame

    def summary(self) -> dict[str, Any]:
        """Means over folds and layers, and by how much blocks beat the configuration model; JSON-able."""
        found: dict[str, Any] = {"folds": int(self.folds["fold"].nunique())}
        for name in ("auc", "average_precision", "r_squared"):
            blocks, null = self.folds[name], self.folds[f"{name}_configuration"]
            found[name] = _plain(blocks.mean())
            found[f"{name}_configuration"] = _plain(null.mean())
            found[f"{name}_gain"] = _plain((blocks - null).mean())
            found[f"{name}_gain_deviation"] = _plain((blocks - null).std())
        return found

    def save(self, folder: str | Path) -> None:
        """Write `prediction.parquet`."""
        write_table(self.folds, Path(folder) / "prediction.parquet")


def predict_edges(graph: Graphs, fit: BlockModel, *, n_folds: int = 5, seed: int = 0) -> EdgePrediction:
    """Hold out every edge once, fit blocks to the others, and predict it.

    Parameters
    ----------
    graph
        What the fit was made of.
    fit
        From `fit_sbm`: its settings are those of the fits here (one run each, the general model).
    n_folds
        Parts that the edges are dealt into; at least 2.
    seed
        Of the deal and of the fits.

    Raises
    ------
    GraphError
        If the fit is of another graph, the graph has more than 3,000 nodes, or fewer pairs than folds.
    """
    if n_folds < 2:
        raise ValueError(f"n_folds must be at least 2, not {n_folds}")
    problem = described_again(graph, fit)
    if len(problem.names) > MOST_NODES:
        raise GraphError(f"sbm: edges are predicted for at most {MOST_NODES} nodes, not {len(problem.names)}")
    if min(len(seen.used) for _, seen in problem.layers) < n_folds:
        raise GraphError(f"sbm: a layer has fewer than {n_folds} pairs, so they cannot be dealt into {n_folds} folds")
    question = _question(fit, seed)
    rng = np.random.default_rng(seed)
    dealt = [rng.permutation(np.arange(len(seen.used)) % n_folds) for _, seen in problem.layers]
    rows = [row for fold in range(n_folds) for row in _fold(problem, question, fold, [one == fold for one in dealt])]
    import pandas as pd

    return EdgePrediction(pd.DataFrame(rows, columns=list(COLUMNS)))


def _question(fit: BlockModel, seed: int) -> Question:
    told = fit.parameters
    names = ("nested", "degree_corrected", "n_blocks", "odds", "effort", "moves")
    return Question(**{name: told[name] for name in names}, n_runs=1, seed=seed, structure=ANY)


def _fold(problem: Problem, question: Question, fold: int, held_out: list[Mask]) -> list[dict[str, Any]]:
    left = problem.without(held_out)
    found = find_blocks(left, question)
    labels = problem.on_all_nodes(found.best.levels[0])
    rows = []
    for (name, seen), (_, shown), gone in zip(problem.layers, left.layers, held_out, strict=True):
        row = dict.fromkeys(COLUMNS, math.nan) | {"fold": fold, "layer": name, "n_blocks": found.best.n_blocks}
        row |= {"held_out": int(gone.sum()), "reason": ""}
        row |= _presence(problem, seen, shown, gone, found.best, labels)
        row |= _values(seen, shown, gone, labels)
        rows.append(row)
    return rows


def _presence(
    problem: Problem, seen: Evidence, shown: Evidence, gone: Mask, fit: Fit, labels: Labels
) -> dict[str, Any]:
    """How held-out edges score against pairs without an edge."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not (problem.topology or seen.masked):
        return {"absent": 0, "reason": "the architecture decides which edges exist"}
    absent = _allowed(problem, seen)
    absent[seen.source, seen.target] = False
    if not absent.any():
        return {"absent": 0, "reason": "every pair has an edge"}
    null = _configuration(problem, shown)
    base = null if fit.degree_corrected else _allowed(problem, seen) * 1.0
    told = np.concatenate([np.ones(int(gone.sum())), np.zeros(int(absent.sum()))])
    row: dict[str, Any] = {"absent": int(absent.sum())}
    for ending, scores in (("", _block_scores(shown, base, labels)), ("_configuration", null)):
        values = np.concatenate([scores[seen.source[gone], seen.target[gone]], scores[absent]])
        row[f"auc{ending}"] = float(roc_auc_score(told, values))
        row[f"average_precision{ending}"] = float(average_precision_score(told, values))
    return row


def _allowed(problem: Problem, seen: Evidence) -> Mask:
    """Pairs that could have an edge, bool [n, n], each undirected one once."""
    n = len(problem.names)
    if problem.allowed is not None:
        return problem.allowed.copy()
    pairs: Mask = ~np.eye(n, dtype=bool)
    if problem.first.constraint == "bipartite":
        sides = problem.sides
        pairs &= sides[:, None] != sides
    return pairs if problem.directed else np.triu(pairs)


def _configuration(problem: Problem, shown: Evidence) -> Floats:
    """Expected edges of every pair by degrees alone, float64 [n, n]."""
    if shown.masked:
        return replace(problem, layers=(("", shown),)).masked.expected
    n = len(problem.names)
    out = np.bincount(shown.source, minlength=n).astype(np.float64)
    into = np.bincount(shown.target, minlength=n).astype(np.float64)
    if not problem.directed:
        out = into = out + into
    expected: Floats = _allowed(problem, shown) * np.outer(out, into)
    total = expected.sum()
    return expected * (len(shown.used) / total) if total else expected


def _block_scores(shown: Evidence, base: Floats, labels: Labels) -> Floats:
    """Expectations of `base` times how many more edges its blocks have than expected, float64 [n, n].

    (e + 1) / (p + 1) of two blocks with e edges where p are expected: the posterior mean of a rate ~ Exp(1).
    """
    n_edges = len(shown.used)
    scaled = base * (n_edges / max(base.sum(), 1e-300))
    member = np.eye(int(labels.max(initial=0)) + 1)[labels] * (labels >= 0)[:, None]
    edges = np.zeros_like(scaled)
    edges[shown.source, shown.target] = 1
    between, expected = (member.T @ matrix @ member for matrix in (edges, scaled))
    if not shown.pairs.directed:
        between, expected = (matrix + matrix.T for matrix in (between, expected))
    rate = (between + 1) / (expected + 1)
    found: Floats = scaled * (member @ rate @ member.T)
    return found


def _values(seen: Evidence, shown: Evidence, gone: Mask, labels: Labels) -> dict[str, Any]:
    """How much of the held-out values' variance is predicted."""
    if seen.value is None or shown.value is None:
        return {}
    truth, mean = seen.value[gone], float(shown.value.mean())
    spread = float(((truth - mean) ** 2).sum())
    if spread <= 0:
        return {}
    ends = seen.source[gone], seen.target[gone]
    # Under an architecture values are what strengths leave over: strengths alone predict their mean.
    null = np.full(len(truth), mean) if seen.layered else _strengths(shown, *ends)
    predicted = {"": _block_means(shown, labels, *ends), "_configuration": null}
    return {f"r_squared{ending}": 1 - float(((truth - told) ** 2).sum()) / spread for ending, told in predicted.items()}


def _block_means(shown: Evidence, labels: Labels, source: Integers, target: Integers) -> Floats:
    """Mean value between two blocks, drawn towards the mean of all as if that had been seen once more, float64 [P]."""
    assert shown.value is not None
    width = int(labels.max(initial=0)) + 1

    def cells(first: Integers, second: Integers) -> Integers:
        r, s = labels[first].astype(np.int64), labels[second].astype(np.int64)
        if not shown.pairs.directed:
            r, s = np.minimum(r, s), np.maximum(r, s)
        found: Integers = np.maximum(r, 0) * width + np.maximum(s, 0)
        return found

    at, size = cells(shown.source, shown.target), width * width
    sums = np.bincount(at, shown.value, minlength=size) + shown.value.mean()
    means: Floats = (sums / (np.bincount(at, minlength=size) + 1))[cells(source, target)]
    return means


def _strengths(shown: Evidence, source: Integers, target: Integers) -> Floats:
    """Mean plus an effect of either end, each drawn towards zero as if it had been zero once more, float64 [P]."""
    assert shown.value is not None
    n = shown.pairs.n_nodes
    offset = n if shown.pairs.directed else 0
    first, second = shown.source, shown.target + offset
    rest, effects = shown.value - shown.value.mean(), np.zeros(n + offset)
    times = np.bincount(first, minlength=n + offset) + np.bincount(second, minlength=n + offset)
    for _ in range(BACKFITS):
        left = rest - effects[first] - effects[second]
        sums = np.bincount(first, left, minlength=n + offset) + np.bincount(second, left, minlength=n + offset)
        effects += 0.5 * (sums - effects) / (times + 1)
    found: Floats = shown.value.mean() + effects[source] + effects[target + offset]
    return found


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
