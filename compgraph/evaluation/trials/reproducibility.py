"""The graph against graphs of the same nodes from other seeds or wordings: how far their circuits agree."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from compgraph.errors import DataError
from compgraph.evaluation.reproducibility import Among, reproducibility, spread_of_areas
from compgraph.evaluation.trials.trial import Given, Outcome
from compgraph.evaluation.verdict import p_words
from compgraph.graph_select import Order

STATED = 0.1
"""The share of edges that the verdict is about; the nearest that there is."""
THIS = "this"
"""Name of the graph that the others are compared with, and of its data."""


def run(
    given: Given,
    *,
    sizes: Sequence[float],
    by: Order,
    metrics: Sequence[str],
    among: Among,
    n_null: int,
    baseline: str,
    batch_size: int | None,
    seed: int,
) -> Outcome:
    """Tables `circuits` (`reproducibility`), `areas` (`spread_of_areas`) and `spread` (of CPR over graphs).

    Raises
    ------
    DataError
        There is no other graph.
    """
    if not given.replicates:
        raise DataError("reproducibility compares a graph with others, and none are given (--input again:seeds:NAME)")
    one = {THIS: (given.the_graph, given.pairs)}
    named = {source: {**one, **others} for source, others in given.replicates.items()}
    graphs = {source: [graph for graph, _ in those.values()] for source, those in named.items()}
    table = reproducibility(graphs, sizes, by=by, among=among, n_null=n_null, seed=seed)
    areas = spread_of_areas(
        given.net, named, sorted(sizes), metrics=metrics, by=by, batch_size=batch_size, seed=seed,
        baseline=lambda examples: given.baseline(baseline, examples, seed),
    )  # fmt: skip
    spread = areas.groupby(["source", "data", "metric"], sort=False)["cpr"].agg(["mean", "std", "var", "count"])
    tables = {"circuits": table, "areas": areas, "spread": spread.reset_index()}
    if table.empty:
        return Outcome(tables, "No size is as large as one edge.")
    notes = [
        f"{source}, {data}: every test example is one that another graph was made from"
        for source, data in areas.loc[~areas["fresh"], ["source", "data"]].drop_duplicates().itertuples(index=False)
    ]
    said = "; ".join(_said(source, table, areas, metrics[0]) for source in named)
    return Outcome(tables, said + ".", notes=tuple(notes))


def _said(source: str, table: pd.DataFrame, areas: pd.DataFrame, metric: str) -> str:
    own = table[table["source"] == source]
    row = own.iloc[(own["fraction"] - STATED).abs().argmin()]
    said = f"{source}: circuits of {int(row['n_edges'])} edges share {row['jaccard']:.2f} (Jaccard"
    if pd.notna(row["jaccard_p"]):
        said += f"; random ones {row['jaccard_null']:.2f}, {p_words(row['jaccard_p'])}"
    here = areas[(areas["source"] == source) & (areas["data"] == THIS) & (areas["metric"] == metric)]["cpr"].dropna()
    if len(here) < 2:
        return said + ")"
    return f"{said}), CPR of {metric.replace('_', ' ')} {here.mean():.2f} ± {here.std():.2f}"
