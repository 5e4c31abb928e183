"""Numbers of one checkpoint, and of one checkpoint and the one before it, as rows of one long table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compgraph import catalogue
from compgraph.communities.agreement import adjusted_mutual_information, adjusted_rand
from compgraph.emergence.snapshots import Snapshot
from compgraph.graph import ComputationalGraph
from compgraph.rois.checkpoints import NEXT, roi_agreement
from compgraph.statistics.compare import compare_graphs
from compgraph.statistics.testing import network_statistics

Row = dict[str, Any]
CUT_NULL = "swap"
"""Null of the strongest edges of a graph: it keeps degrees, which a cut at some strength leaves meaningful."""
NUMBERS = ("value", "low", "high", "null_mean", "null_low", "null_high")


@dataclass(frozen=True)
class Settings:
    """Choices of a tracking table.

    Attributes
    ----------
    share
        Share of the edges in the circuits of fixed size.
    measures
        Network statistics that are followed.
    n_nulls
        Null graphs, and relabellings, behind each band.
    seed
        Of them.
    """

    share: float = 0.1
    measures: Sequence[str] = ("modularity",)
    n_nulls: int = 99
    seed: int = 0


def row(quantity: str, series: str, value: float, reason: str = "", **numbers: float) -> Row:
    """One row: an interval (`low`, `high`), a null (`null_mean`, `null_low`, `null_high`), what is not given NaN."""
    return {"quantity": quantity, "series": series, **dict.fromkeys(NUMBERS, math.nan), "value": value, **numbers,
            "reason": reason}  # fmt: skip


def against(null: Mapping[str, Any]) -> dict[str, float]:
    """The null of a table's row whose band is named low and high; none where it keeps the number as it is."""
    if null.get("null_sd") == 0:
        return {}
    return {"null_mean": null["null_mean"], "null_low": null["low"], "null_high": null["high"]}


def of_curves(now: Snapshot, settings: Settings) -> Iterator[Row]:
    """The whole network's metrics, and the faithfulness of circuits of a fixed share of the edges.

    Faithfulness is that of each table's first metric. Metrics that compare with the whole network say nothing of it.
    """
    yield from of_skill(now, settings)
    for name, table in now.curves.items():
        first = table[table["metric"] == table["metric"].iloc[0]]
        for task, rows in first.groupby("task", sort=False):
            series = name if task == "all" else f"{name}, {task}"
            near = rows.iloc[int((rows["fraction"] - settings.share).abs().argmin())]
            if not math.isclose(near["fraction"], settings.share):
                why = f"no circuit of {settings.share:g} of the edges was run; the nearest has {near['fraction']:g}"
                yield row("faithfulness", series, math.nan, why)
                continue
            nulls = {key: float(near[key]) for key in ("null_mean", "null_low", "null_high") if key in near}
            interval = {"low": float(near["low"]), "high": float(near["high"])}
            yield row("faithfulness", series, float(near["faithfulness"]), str(near["reason"]), **interval, **nulls)


def of_skill(now: Snapshot, settings: Settings) -> Iterator[Row]:
    """The whole network's metrics, by task; each is named once, whatever runs it was read from."""
    said: set[tuple[str, str]] = set()
    for table in now.curves.values():
        for (task, metric), rows in table.groupby(["task", "metric"], sort=False):
            known = catalogue.METRICS.get(metric)
            of_classes = "true" in rows and rows["true"].notna().any()
            if not of_classes and (task, metric) not in said and not (known and known.needs_reference):
                said.add((task, metric))
                yield row(metric, task, float(rows["model"].iloc[0]))


def of_blocks(now: Snapshot, settings: Settings) -> Iterator[Row]:
    """Number of blocks, nats per pair of the description, and the share of the one-block description saved."""
    for name, found in now.blocks.items():
        finest = found.blocks[found.blocks["level"] == 0]
        pairs = float(finest["pairs"].sum())
        yield row("n_blocks", name, float(found.n_blocks))
        length = found.description_length / pairs if pairs else math.nan
        yield row("description_length_per_edge", name, length, "" if pairs else "no pair of nodes is explained")
        yield row("compression", name, found.compression)


def of_communities(now: Snapshot, settings: Settings) -> Iterator[Row]:
    """Number of communities, and their quality beside that of null graphs."""
    for name, found in now.communities.items():
        yield row("n_communities", name, float(found.n))
        yield row("community_quality", name, found.quality, null_mean=found.null_mean, null_low=found.null_low,
                  null_high=found.null_high)  # fmt: skip


def of_statistics(now: Snapshot, settings: Settings) -> Iterator[Row]:
    """Network statistics beside their nulls."""
    for name, table in now.statistics.items():
        for one in table[table["measure"].isin(list(settings.measures))].to_dict("records"):
            yield row(one["measure"], name, one["value"], one["reason"], **against(one))


def of_circuits(now: Snapshot, settings: Settings) -> Iterator[Row]:
    """Modularity of the strongest edges of each graph, as many at every checkpoint, beside its null."""
    for name, graph in now.graphs.items():
        circuit = strongest(graph, settings.share)
        table = network_statistics(circuit, ["modularity"], CUT_NULL, settings.n_nulls, settings.seed)
        one = table.to_dict("records")[0]
        yield row("circuit_modularity", name, one["value"], one["reason"], **against(one))


def of_separability(now: Snapshot, settings: Settings) -> Iterator[Row]:
    """How far tasks use different blocks, beside shuffled tasks."""
    for name, table in now.separability.items():
        one = table.to_dict("records")[0]
        yield row("separability", name, one["index"], one["reason"], **against(one))


TURNOVER = {"top_overlap": "edge_overlap", "rank_by_layers": "edge_rank_correlation"}
"""Measures of `compare_graphs` -> quantities."""


def of_edges(before: Snapshot, now: Snapshot, settings: Settings) -> Iterator[Row]:
    """Edge turnover: overlap (Jaccard) of the strongest edges, rank correlation by layers, beside relabelled nodes."""
    for name in now.graphs:
        if name not in before.graphs:
            continue
        table = compare_graphs(
            before.graphs[name], now.graphs[name], top=settings.share, n_nulls=settings.n_nulls, seed=settings.seed,
            measures=tuple(TURNOVER),
        )  # fmt: skip
        for one in table.to_dict("records"):
            yield row(TURNOVER[one["measure"]], name, one["value"], one["reason"], **against(one))


def of_regions(before: Snapshot, now: Snapshot, settings: Settings) -> Iterator[Row]:
    """Stability of regions: agreement with those of the checkpoint before, site by site."""
    for name, partition in now.regions.items():
        if name in before.regions:
            both = {"before": before.regions[name], "now": partition}
            table = roi_agreement(both, n_permutations=settings.n_nulls, seed=settings.seed)
            chosen = table[(table["against"] == NEXT) & table["measure"].isin(["ari", "ami"])]
            for one in chosen.to_dict("records"):
                yield row(
                    f"region_{one['measure']}", f"{name}, {one['site']}", one["value"], null_mean=one["null_mean"]
                )


def of_labels(before: Snapshot, now: Snapshot, settings: Settings) -> Iterator[Row]:
    """Stability of blocks and of communities: agreement with those of the checkpoint before."""
    for name in now.blocks:
        if name in before.blocks:
            first, second = _common(_labels(before, name), _labels(now, name))
            yield row("block_ari", name, adjusted_rand(first, second), null_mean=0.0)
            yield row("block_ami", name, adjusted_mutual_information(first, second), null_mean=0.0)
    for name, found in now.communities.items():
        if name in before.communities:
            first, second = _common(before.communities[name].labels, found.labels)
            yield row("community_ari", name, adjusted_rand(first, second), null_mean=0.0)


def _labels(snapshot: Snapshot, name: str) -> dict[str, int]:
    found = snapshot.blocks[name]
    return dict(zip(found.names, found.labels.tolist(), strict=True))


def _common(first: Any, second: Any) -> tuple[list[int], list[int]]:
    shared = [node for node in first if node in second]
    return [first[node] for node in shared], [second[node] for node in shared]


def strongest(graph: ComputationalGraph, share: float) -> ComputationalGraph:
    """The strongest edges, a share of all, with all nodes."""
    return graph.top(max(1, round(share * graph.n_edges)))


OF_ONE = {
    "task metric": (of_curves, "evaluation", "curves"),
    "blocks": (of_blocks, "sbm", "blocks"),
    "communities": (of_communities, "communities", "communities"),
    "network statistics": (of_statistics, "statistics", "statistics"),
    "modularity of circuits": (of_circuits, "effective", "graphs"),
    "separability": (of_separability, "tests (method: separability)", "separability"),
}
"""What is measured at one checkpoint: its words, function, the section it reads and the field of a `Snapshot`."""

OF_TWO = {
    "edge turnover": (of_edges, "effective", "graphs"),
    "region stability": (of_regions, "rois", "regions"),
    "block stability": (of_labels, "sbm or communities", "blocks"),
}
"""What is measured of a checkpoint and the one before it."""

