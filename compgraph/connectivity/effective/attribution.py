"""The walk over the data that all gradient methods share.

A method says, for one batch, which gradient passes are averaged (`GradientPass`); everything else — baselines,
changes of writes, scores of all edges, means and standard errors over examples — is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.ablation.baselines import baseline_units, silent_sites
from compgraph.catalogue import EFFECTIVE, load
from compgraph.connectivity.effective.chains import ChainScorer
from compgraph.connectivity.effective.passes import PassContext, Passes, Scorer
from compgraph.connectivity.effective.streams import StreamScorer
from compgraph.connectivity.effective.tally import EdgeTally
from compgraph.data.batches import Batch, batches
from compgraph.errors import DataError, GraphError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import NEEDS_REFERENCE, Metric, get_metric
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.progress import track

MEMORY_PER_BATCH = 2**28
"""Bytes that the writes of one batch may take; decides the batch size where none is given."""


def effective_connectivity(
    net: Network,
    pairs: Any,
    partition: Partition,
    method: str = "eap",
    *,
    metric: str | None = None,
    baseline: str = "counterfactual",
    split_qkv: bool = True,
    batch_size: int | None = None,
    seed: int = 0,
    **options: Any,
) -> ComputationalGraph:
    """Effective connectivity between the nodes of a partition.

    Parameters
    ----------
    net
        Transformer or chain.
    pairs
        `PromptPairs` or `ImagePairs`.
    partition
        The nodes.
    method
        A registered method (`compgraph.catalogue.EFFECTIVE`); what each is, costs and misses: docs/methods.md.
    metric
        A metric, differentiable where the method needs a gradient; see `compgraph.metrics`. None: the method's
        own (`logit_difference`; `kl` for those that remove edges until the output changes).
    baseline
        What replaces the value of an ablated node; see `compgraph.ablation.baselines`.
    split_qkv
        Whether queries, keys and values of attention are destinations of their own.
    batch_size
        Examples per pass; chosen to bound memory where None. The scores do not depend on it.
    seed
        For methods that draw.
    options
        The method's own, as registered: `steps` of the integrated ones, `tau` of `acdc`, …

    Returns
    -------
    ComputationalGraph
        Every edge the architecture allows, weight in units of the metric, with the column `stderr`: the
        standard error of the mean over examples.

    Raises
    ------
    DataError, GraphError, ModelError
        Unknown names, data without what method or metric need, a partition that does not fit.
    """
    if method not in EFFECTIVE:
        raise GraphError(f"effective method {method!r} is not known; valid are {', '.join(EFFECTIVE)}")
    if net.kind not in EFFECTIVE[method].serves:
        raise ModelError(f"effective method {method!r} does not serve {net.kind} networks")
    valid = [option.name for option in EFFECTIVE[method].options]
    if unknown := sorted(set(options) - set(valid)):
        listed = ", ".join(valid) or "none"
        raise GraphError(f"effective method {method!r} has no option {unknown[0]!r}; its options: {listed}")
    graph: ComputationalGraph = load(EFFECTIVE[method])(
        net,
        pairs,
        partition,
        metric=metric or EFFECTIVE[method].metric,
        baseline=baseline,
        split_qkv=split_qkv,
        batch_size=batch_size,
        seed=seed,
        **options,
    )
    return graph


def attribute(
    net: Network,
    pairs: Any,
    partition: Partition,
    passes: Passes,
    *,
    method: str,
    metric: str,
    baseline: str,
    split_qkv: bool,
    batch_size: int | None,
    scorer: Scorer | None = None,
    fold: Callable[[Tensor], Tensor] | None = None,
    observe: Callable[[npt.NDArray[Any], npt.NDArray[Any]], None] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> ComputationalGraph:
    """Average scores of all edges over the passes of a method and over examples.

    The mean is a true mean over examples whatever the batch size; sums are kept in float64.

    Parameters
    ----------
    scorer
        In place of the usual one for the network.
    fold
        Applied to the averaged scores of a batch, [batch, anything] -> [batch, edges].
    observe
        Called with the rows of every batch and their scores, [batch], [batch, edges].
    attributes
        Further attributes of the graph.
    """
    measure = get_metric(metric, differentiable=True)
    partition.check_causal(net)
    scorer = scorer or _scorer(net, partition, split_qkv)
    tally = EdgeTally(net, partition, split_qkv, scorer.per_example)
    size = batch_size or int(np.clip(MEMORY_PER_BATCH // scorer.bytes_per_example(pairs), 1, pairs.n))
    steps = -(-pairs.n // size)
    for batch in track(batches(net, pairs, size), description=method, total=steps, unit="batch"):
        scores = _scores(net, partition, scorer, batch, passes, measure, baseline).double()
        scores = scores if fold is None else fold(scores)
        if not torch.isfinite(scores).all():
            row = batch.rows[int((~torch.isfinite(scores)).any(1).int().argmax())]
            raise DataError(f"{method}: scores of example {pairs.ids[row]!r} (or of its batch) are not finite")
        tally.add(scores.cpu().numpy())
        if observe is not None:
            observe(batch.rows, scores.cpu().numpy())
    about = {"method": method, "metric": metric, "baseline": baseline, **(attributes or {})}
    return tally.graph(pairs.n, about)


def _scorer(net: Network, partition: Partition, split_qkv: bool) -> Scorer:
    if isinstance(net, Transformer):
        return StreamScorer(net, partition, split_qkv)
    if isinstance(net, Sequential):
        return ChainScorer(net, partition)
    raise ModelError(f"gradient attribution has no scorer for {type(net).__name__}")


def _scores(
    net: Network,
    partition: Partition,
    scorer: Scorer,
    batch: Batch,
    passes: Passes,
    measure: Metric,
    baseline: str,
) -> Tensor:
    """Averaged scores of one batch, [batch, edges]."""
    base = baseline_units(net, batch, baseline, scorer.sources)
    silent = silent_sites(partition, baseline)
    targets, change, total = batch.targets, None, None
    if measure.__name__ in NEEDS_REFERENCE:
        with torch.no_grad():
            reference = net.run(batch.clean, batch.mask, positions=batch.positions).logits
        targets = replace(targets, reference=reference)
    for step in passes(PassContext(net, batch, base, silent)):
        result = scorer.run(batch, step.edit, measure, targets)
        if step.ends is not None:
            moved = scorer.change(*step.ends(result.units))
        elif change is None:
            clean = result.units
            if step.edit:
                with torch.no_grad():
                    clean = net.run(batch.clean, batch.mask, capture=scorer.sources, positions=batch.positions).units
            moved = change = scorer.change(clean, base, silent)
        else:
            moved = change
        scores = scorer.scores(moved, result, batch) * step.weight
        total = scores if total is None else total + scores
    if total is None:
        raise ValueError("a method must make at least one gradient pass")
    return total
