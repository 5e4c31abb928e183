"""Block ablation: remove the blocks that serve one task, or all the others, and measure every task.

For a target task, its nodes are ablated (`removed`), or all other nodes in any block are (`kept`), and each task is
measured by its faithfulness (m(C) - m(0)) / (m(M) - m(0)), a ratio of means over its examples: M is the whole network,
0 the network with the nodes of all blocks ablated. If blocks are specific, the diagonal of the matrix target × measured
task is low where they are removed and high where they alone are kept.

The null gives each node the role of another: roles (which target the node serves, if any) are shuffled among nodes of
the same kind of site, so that as many nodes of each kind are ablated, and targets stay disjoint.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from compgraph.ablation.baselines import Baseline, make_baseline
from compgraph.ablation.per_example import node_runs
from compgraph.errors import DataError, GraphError
from compgraph.evaluation.intervals import Floats, band, resamples, tail_p
from compgraph.evaluation.profiles import NONE, Labelled, Labels, node_blocks
from compgraph.metrics import get_metric
from compgraph.models.network import Network
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.partition import Partition

if TYPE_CHECKING:
    import pandas as pd

Among = Literal["kind", "site", "all"]
MODES = ("removed", "kept")
INPUTS = ("embed", "input")
"""Sites whose nodes are the data: always kept unless asked otherwise."""
NOTHING_LOST = "ablating all blocks changes nothing here: there is no loss to measure against"


@dataclass(frozen=True)
class BlockAblation:
    """What each target's blocks are to each task.

    Attributes
    ----------
    table
        One row per target, measured task, mode (`removed`, `kept`) and metric: n_nodes and n_units (of the target's
        blocks), n_examples, value (mean of the ablated network), model, empty (means of the whole network and with all
        blocks ablated), faithfulness, low, high (95 % bootstrap interval over examples), null_mean, null_low,
        null_high (of the null's faithfulness), p (two-sided), q (p adjusted over the cells of a mode and metric,
        Benjamini & Hochberg 1995), reason (why numbers are missing, else "").
    selectivity
        One row per mode, metric and `of` (`faithfulness`, or the metric's own `value`: for those that lie between 0
        and 1 for every task, such as accuracy, whose loss against an ablated network that always gives the same
        answer has no one sign): value (mean of the other tasks minus that of the target where its blocks are removed;
        the other way round where they are kept; averaged over targets), null_mean, null_low, null_high, p
        (one-sided), n_targets.
    attributes
        Baseline, null, numbers of draws and resamples, sites always kept, number of examples.
    """

    table: pd.DataFrame
    selectivity: pd.DataFrame
    attributes: dict[str, Any]

    def matrix(self, mode: str, metric: str, column: str = "faithfulness") -> pd.DataFrame:
        """Targets (rows) by measured tasks (columns)."""
        rows = self.table[(self.table["mode"] == mode) & (self.table["metric"] == metric)]
        if rows.empty:
            raise ValueError(f"no rows of mode {mode!r} and metric {metric!r} in this table")
        return rows.pivot(index="target", columns="task", values=column)


def block_ablation(
    net: Network,
    partition: Partition,
    pairs: Any,
    blocks: Labelled | ArrayLike | None,
    serving: Mapping[str, Collection[int]],
    *,
    metrics: Sequence[str] = ("logit_difference",),
    baseline: str | Baseline = "counterfactual",
    always_kept: Collection[str] = INPUTS,
    among: Among = "kind",
    n_null: int = 99,
    n_bootstrap: int = 1000,
    batch_size: int | None = None,
    seed: int = 0,
) -> BlockAblation:
    """Task × task effects of ablating blocks (see above).

    Parameters
    ----------
    net, partition
        The network, and its nodes: every node site, as for `ablate_nodes`.
    pairs
        Examples of all tasks (`pairs.task`); preferably not those that `serving` was found on.
    blocks
        `BlockModel`, `Communities`, int [n_nodes] with -1 for nodes in no block, or None: every node is a block.
    serving
        Target -> numbers of its blocks, as `Separability.serving()` gives them.
    metrics
        Names; see `compgraph.metrics`.
    baseline
        What ablated nodes are held at.
    always_kept
        Sites that are never ablated, whatever block their nodes are in. The output never is.
    among
        Nodes that change roles under the null: those of one `kind` of site, of one `site`, or `all`.
    n_null
        Draws of the null.
    n_bootstrap, seed
        Resamples of the examples; the seed is that of the null's draws and of a baseline that draws too.

    Raises
    ------
    GraphError, DataError
        Blocks that do not fit, a target whose blocks do not exist or that shares one with another, a metric or
        baseline the data cannot serve.

    Notes
    -----
    Two passes per target and draw; equal masks run once. Memory: a number per pass, metric and example.
    """
    import pandas as pd

    if among not in ("kind", "site", "all"):
        raise GraphError(f"among {among!r} is not known; valid are kind, site, all")
    if n_null < 0 or n_bootstrap < 0:
        raise DataError(f"n_null {n_null} and n_bootstrap {n_bootstrap} must be at least 0")
    given = node_blocks(partition, blocks)
    labels = _ablatable(net, partition, given, always_kept)
    roles = _roles(labels, serving, int(given.max()) + 1)
    masks = _masks(labels, roles, len(serving), _strata(net, partition, among), n_null, seed)
    made = make_baseline(baseline, net, pairs, seed=seed, partition=partition)
    values = _values(net, partition, masks, pairs, metrics, made, batch_size)
    tasks = np.unique(pairs.task)
    sizes = partition.nodes(net)["size"]
    rows, found = [], []
    for m, metric in enumerate(metrics):
        cells = {task: _Cells(values[:, m, pairs.task == task], n_bootstrap, seed) for task in tasks}
        for k, mode in enumerate(MODES):
            rows += _rows(cells, list(serving), k, sizes, roles, {"mode": mode, "metric": metric})
            for of in ("faithfulness", "value"):
                about = {"mode": mode, "metric": metric, "of": of}
                found.append(about | _selectivity(cells, list(serving), k, roles, of))
    attributes = {
        **made.about(),
        "among": among,
        "n_null": n_null,
        "n_bootstrap": n_bootstrap,
        "always_kept": sorted(always_kept),
        "n_examples": int(pairs.n),
        "seed": seed,
    }
    return BlockAblation(_table(rows), pd.DataFrame(found), attributes)


def _ablatable(net: Network, partition: Partition, labels: Labels, always_kept: Collection[str]) -> Labels:
    """Labels, -1 for what is never ablated."""
    partition.check_causal(net)
    sites = partition.nodes(net)["site"]
    ablated = [site.name for site in net.architecture.node_sites[:-1] if site.name not in always_kept]
    free = np.where(np.isin(sites, ablated), labels, NONE)
    if (free == NONE).all():
        raise GraphError(f"blocks: no node in a block is at a site that may be ablated ({', '.join(ablated)})")
    return free


def _strata(net: Network, partition: Partition, among: Among) -> NDArray[Any]:
    """What nodes must share to change roles, [n_nodes]."""
    sites = partition.nodes(net)["site"].astype(str)
    if among == "site":
        return sites
    if among == "all":
        return np.full(len(sites), "all")
    kinds = {site.name: site.kind for site in net.architecture.sites}
    return np.array([kinds[site] for site in sites])


def _roles(labels: Labels, serving: Mapping[str, Collection[int]], n_blocks: int) -> Labels:
    """Number of the target that each node serves, -1 for none, [n_nodes]."""
    if not serving:
        raise DataError("block ablation needs at least one target task and its blocks")
    roles = np.full(len(labels), NONE)
    for number, (target, blocks) in enumerate(serving.items()):
        if strange := [block for block in blocks if not 0 <= block < n_blocks]:
            raise GraphError(f"target {target!r}: there is no block {strange[0]}; blocks are 0 to {n_blocks - 1}")
        own = np.isin(labels, list(blocks))
        if (taken := own & (roles != NONE)).any():
            raise GraphError(
                f"target {target!r} shares block {labels[taken][0]} with another; targets must be disjoint"
            )
        roles[own] = number
    return roles


def _masks(
    labels: Labels, roles: Labels, n_targets: int, strata: NDArray[Any], n_null: int, seed: int
) -> NDArray[np.bool_]:
    """Kept nodes [1 + (1 + n_null) * targets * 2, n_nodes]: everything in blocks ablated, then per draw (the first is
    the observed one), target and mode."""
    rng = np.random.default_rng(seed)
    free = labels != NONE
    groups = [np.flatnonzero(free & (strata == value)) for value in np.unique(strata[free])]
    masks = [~free]
    for draw in range(1 + n_null):
        own = roles.copy()
        if draw:
            for group in groups:
                own[group] = rng.permutation(roles[group])
        for target in range(n_targets):
            masks += [own != target, ~free | (own == target)]
    return np.stack(masks)


def _values(
    net: Network,
    partition: Partition,
    masks: NDArray[np.bool_],
    pairs: Any,
    metrics: Sequence[str],
    baseline: Baseline,
    batch_size: int | None,
) -> Floats:
    """[1 + masks, metrics, examples]: the whole network, then the masks."""
    measures = [get_metric(name) for name in metrics]
    distinct, which = np.unique(masks, axis=0, return_inverse=True)
    columns = []
    runs = node_runs(net, partition, lambda rows: distinct[:, None], pairs, baseline=baseline, batch_size=batch_size)
    with torch.no_grad():
        for batch, logits in runs:
            model = net.run(batch.clean, batch.mask, positions=batch.positions).logits
            to = replace(batch.targets, reference=model)
            found = [[measure(run, to).double().cpu().numpy() for measure in measures] for run in (model, *logits)]
            columns.append(np.array(found))
    values = np.concatenate(columns, 2)
    if not np.isfinite(values).all():
        _, m, row = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"example {str(pairs.ids[row])!r}: metric {metrics[m]!r} is not finite in an ablated network")
    return values[np.concatenate([[0], 1 + which.ravel()])]


class _Cells:
    """Faithfulness of all passes on one task's examples.

    Attributes
    ----------
    mean
        [1 + masks] means of the metric over the examples.
    n
        Number of examples.
    """

    def __init__(self, values: Floats, n_bootstrap: int, seed: int) -> None:
        self.values, self.n = values, values.shape[1]
        self.mean = values.mean(1)
        model, empty = self.mean[:2]
        self.defined = abs(model - empty) > 1e-6 * max(abs(model), abs(empty), 1e-6)
        self.weights = resamples(self.n, n_bootstrap, seed)
        self.ends = self.weights @ values[0], self.weights @ values[1]

    def share(self, runs: NDArray[np.int64]) -> Floats:
        """Faithfulness of passes; NaN where there is no loss to measure against."""
        model, empty = self.mean[:2]
        return (self.mean[runs] - empty) / (model - empty) if self.defined else np.full(runs.shape, np.nan)

    def interval(self, run: int) -> tuple[float, float]:
        """Bootstrap interval of one pass's faithfulness."""
        model, empty = self.ends
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = (self.weights @ self.values[run] - empty) / (model - empty)
        low, high = band(drawn[np.isfinite(drawn)])
        return (float(low), float(high)) if self.defined else (np.nan, np.nan)


def _runs(n_targets: int, target: int, mode: int, n_draws: int) -> NDArray[np.int64]:
    """Passes of a target and mode, the observed one and then the null's."""
    return 2 + mode + 2 * (target + n_targets * np.arange(n_draws))


def _n_draws(cells: Mapping[str, _Cells], n_targets: int) -> int:
    return (len(next(iter(cells.values())).mean) - 2) // (2 * n_targets)


def _rows(
    cells: Mapping[str, _Cells],
    targets: Sequence[str],
    mode: int,
    sizes: NDArray[np.int64],
    roles: Labels,
    names: dict[str, str],
) -> list[dict[str, Any]]:
    rows = []
    for number, target in enumerate(targets):
        runs = _runs(len(targets), number, mode, _n_draws(cells, len(targets)))
        own = roles == number
        for task, cell in cells.items():
            observed, nulls = cell.share(runs)[0], cell.share(runs)[1:]
            row = {"target": target, "task": str(task), **names, "n_nodes": int(own.sum())}
            row |= {"n_units": int(sizes[own].sum()), "n_examples": cell.n}
            row |= {"value": cell.mean[runs[0]], "model": cell.mean[0], "empty": cell.mean[1]}
            row |= {"faithfulness": observed, **_compared(observed, nulls)}
            # Of the means: the same as of faithfulness, and defined where that is not.
            row["p"] = float(tail_p(cell.mean[runs[0]], cell.mean[runs[1:]]))
            row["low"], row["high"] = cell.interval(int(runs[0]))
            reason = "" if cell.defined else NOTHING_LOST
            if not own.any():
                row |= dict.fromkeys(("value", "faithfulness", "low", "high", "p"), np.nan)
                row |= dict.fromkeys(("null_mean", "null_low", "null_high"), np.nan)
                reason = "no block serves this target"
            rows.append(row | {"reason": reason})
    return rows


def _compared(observed: float, nulls: Floats, side: str = "two") -> dict[str, float]:
    low, high = band(nulls)
    mean = float(nulls.mean()) if len(nulls) else np.nan
    p = float(tail_p(np.array(observed), nulls, side))
    return {"null_mean": mean, "null_low": float(low), "null_high": float(high), "p": p}


def _selectivity(
    cells: Mapping[str, _Cells], targets: Sequence[str], mode: int, roles: Labels, of: str
) -> dict[str, float]:
    """Contrast between targets and other tasks, over the targets that have blocks and are measured, as others are."""
    sign, contrasts = (1 if MODES[mode] == "removed" else -1), []
    usable = {task: cell for task, cell in cells.items() if of == "value" or cell.defined}
    for number, target in enumerate(targets):
        runs = _runs(len(targets), number, mode, _n_draws(cells, len(targets)))
        shown = {task: cell.mean[runs] if of == "value" else cell.share(runs) for task, cell in usable.items()}
        others = [values for task, values in shown.items() if task != target]
        if others and target in shown and (roles == number).any():
            contrasts.append(sign * (np.mean(others, 0) - shown[target]))
    if not contrasts:
        return {"value": np.nan, **_compared(np.nan, np.zeros(0)), "n_targets": 0}
    mean = np.mean(contrasts, 0)
    return {"value": float(mean[0]), **_compared(mean[0], mean[1:], "above"), "n_targets": len(contrasts)}


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    order = ["target", "task", "mode", "metric", "n_nodes", "n_units", "n_examples", "value", "model", "empty"]
    order += ["faithfulness", "low", "high", "null_mean", "null_low", "null_high", "p", "q", "reason"]
    table = pd.DataFrame(rows)
    adjusted = table.groupby(["mode", "metric"])["p"].transform(lambda p: benjamini_hochberg(p.to_numpy(float)))
    return table.assign(q=adjusted)[order]
