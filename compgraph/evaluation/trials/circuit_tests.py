"""The five tests of Shi et al. 2024 on one circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from compgraph.data.holding_out import Examples
from compgraph.evaluation.circuit_tests import circuit_tests
from compgraph.evaluation.random_circuits import Kind
from compgraph.evaluation.trials.trial import Given, Outcome, nothing


def run(
    given: Given,
    *,
    size: float,
    selection: str,
    options: Mapping[str, Any],
    metric: str,
    examples: Examples,
    random: Kind,
    n_random: int,
    necessity: Literal["random", "disjoint"],
    q: float,
    epsilon: float,
    n_permutations: int,
    alpha: float,
    baseline: str,
    batch_size: int | None,
    seed: int,
) -> Outcome:
    """Table `tests` (`circuit_tests`)."""
    circuit = given.circuit(size, selection, options)
    if circuit is None:
        return nothing("tests")
    pairs = given.examples(examples)
    table = circuit_tests(
        given.net, circuit, pairs, metric, kind=random, n_random=n_random, necessity=necessity, q=q, epsilon=epsilon,
        n_permutations=n_permutations, alpha=alpha, baseline=given.baseline(baseline, pairs, seed),
        batch_size=batch_size, seed=seed,
    )  # fmt: skip
    table = table.assign(alpha=alpha)
    said = "; ".join(f"{row.test}: {row.verdict}" for row in table.itertuples())
    passed = int(table["passes"].sum())
    opening = f"The circuit of {circuit.n_edges} edges passes {passed} of {len(table)} tests"
    return Outcome({"tests": table}, f"{opening} ({said}).", {"n_edges": circuit.n_edges, "passed": passed})
