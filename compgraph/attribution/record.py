"""The library calls: attributions in memory, or streamed into a sealed buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name every torch user knows)
from torch import Tensor

from compgraph import store
from compgraph.ablation.baselines import Baseline, Units, make_baseline
from compgraph.attribution.memory import NodeAttributions
from compgraph.attribution.probe import make_probe
from compgraph.catalogue import ATTRIBUTIONS as METHODS
from compgraph.catalogue import METRICS, Entry, load, only_clean, settings_of
from compgraph.data.batches import batch_of
from compgraph.data.buffer_layout import ATTRIBUTIONS, QUANTITIES, Pairs, Positions
from compgraph.data.buffer_plan import Plan, Source, data_digest, make_plan, recorded
from compgraph.data.buffer_writer import fill_buffer
from compgraph.data.buffers import ActivationBuffer, open_buffer
from compgraph.errors import DataError, ModelError
from compgraph.memory import available_memory
from compgraph.metrics import Metric, describe, get_metric
from compgraph.models.network import Network
from compgraph.progress import progress as show_progress
from compgraph.provenance import Provenance, code_digest

READ = ("corrupted", "answers", "distractors")
"""Fields of the data that attributions depend on and activations do not."""


def node_attributions(
    net: Network,
    pairs: Pairs,
    *,
    sites: str | Iterable[str] = "*",
    method: str = "attribution-patching",
    metric: str = "logit_difference",
    baseline: str | Baseline | None = None,
    reference: Any = None,
    positions: Positions = "all",
    batch_size: int = 32,
    seed: int = 0,
    **options: Any,
) -> NodeAttributions:
    """What each unit contributes to a metric: per example and position, in memory.

    `record_attributions` writes the same numbers to disk, for data of any size.

    Parameters
    ----------
    net
        Transformer or chain.
    pairs
        `PromptPairs` or `ImagePairs`.
    sites
        Names or patterns of sites, `resid.*` too (see `compgraph.data.buffer_layout.select_sites`).
    method
        `activation-x-gradient`, `attribution-patching` or `integrated-gradients` (`compgraph.attribution.methods`
        says what each is and which sign it has).
    metric
        A differentiable metric (`compgraph.metrics`); its gradient is that of each example by itself.
    baseline
        What replaces the value of an ablated unit (`compgraph.ablation.baselines`); None for `counterfactual`, and
        for `activation-x-gradient`, which takes none.
    reference
        Other data from which the baseline takes means, covariances or samples; None: from `pairs`.
    positions
        Tokens to keep: `all`, `last`, `scored`, or their numbers (`compgraph.data.buffer_layout.select_rows`).
    batch_size
        Examples per pass. Numbers do not depend on it, but for rounding.
    seed
        Of what the baseline draws.
    options
        `steps` of `integrated-gradients`.

    Returns
    -------
    NodeAttributions
        An array [rows, units] per site, in the network's precision; rows are examples by positions.

    Raises
    ------
    DataError, ModelError
        Unknown names, data without what metric or baseline need, a metric without a gradient in the clean run, or
        the logits of a transformer asked for; more numbers than fit into memory; attributions that are not finite.
    """
    about, source = _prepare(net, pairs, method, metric, baseline, reference, seed, options)
    plan = _plan(net, pairs, sites, positions, "float32", batch_size, (), about, 16 << 20)
    _check_memory(net, plan)
    parts: dict[str, list[np.ndarray]] = {site.name: [] for site in plan.sites}
    with show_progress("attributions", pairs.n, "images" if plan.values.ndim > 2 else "prompts") as shown:
        done = 0
        for block in recorded(plan, source(plan), 0):
            for name, part in block.units.items():
                parts[name].append(_checked(part, name, plan, pairs, block.first).numpy())
            shown.advance(block.items_done - done)
            done = block.items_done
    values = {name: np.concatenate(found) for name, found in parts.items()}
    return NodeAttributions(net.architecture, values, plan.item, plan.position, np.asarray(pairs.ids), plan.attributes)


def write_attributions(
    net: Network,
    pairs: Pairs,
    draft_path: str | Path,
    *,
    sites: str | Iterable[str] = "*",
    method: str = "attribution-patching",
    metric: str = "logit_difference",
    baseline: str | Baseline | None = None,
    reference: Any = None,
    positions: Positions = "all",
    dtype: str = "float32",
    batch_size: int = 32,
    compress: Iterable[str] = (),
    seed: int = 0,
    chunk_bytes: int = 16 << 20,
    **options: Any,
) -> dict[str, Any]:
    """Write attributions into the draft of a Zarr store, or finish an interrupted one.

    The store is that of `compgraph.data.buffer_writer.write_buffer`, read by the same reader.

    Parameters
    ----------
    draft_path
        As for `write_buffer`. An interrupted store is continued if it was begun with the same network, data and
        parameters.
    dtype
        Precision on disk. Attributions of single units are small: below 6e-8 float16 holds nothing but zero.
    compress, chunk_bytes
        As for `write_buffer`.
    others
        As for `node_attributions`.

    Returns
    -------
    dict
        A summary for the manifest.

    Raises
    ------
    DataError, ModelError
        As `node_attributions`, and numbers too large for `dtype`.
    StoreError
        If the disk is too small.
    """
    about, source = _prepare(net, pairs, method, metric, baseline, reference, seed, options)
    plan = _plan(net, pairs, sites, positions, dtype, batch_size, tuple(compress), about, chunk_bytes)
    summary = fill_buffer(net, pairs, Path(draft_path), plan, source(plan), progress="attributions")
    said = {name: value for name, value in about["attribution"].items() if name != "data"}
    return summary | {"quantity": about["quantity"], **said}


def record_attributions(
    net: Network, pairs: Pairs, manifest_path: str | Path, *, resume: bool = True, **options: Any
) -> ActivationBuffer:
    """Record a sealed buffer of attributions and open it.

    Functional graphs and regions of interest read it as they read one of activations.

    Parameters
    ----------
    net, pairs
        As for `node_attributions`.
    manifest_path
        The manifest, ``….json``; the store lies beside it as ``….zarr``.
    resume
        Continue an interrupted attempt, and leave one to continue.
    options
        Of `write_attributions`.

    Raises
    ------
    DataError, ModelError, StoreError
        As `write_attributions`.
    """
    path = Path(manifest_path)
    inputs = {"model": net.digest, "data": data_digest(pairs, "clean", READ)}
    plain = {name: _plain(value) for name, value in options.items() if name != "reference"}
    code = code_digest([__name__, *{entry.module for entry in METHODS.values()}])
    made = Provenance("attributions", plain, options.get("seed", 0), inputs, code)
    with store.create(path, ATTRIBUTIONS, f"{path.stem}.zarr", made, resume=resume) as draft:
        draft.summary = write_attributions(net, pairs, draft.path, **options)
    return open_buffer(path)


def _plain(option: Any) -> Any:
    """An option as plain data: a baseline object says what it is."""
    if isinstance(option, (tuple, set)):
        return list(option)
    return option.about() if hasattr(option, "about") else option


SourceOf = Callable[[Plan], Source]


def _prepare(
    net: Network,
    pairs: Any,
    method: str,
    metric: str,
    baseline: str | Baseline | None,
    reference: Any,
    seed: int,
    options: dict[str, Any],
) -> tuple[dict[str, Any], SourceOf]:
    """Check what is asked; return the attributes that say it, and what gives the numbers of a batch."""
    if method not in METHODS:
        raise DataError(f"attribution method {method!r} is not known; valid are {', '.join(METHODS)}")
    entry = METHODS[method]
    settings = settings_of(entry, options, "attribution method")
    measure = _measure(entry, metric, settings)
    if not entry.takes_baseline and (baseline is not None or reference is not None):
        raise DataError(f"attribution method {method!r} takes no baseline, so that none can be given")
    made = None
    if entry.takes_baseline:
        made = make_baseline(baseline or "counterfactual", net, pairs, reference=reference, seed=seed)
    said = {"method": method, "metric": metric, **(made.about() if made else {}), **settings}
    about = {"quantity": QUANTITIES[ATTRIBUTIONS], "attribution": said | {"data": data_digest(pairs, "clean", READ)}}
    numbers = partial(load(entry), baseline=made, **settings)

    def rows(plan: Plan, batch: slice) -> Units:
        inputs = batch_of(net, pairs, np.arange(batch.start, batch.stop))
        found = numbers(make_probe(net, inputs, [site.name for site in plan.sites], measure, metric))
        return {site: _in_place(value, plan, batch) for site, value in found.items()}

    return about, lambda plan: partial(rows, plan)


def _measure(entry: Entry, metric: str, settings: Mapping[str, Any]) -> Metric:
    """The metric, if it has a gradient where the method takes it."""
    measure = get_metric(metric, differentiable=True)
    if (entry.at_clean or only_clean(entry, settings)) and describe(metric).needs_reference:
        fit = [m.name for m in METRICS.values() if m.differentiable and not m.needs_reference]
        raise DataError(
            f"metric {metric!r} is flat in the clean run, whose gradient {entry.name!r} takes; valid: {', '.join(fit)}"
        )
    return measure


def _plan(
    net: Network,
    pairs: Pairs,
    sites: str | Iterable[str],
    positions: Positions,
    dtype: str,
    batch_size: int,
    compress: tuple[str, ...],
    about: dict[str, Any],
    chunk_bytes: int,
) -> Plan:
    plan = make_plan(net, pairs, sites, positions, dtype, batch_size, "clean", compress, chunk_bytes, about)
    if net.kind == "transformer" and "logits" in {site.name for site in plan.sites}:
        raise ModelError("attributions: 'logits' is what the metric reads, at one position alone; name other sites")
    return plan


def _check_memory(net: Network, plan: Plan) -> None:
    """Refuse what does not fit: every number once by batches and once joined."""
    needed, free = 2 * plan.rows * sum(site.n_units for site in plan.sites) * net.dtype.itemsize, available_memory()
    if free is not None and needed > free:
        raise DataError(
            f"attributions of {plan.rows} rows need about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
            "name fewer sites or positions, or write them to disk with record_attributions"
        )


def _in_place(value: Tensor, plan: Plan, rows: slice) -> Tensor:
    """Put back the padding that `batch_of` cut off, so that positions are those of the whole token array."""
    if value.ndim == 2 or value.shape[1] == plan.values.shape[1]:
        return value
    assert plan.mask is not None
    first = int(np.argmax(plan.mask[rows].any(0)))
    return F.pad(value, (0, 0, first, plan.values.shape[1] - first - value.shape[1]))


def _checked(values: Tensor, site: str, plan: Plan, pairs: Pairs, first: int) -> Tensor:
    """The same rows, if they are finite; numpy has no bfloat16."""
    finite = torch.isfinite(values).all(1)
    if not bool(finite.all()):
        row = first + int((~finite).int().argmax())
        raise DataError(f"attributions at {site} of item {str(pairs.ids[plan.item[row]])!r} are not finite")
    return values.float() if values.dtype == torch.bfloat16 else values
