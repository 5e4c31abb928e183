"""Whether a graph's nodes are better than random ones of equal sizes: faithful circuits, concentrated attribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.data.holding_out import Examples
from compgraph.evaluation.class_ablation import random_partition
from compgraph.evaluation.concentration import inequality, lorenz_curves
from compgraph.evaluation.faithfulness import faithfulness
from compgraph.evaluation.intervals import Floats, band, tail_p
from compgraph.evaluation.trials.trial import Given, Outcome
from compgraph.evaluation.verdict import p_words
from compgraph.granularity import match_rules
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.progress import track
from compgraph.rois.signals import n_regions

if TYPE_CHECKING:
    import pandas as pd

STATED = 0.1
"""The share of the edges that the verdict is about."""
ALONE = "nodes of one unit, and sites that are one node, have no random counterpart"


def run(
    given: Given,
    *,
    sites: Sequence[str] | None,
    sizes: Sequence[float],
    metrics: Sequence[str],
    examples: Examples,
    n_random: int,
    n_bootstrap: int,
    baseline: str,
    batch_size: int | None,
    seed: int,
) -> Outcome:
    """Tables `circuits` (`FaithfulnessCurve.table`, with the random nodes' null_mean, null_low, null_high, their number
    and p), `carried` and `inequality` (`compgraph.evaluation.concentration`).

    Raises
    ------
    DataError
        A graph that cannot be made again (`Given.made_again`).
    GraphError
        A pattern that matches no site.
    """
    drawn = _random(given, sites, n_random, seed)
    pairs = given.examples(examples)
    shared: dict[str, Any] = {"metrics": metrics, "baseline": baseline, "reference": given.reference, "seed": seed}
    shared |= {"batch_size": batch_size}
    table = faithfulness(given.net, given.the_graph, pairs, sizes, n_bootstrap=n_bootstrap, **shared).table
    graphs: list[ComputationalGraph] = []
    nulls = np.empty((len(drawn), len(table)))
    for draw, partition in enumerate(track(drawn, "random nodes", unit="partitions")):
        graphs.append(given.made_again(given.examples("chosen"), partition, batch_size))
        nulls[draw] = faithfulness(given.net, graphs[-1], pairs, sizes, n_bootstrap=0, **shared).table["faithfulness"]
    own = table["faithfulness"].to_numpy(np.float64)
    table = table.assign(**_chance(own, nulls))
    tables = {"circuits": table, "carried": lorenz_curves(given.the_graph, graphs)}
    tables["inequality"] = inequality(given.the_graph, graphs)
    notes = (ALONE,) if n_random and not drawn else ()
    numbers = {"n_nodes": given.partition.n_nodes, "n_random": len(drawn)}
    return Outcome(tables, _verdict(tables, metrics[0]), numbers, notes)


def _random(given: Given, sites: Sequence[str] | None, n: int, seed: int) -> list[Partition]:
    """Partitions into random nodes; none where shuffling units would change nothing."""
    partition = given.partition
    several = [site for site in partition.sites if n_regions(partition, site) > 1]
    if sites is not None:
        matched = match_rules(given.net.architecture, dict.fromkeys(sites))
        several = [site for site in several if site in matched]
    mixed = [site for site in several if partition.part_sizes(site)[: n_regions(partition, site)].max() > 1]
    return [random_partition(partition, mixed, seed + draw) for draw in range(n)] if mixed else []


def _chance(own: Floats, nulls: Floats) -> dict[str, Floats | int]:
    low, high = band(nulls)
    mean = nulls.mean(axis=0) if len(nulls) else np.full(len(own), np.nan)
    p = tail_p(own, nulls, "above")
    return {"null_mean": mean, "null_low": low, "null_high": high, "n_random": len(nulls), "p": p}


def _verdict(tables: dict[str, pd.DataFrame], metric: str) -> str:
    rows = tables["circuits"][tables["circuits"]["metric"] == metric]
    circuit = rows.iloc[(rows["fraction"] - STATED).abs().to_numpy().argmin()]
    edges = tables["carried"][tables["carried"]["of"] == "edges"]
    strongest = edges.iloc[(edges["share"] - STATED).abs().to_numpy().argmin()]
    words = (
        f"The strongest {circuit['fraction']:.0%} of {int(tables['inequality']['n'].iloc[0])} edges keep "
        f"{circuit['faithfulness']:.2f} of {metric.replace('_', ' ')}{_than(circuit)}; {strongest['share']:.0%} of "
        f"them carry {strongest['carried']:.2f} of the attribution{_than(strongest)}."
    )
    return words.replace("%", " %")


def _than(row: pd.Series) -> str:
    known = np.isfinite(row["null_mean"])
    return f" (random nodes {row['null_mean']:.2f}, {p_words(row['p'])})" if known else ""
