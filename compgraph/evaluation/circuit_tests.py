"""One circuit through all tests of Shi et al. 2024 (arXiv 2410.13032)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from compgraph.ablation.baselines import Baseline
from compgraph.ablation.circuits import CircuitMasks, masks_for
from compgraph.errors import GraphError
from compgraph.evaluation import hypothesis_tests as tests
from compgraph.evaluation.inflated import inflated_circuits, without_one
from compgraph.evaluation.minimality import removals, rounding
from compgraph.evaluation.random_circuits import Kind, Masks, sample_circuits
from compgraph.evaluation.scores import circuit_scores
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network

if TYPE_CHECKING:
    import pandas as pd

TESTS = ("equivalence", "independence", "minimality", "sufficiency", "partial necessity")


def circuit_tests(
    net: Network,
    circuit: ComputationalGraph,
    pairs: Any,
    metric: str = "logit_difference",
    *,
    kind: Kind = "size",
    n_random: int = 100,
    connected: bool = True,
    necessity: Literal["random", "disjoint"] = "random",
    q: float = 0.9,
    epsilon: float = 0.1,
    n_permutations: int = 1000,
    alpha: float = 0.05,
    baseline: str | Baseline = "counterfactual",
    seed: int = 0,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """Equivalence, independence, minimality, sufficiency and partial necessity of a circuit under edge ablation.

    Parameters
    ----------
    net, circuit, pairs, metric
        The circuit is not pruned here.
    kind, n_random, connected
        Of the random circuits (`compgraph.evaluation.random_circuits`), the authors' being of equal `size`. Fewer than
        29 cannot reject at q = 0.9 and alpha = 0.05.
    necessity
        What losing the circuit is compared with: losing the same `random` circuits, or as many edges drawn from its
        complement (`disjoint`), which need not be connected.
    q, epsilon, n_permutations, alpha
        See `compgraph.evaluation.hypothesis_tests`.

    Returns
    -------
    DataFrame
        One row per test: `test`, `statistic`, `p`, `rejected`, `passes`, `verdict`, `n`, `note`. The p-values are each
        test's own; a claim that all five hold wants all five.

    Raises
    ------
    GraphError, DataError
        A circuit of another network, without edges, or not connected; an unknown word; data that cannot serve.

    Notes
    -----
    3 + 4 R + |C| runs of circuits, all in one pass over the data where their logits fit.
    """
    import pandas as pd

    frame = masks_for(net, circuit)
    mask = frame.mask(circuit)
    if not mask.any():
        raise GraphError("this circuit has no edges; there is nothing to test")
    random = sample_circuits(frame, mask, n_random, kind, seed, connected).masks
    lost = _lost(frame, mask, random, necessity, seed)
    inflated, new = inflated_circuits(frame.full, mask, n_random, seed)
    parts = {
        "circuit": mask[None], "complement": ~mask[None], "random": random, "lost": ~lost,
        "inflated": inflated, "deflated": without_one(inflated, new), "less": mask & ~removals(frame, mask, "edge"),
    }  # fmt: skip
    scores = circuit_scores(
        net, frame, np.concatenate(list(parts.values())), pairs, [metric], baseline=baseline, batch_size=batch_size,
        seed=seed,
    )[:, 0]  # fmt: skip
    model = scores[0]
    ends = np.cumsum([len(part) for part in parts.values()])[:-1]
    s = dict(zip(parts, np.split(scores[1:], ends), strict=True))
    floor = rounding(net, scores)
    losses = tests.loss(s["circuit"], s["less"], floor)
    reference = tests.loss(s["inflated"], s["deflated"], floor)
    own, left = s["circuit"][0], s["complement"][0]
    verdicts = [
        tests.equivalence(own, model, epsilon=epsilon, alpha=alpha, rounding=floor),
        tests.independence(left, model, n_permutations=n_permutations, alpha=alpha, rounding=floor, seed=seed),
        tests.minimality(losses, reference, q=q, alpha=alpha),
        tests.sufficiency(model, own, s["random"], q=q, alpha=alpha, rounding=floor),
        tests.partial_necessity(model, left, s["lost"], q=q, alpha=alpha, rounding=floor),
    ]
    return pd.DataFrame([_noted(verdict, mask, random, lost).row() for verdict in verdicts])


def _noted(verdict: tests.Verdict, mask: Masks, random: Masks, lost: Masks) -> tests.Verdict:
    """With how much of the circuit the random circuits have, which is what limits power in a network of few nodes."""
    if verdict.test not in ("sufficiency", "partial necessity"):
        return verdict
    drawn = random if verdict.test == "sufficiency" else lost
    share = f"random circuits have {drawn[:, mask].mean():.0%} of the circuit's edges"
    return replace(verdict, note="; ".join(filter(None, [verdict.note, share])))


def _lost(frame: CircuitMasks, mask: Masks, random: Masks, necessity: str, seed: int) -> Masks:
    """Random circuits to lose, bool [R, edges]."""
    if necessity == "random":
        return random
    if necessity != "disjoint":
        raise GraphError(f"necessity {necessity!r} is not known; valid are random, disjoint")
    others, k = np.flatnonzero(~mask), int(mask.sum())
    if k > len(others):
        raise GraphError(f"the circuit has {k} edges, its complement only {len(others)}; use necessity='random'")
    rng = np.random.default_rng([seed, 13])
    out = np.zeros_like(random)
    for row in out:
        row[rng.choice(others, k, replace=False)] = True
    return out
