"""Circuits alone, and the network without them, by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compgraph.data.holding_out import Examples
from compgraph.evaluation.knock_out import knock_in_out
from compgraph.evaluation.planning import circuit_of_size
from compgraph.evaluation.trials.trial import Given, Outcome


def run(
    given: Given,
    *,
    sizes: Sequence[float],
    selection: str,
    options: Mapping[str, Any],
    prune: bool,
    ablation: str,
    metrics: Sequence[str],
    examples: Examples,
    n_bootstrap: int,
    baseline: str,
    batch_size: int | None,
    seed: int,
) -> Outcome:
    """Table `circuits` (`knock_in_out`, with `size` and `fraction`)."""
    pairs, graph = given.examples(examples), given.the_graph
    circuits = [circuit_of_size(graph, size, selection, options) for size in sizes]
    circuits = [circuit.prune() if prune else circuit for circuit in circuits]
    table = knock_in_out(
        given.net, circuits, pairs, metrics=metrics, ablation=ablation,
        baseline=given.baseline(baseline, pairs, seed), n_bootstrap=n_bootstrap, seed=seed, batch_size=batch_size,
    )  # fmt: skip
    table.insert(1, "size", [sizes[k] for k in table["circuit"]])
    table.insert(2, "fraction", table["n_edges"] / graph.n_edges)
    table["ablation"] = ablation
    first = table[table["metric"] == metrics[0]]
    known = first.dropna(subset=["overlap"])
    if known.empty:
        return Outcome({"circuits": table}, f"Faithfulness is undefined at every size: {first['reason'].iloc[0]}.")
    row = known.loc[known["overlap"].abs().idxmax()]
    kind = "what circuit and rest can both do" if row["overlap"] > 0 else "what takes the two together"
    said = (
        f"Overlap is largest with {int(row['n_edges'])} edges: {row['overlap']:.2f}"
        f" ({row['overlap_low']:.2f} to {row['overlap_high']:.2f}), {kind}; the circuit keeps"
        f" {row['faithfulness']:.2f}, the network without it {row['completeness']:.2f}."
    )
    return Outcome({"circuits": table}, said)
