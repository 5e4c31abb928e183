"""The same graph from disjoint samples of its examples: how far their circuits agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compgraph.errors import DataError
from compgraph.evaluation.stability import cpr_stability, stability
from compgraph.evaluation.trials.trial import Given, Outcome
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import Order


def run(
    given: Given,
    *,
    samples: int,
    sizes: Sequence[float],
    by: Order,
    metrics: Sequence[str],
    baseline: str,
    batch_size: int | None,
    seed: int,
) -> Outcome:
    """Tables `circuits` (`stability`) and `areas` (`cpr_stability`, on the examples that were held out).

    Raises
    ------
    DataError
        The parameters that made the graph are not known, its baseline came from other data, or there are fewer
        examples than samples.
    """
    graphs = _again(given, samples, batch_size, seed)
    table = stability({"samples": graphs}, sizes, by=by)
    held = given.examples("held-out")
    areas = cpr_stability(
        given.net, graphs, held, sorted(sizes), metrics=metrics, select=by,
        baseline=given.baseline(baseline, held, seed), seed=seed, batch_size=batch_size,
    )  # fmt: skip
    table["n_examples"] = given.examples("chosen").n // samples
    if table.empty:
        return Outcome({"circuits": table, "areas": areas}, "No size is as large as one edge.")
    row = table.iloc[(table["fraction"] - 0.1).abs().argmin()]
    said = (
        f"Circuits of {int(row['n_edges'])} edges from {samples} disjoint samples of {int(row['n_examples'])} examples"
        f" share {row['jaccard']:.2f} (Jaccard; {row['jaccard_chance']:.2f} by chance)"
    )
    spread = areas[areas["metric"] == metrics[0]]["cpr"].dropna()
    if len(spread):
        said += f"; CPR of {metrics[0].replace('_', ' ')} is {spread.mean():.2f} ± {spread.std():.2f} over them"
    return Outcome({"circuits": table, "areas": areas}, said + ".")


def _again(given: Given, samples: int, batch_size: int | None, seed: int) -> list[ComputationalGraph]:
    """The graph of each sample, scored as the graph was."""
    pairs = given.examples("chosen")
    if not 2 <= samples <= pairs.n:
        raise DataError(f"samples is {samples}; with {pairs.n} examples it must be between 2 and {pairs.n}")
    dealt = np.random.default_rng(seed).permutation(pairs.n)[: samples * (pairs.n // samples)]
    return [
        given.made_again(pairs.subset(np.sort(rows)), given.partition, batch_size) for rows in np.split(dealt, samples)
    ]
