"""What a circuit keeps against random ones, and which of its edges or nodes it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from compgraph.data.holding_out import Examples
from compgraph.evaluation.faithfulness import faithfulness
from compgraph.evaluation.minimality import minimality
from compgraph.evaluation.random_circuits import Kind
from compgraph.evaluation.trials.trial import Given, Outcome, nothing
from compgraph.evaluation.verdict import verdict


def run(
    given: Given,
    *,
    size: float,
    selection: str,
    options: Mapping[str, Any],
    metric: str,
    examples: Examples,
    by: Literal["edge", "node"],
    reference: Literal["inflated", "random"],
    random: Kind,
    n_random: int,
    n_bootstrap: int,
    alpha: float,
    baseline: str,
    batch_size: int | None,
    seed: int,
) -> Outcome:
    """Tables `circuit` (a row of `FaithfulnessCurve.table`) and `edges` (`minimality`; of nodes if asked so)."""
    circuit = given.circuit(size, selection, options)
    if circuit is None:
        return nothing("edges", "circuit")
    pairs = given.examples(examples)
    shared: dict[str, Any] = {"baseline": given.baseline(baseline, pairs, seed), "batch_size": batch_size, "seed": seed}
    curve = faithfulness(
        given.net, given.the_graph, pairs, [size], metrics=[metric], selection=selection, options=options, prune=True,
        n_random=n_random, random=random, n_bootstrap=n_bootstrap, **shared,
    )  # fmt: skip
    edges = minimality(
        given.net, circuit, pairs, metric, by=by, reference=reference, kind=random, n_random=n_random, alpha=alpha,
        **shared,
    )  # fmt: skip
    row = curve.table.iloc[0].to_dict() | {"fraction": circuit.n_edges / given.the_graph.n_edges}
    said = verdict(row, edges)
    numbers = {"n_edges": circuit.n_edges, "not_needed": int((~edges["needed"]).sum())}
    return Outcome({"edges": edges, "circuit": curve.table}, said, numbers)
