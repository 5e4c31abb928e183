"""What is wrong with a question, told before any pass; and where numbers that are not finite come from, told after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from compgraph.catalogue import EFFECTIVE, Entry, only_clean
from compgraph.connectivity.effective.setting import Setting
from compgraph.data.batches import Batch
from compgraph.data.fit import check_data, check_metric
from compgraph.errors import DataError, ModelError
from compgraph.metrics import get_metric, needs_reference
from compgraph.models.network import Network
from compgraph.models.transformer import Transformer


def check_gradient(entry: Entry, metric: str, options: Mapping[str, Any]) -> None:
    """Refuse a metric whose gradient is zero wherever a method takes it.

    Raises
    ------
    DataError
        The metric compares with the clean run, and the method looks at nothing else.
    """
    only = only_clean(entry, options)
    if not entry.uses_gradient or not (entry.at_clean or only) or not needs_reference(metric):
        return
    flat = f"metric {metric!r} is at its minimum in the clean run, "
    if only:
        name = only.partition(":")[0]
        raise DataError(f"{flat}all that {entry.name} looks at with {only}; take {name} of at least 2")
    raise DataError(
        f"{flat}so that {entry.name} would score every edge 0; take one that does not compare with the clean run, or a "
        "method that looks away from it (eap-ig-inputs, exact)"
    )


def check_recomputation(net: Network, method: str, options: Mapping[str, Any]) -> None:
    """Refuse `recompute` where layers cannot be run again one by one.

    Raises
    ------
    ModelError
        Naming the method, the network or the option that is in the way.
    """
    if not EFFECTIVE[method].recomputes:
        able = ", ".join(name for name, entry in EFFECTIVE.items() if entry.recomputes)
        raise ModelError(f"recompute: effective method {method!r} has no such option; those that do: {able}")
    if not isinstance(net, Transformer):
        raise ModelError(f"recompute is for transformers, whose layers share a stream; this is a {net.kind} network")
    for name in ("qk_fix", "keep", "keep_overall", "matrix"):
        if options.get(name):
            raise ModelError(f"recompute cannot be combined with {name}, which needs the whole pass at once")


def check_question(setting: Setting, entry: Entry) -> None:
    """Refuse data and metrics that a method cannot work with.

    Raises
    ------
    DataError
        Data of another kind than the network's inputs, or pairs of another shape than their counterfactuals; ids that
        the network does not have; prompts longer than it can read; a metric without what it compares with, or one that
        does not give a number an example.
    """
    check_data(setting.net, setting.pairs)
    if entry.reads_metric:
        check_metric(setting.net, setting.pairs, setting.metric, differentiable=entry.uses_gradient)


# ---------------------------------------------------------------- afterwards


def explain_not_finite(setting: Setting, batch: Batch) -> str:
    """Where numbers that are not finite first occur in the clean run of a batch, or in its backward pass."""
    net = setting.net
    sites = [site.name for site in net.architecture.node_sites]
    units, logits = _run(net, batch, sites)
    for site in sites[:-1]:
        if not bool(torch.isfinite(units[site]).all()):
            return f"the units of {site} are the first in the clean run that are not finite"
    targets = batch.targets
    if needs_reference(setting.metric):
        targets = replace(targets, reference=logits.detach())
    value = get_metric(setting.metric)(logits, targets)
    if not bool(torch.isfinite(logits).all()):
        return "the logits of the clean run are not finite, and all sites before them are"
    if not bool(torch.isfinite(value).all()):
        return f"the metric {setting.metric!r} of the clean run is not finite, and the logits are"
    for site, gradient in _gradients(value, units, sites):
        if not bool(torch.isfinite(gradient).all()):
            return f"the gradient at {site} is the first, from the output back, that is not finite in the clean run"
    return "all is finite in the clean run, so it is on the way from there to the baseline"


def _run(net: Network, batch: Batch, sites: list[str]) -> tuple[dict[str, Tensor], Tensor]:
    first = sites[0]
    with torch.enable_grad():
        out = net.run(
            batch.clean,
            batch.mask,
            capture=sites[:-1],
            positions=batch.positions,
            edit={first: lambda units: units.detach().requires_grad_()},
        )
    return out.units, out.logits


def _gradients(value: Tensor, units: dict[str, Tensor], sites: list[str]) -> Iterator[tuple[str, Tensor]]:
    """Gradients at the units of the sites, from the output back; sites the metric does not depend on are left out."""
    names = list(reversed(sites[:-1]))
    found = torch.autograd.grad(value.sum(), [units[name] for name in names], allow_unused=True)
    for name, gradient in zip(names, found, strict=True):
        if gradient is not None:
            yield name, gradient
