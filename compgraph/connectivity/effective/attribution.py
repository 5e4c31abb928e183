"""The walk over the data that all gradient methods share.

A method says, for one batch, which gradient passes are averaged (`GradientPass`); everything else — baselines,
changes of writes, scores of all edges, means and standard errors over examples — is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.ablation.baselines import (
    Baseline,
    Units,
    baseline_values,
    check_nodes,
    make_baseline,
    silent_sites,
)
from compgraph.catalogue import EFFECTIVE, load, load_cost
from compgraph.connectivity.effective.chains import ChainScorer
from compgraph.connectivity.effective.checks import (
    check_gradient,
    check_question,
    check_recomputation,
    explain_not_finite,
)
from compgraph.connectivity.effective.cost import announce, measured
from compgraph.connectivity.effective.edge_memory import check_memory
from compgraph.connectivity.effective.features import FeatureScorer
from compgraph.connectivity.effective.passes import PassContext, Passes, PassResult, Scorer
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.tally import EdgeTally
from compgraph.data.batches import Batch, batches
from compgraph.errors import DataError, GraphError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import Metric, get_metric, needs_reference
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.patterns import SUFFIX
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
    baseline: str | Baseline = "counterfactual",
    reference: Any = None,
    split_qkv: bool = True,
    batch_size: int | None = None,
    recompute: bool = False,
    bootstrap: int = 0,
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
    reference
        Other data from which the baseline takes means, covariances or samples; None: from `pairs`.
    split_qkv
        Whether queries, keys and values of attention are destinations of their own.
    batch_size
        Examples per pass; chosen to bound memory where None. The scores do not depend on it.
    recompute
        Whether passes keep only the stream in front of every layer, and run each layer again on the way back: one
        forward pass more for each backward pass, and the memory of one layer's activations. For transformers and
        the methods that average gradients; scores are the same up to rounding.
    bootstrap
        Resamples of the examples from which intervals are made (columns `low`, `high`: 95 %, and
        `sign_consistency`, the share of examples whose score has the mean's sign); 0 for none.
    seed
        For methods and baselines that draw.
    options
        The method's own, as registered: `steps` of the integrated ones, `tau` of `acdc`, …

    Returns
    -------
    ComputationalGraph
        Every edge the architecture allows, weight in units of the metric, with the column `stderr`: the
        standard error of the mean over examples. With `keep`, `keep_overall` or `matrix` the strongest edges only
        (`compgraph.connectivity.effective.large`). The attribute `passes` counts the forward and backward passes of
        each example that were really made, parts of passes as fractions; `model` is the digest of the network, where it
        has one.

    Raises
    ------
    DataError, GraphError, ModelError
        Unknown names, data without what method or metric need, a partition that does not fit; an estimate of memory
        above what is free (`compgraph.connectivity.effective.costs`).
    """
    if method not in EFFECTIVE:
        raise GraphError(f"effective method {method!r} is not known; valid are {', '.join(EFFECTIVE)}")
    entry = EFFECTIVE[method]
    if net.kind not in entry.serves:
        raise ModelError(f"effective method {method!r} does not serve {net.kind} networks")
    valid = [*(option.name for option in entry.options), *entry.arguments]
    if unknown := sorted(set(options) - set(valid)):
        listed = ", ".join(valid) or "none"
        raise GraphError(f"effective method {method!r} has no option {unknown[0]!r}; its options: {listed}")
    if bootstrap and not entry.averages_examples:
        raise GraphError(f"effective method {method!r} does not average over examples, so that bootstrap must be 0")
    check_gradient(entry, metric or entry.metric, options)
    if recompute:
        check_recomputation(net, method, options)
    partition.check_causal(net)
    # Where the baseline plays no part the data need not have what it is made from.
    used = baseline if entry.takes_baseline else "zero"
    made = make_baseline(used, net, pairs, reference=reference, seed=seed, partition=partition)
    check_nodes(made, partition)
    setting = Setting(
        net,
        pairs,
        partition,
        metric or entry.metric,
        made,
        split_qkv,
        batch_size,
        seed,
        bootstrap,
        recompute,
    )
    check_question(setting, entry)
    announce(method, load_cost(entry)(setting, **options), setting)
    with measured(method, setting) as passes:
        graph: ComputationalGraph = load(entry)(setting, **options)
    graph.attributes.setdefault("passes", passes.per_example(int(pairs.n)))
    if net.digest:
        graph.attributes["model"] = net.digest
    return graph


def attribute(
    setting: Setting,
    passes: Passes,
    *,
    method: str,
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
    net, pairs = setting.net, setting.pairs
    measure = get_metric(setting.metric, differentiable=True)
    scorer = scorer or scorer_of(net, setting.partition, setting.split_qkv, setting.recompute)
    check_memory(setting)
    tally = EdgeTally(setting, scorer.per_example)
    size = setting.batch_size or int(np.clip(MEMORY_PER_BATCH // scorer.bytes_per_example(pairs), 1, pairs.n))
    steps = -(-pairs.n // size)
    for batch in track(batches(net, pairs, size), description=method, total=steps, unit="batch"):
        scores = _scores(setting, scorer, batch, passes, measure).double()
        scores = scores if fold is None else fold(scores)
        if not torch.isfinite(scores).all():
            row = batch.rows[int((~torch.isfinite(scores)).any(1).int().argmax())]
            raise DataError(
                f"{method}: scores of example {str(pairs.ids[row])!r} (or of its batch) are not finite: "
                f"{explain_not_finite(setting, batch)}"
            )
        tally.add(scores.cpu().numpy(), batch.rows)
        if observe is not None:
            observe(batch.rows, scores.cpu().numpy())
    return tally.graph(setting.about(method, **(attributes or {})))


def scorer_of(net: Network, partition: Partition, split_qkv: bool, recompute: bool = False) -> Scorer:
    """The usual scorer for a network."""
    if isinstance(net, Transformer):
        return FeatureScorer(net, partition, split_qkv, recompute)
    if isinstance(net, Sequential):
        return ChainScorer(net, partition)
    raise ModelError(f"gradient attribution has no scorer for {type(net).__name__}")


def _scores(setting: Setting, scorer: Scorer, batch: Batch, passes: Passes, measure: Metric) -> Tensor:
    """Averaged scores of one batch, [batch, edges]."""
    total = None
    for change, result, weight in gradient_passes(setting, scorer, batch, passes, measure):
        scores = scorer.scores(change, result, batch)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32)) * weight
        total = scores if total is None else total + scores
    if total is None:
        raise ValueError("a method must make at least one gradient pass")
    return total


def gradient_passes(
    setting: Setting, scorer: Scorer, batch: Batch, passes: Passes, measure: Metric
) -> Iterator[tuple[Any, PassResult, float]]:
    """The passes of a method over one batch: the change of writes (one object while it stays the same), the pass
    ready for its backward half, and its weight."""
    net = setting.net
    silent = silent_sites(setting.partition, setting.baseline)
    base = baseline_values(setting.baseline, net, batch, scorer.sources, silent)
    targets, change = batch.targets, None
    if needs_reference(setting.metric):
        with torch.no_grad():
            reference = net.run(batch.clean, batch.mask, positions=batch.positions).logits
        targets = replace(targets, reference=reference)
    for step in passes(PassContext(net, batch, base, silent)):
        if change is None and step.edit and step.ends is None:  # before the pass, so that its tape does not lie beside
            with torch.no_grad():
                change = scorer.change(_clean_units(net, batch, scorer.sources), base, silent)
        result = scorer.run(batch, step.edit, measure, targets)
        if step.ends is not None:
            moved = scorer.change(*step.ends(result.units))
        else:
            moved = change = scorer.change(result.units, base, silent) if change is None else change
        if change is not None:
            base = {}  # what a method still needs of it, its passes hold
        # Units are dropped before the backward pass, the tape before the next forward pass.
        if isinstance(net, Transformer):
            result.units = {name: value for name, value in result.units.items() if name.endswith(SUFFIX)}
        yield moved, result, step.weight
        result.tape = None


def _clean_units(net: Network, batch: Batch, sites: Sequence[str]) -> Units:
    """Units of the clean run; logits, which are dear, are not computed."""
    if isinstance(net, Transformer):
        return net.capture(batch.clean, batch.mask, sites)
    return net.run(batch.clean, batch.mask, capture=sites, positions=batch.positions).units
