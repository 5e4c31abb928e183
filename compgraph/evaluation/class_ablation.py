"""Class ablation: how few regions of interest carry a decision.

Regions of interest are sorted by how much they support the right output, for each input by itself or for each class,
and a growing share of them is ablated, the strongest first (`removed`), or everything but that share is (`kept`).
Accuracy, overall and per class, says how many of them matter; the same with random parts of equal sizes says whether
it matters how units were grouped. After the study that the project was created from (figures T5, T6).

The error of a dictionary is no region: it stays as the network has it, is not counted, and is shuffled with nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from compgraph.ablation.baselines import Baseline, make_baseline
from compgraph.ablation.per_example import NODE_BATCH, Mask, node_runs
from compgraph.attribution.scores import Attributed
from compgraph.data.batches import batches
from compgraph.errors import DataError, GraphError
from compgraph.evaluation.confusion import confusion_table
from compgraph.evaluation.intervals import Floats, band, resamples
from compgraph.evaluation.profiles import attributed_nodes, node_profiles
from compgraph.metrics import get_metric
from compgraph.models.network import Network
from compgraph.partition import DEAD, Partition
from compgraph.rois.signals import n_regions

if TYPE_CHECKING:
    import pandas as pd

Order = Literal["input", "class"]
Rank = Literal["support", "abs"]
MODES = ("removed", "kept")
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
EVERY = "all"
"""In the column `class`: all examples."""


@dataclass(frozen=True)
class ClassAblation:
    """Accuracy against the share of regions ablated or kept.

    Attributes
    ----------
    table
        One row per partition, mode (`removed`, `kept`), share and class (`all`, or the task of the examples):
        n_rois (ablated or kept), unit_share (of the regions' units, mean over examples), n (examples), accuracy, low,
        high (95 % bootstrap interval over examples), n_draws (partitions of that name, over which accuracy is
        averaged), draw_low, draw_high (the least and greatest accuracy of a single one), model (accuracy of the whole
        network), chance (one over the number of classes).
    predicted
        int32 [curves, draws, n]: the class predicted for every example, curves in the order of `curves`; -1 beyond a
        name's number of draws.
    curves
        (partition, mode, share) of each.
    answers
        int64 [n, a], as in the data.
    classes
        Names of classes, if the data have them.
    attributes
        Order, rank, sites, baseline.
    """

    table: pd.DataFrame
    predicted: NDArray[np.int32]
    curves: tuple[tuple[str, str, float], ...]
    answers: NDArray[np.int64]
    classes: tuple[str, ...] | None
    attributes: dict[str, Any]

    def confusion(self, partition: str, mode: str, share: float, draw: int = 0) -> pd.DataFrame:
        """What examples of each class are taken for (`confusion_table`) in one run."""
        key = (partition, mode, share)
        if key not in self.curves:
            raise ValueError(f"no run of {key}; shares are {sorted({curve[2] for curve in self.curves})}")
        return confusion_table(self.predicted[self.curves.index(key), draw], self.answers, self.classes)


def random_partition(partition: Partition, sites: Collection[str] | None = None, seed: int = 0) -> Partition:
    """The same parts with random units: labels shuffled over the live units of each site.

    Parameters
    ----------
    sites
        Whose units are shuffled; None for all with more than one region.
    seed
        Of the shuffles.

    Returns
    -------
    Partition
        Parts of the same names, sizes and sites; dead units stay dead, and a dictionary's error its own part.
    """
    chosen = [site for site in partition.sites if n_regions(partition, site) > 1] if sites is None else list(sites)
    rng = np.random.default_rng(seed)
    labels = {site: np.array(values) for site, values in partition.labels.items()}
    for site in chosen:
        if site not in labels:
            raise GraphError(f"site {site!r} is not one of this partition's ({', '.join(partition.sites)})")
        live = np.flatnonzero((labels[site] != DEAD) & (labels[site] < n_regions(partition, site)))
        labels[site][live] = rng.permutation(labels[site][live])
    return Partition(labels, partition.names, "random", partition.reasons, partition.empty)


def class_ablation(
    net: Network,
    partitions: Mapping[str, Partition | Sequence[Partition]],
    pairs: Any,
    attributions: Attributed,
    *,
    shares: Sequence[float] = SHARES,
    sites: Collection[str] | None = None,
    order: Order = "input",
    rank: Rank = "support",
    baseline: str | Baseline = "zero",
    n_bootstrap: int = 1000,
    batch_size: int | None = None,
    seed: int = 0,
) -> ClassAblation:
    """Accuracy with a growing share of regions ablated, or kept (see above).

    Parameters
    ----------
    net
        Usually a chain that classifies images; transformers work too.
    partitions
        Name of a method -> its partition, or several (random ones of equal sizes, `random_partition`).
    pairs
        Examples with answers.
    attributions
        Of units, of these same examples, at the sites that are ablated at least.
    shares
        Of the regions, in [0, 1]; the number is rounded.
    sites
        Where nodes are ablated; None for all sites with attributions that some partition divides, but the output.
    order
        `input`: by each example's own attribution; `class`: by the mean over the examples of its class (`pairs.task`).
    rank
        `support`: what raises the metric most comes first, what lowers it last. `abs`: by size.
    baseline
        What ablated nodes are held at.
    n_bootstrap, seed
        Resamples of the examples.

    Raises
    ------
    DataError, GraphError
        Shares out of range, examples without answers or without attributions, a site that is none of the network's or
        has no attributions.

    Notes
    -----
    One pass per partition, mode and share; in a chain from the first ablated site on. Memory: one prediction per pass
    and example.
    """
    _check(pairs, attributions, shares, order, rank)
    listed = {name: [one] if isinstance(one, Partition) else list(one) for name, one in partitions.items()}
    _check_partitions(listed, net)
    chosen = divided_sites(net, [one for draws in listed.values() for one in draws], attributions, sites)
    made = make_baseline(baseline, net, pairs, seed=seed)
    curves = tuple((name, mode, float(share)) for name in listed for mode in MODES for share in shares)
    runs: dict[str, list[_Runs]] = {name: [] for name in listed}
    for name, draws in listed.items():
        for one in draws:
            found = _Runs(net, one, chosen, attributions, pairs, shares, order, rank)
            found.fill(net, pairs, made, batch_size)
            if found.counts != (first := [*runs[name], found][0]).counts:
                raise GraphError(
                    f"class ablation: partitions of the name {name!r} have {len(first.regions)} and "
                    f"{len(found.regions)} regions; draws of one name must have as many"
                )
            runs[name].append(found)
    model, n_classes = _model(net, pairs, batch_size)
    table = _table(runs, shares, pairs.task, model, n_classes, n_bootstrap, seed)
    attributes = {"order": order, "rank": rank, "sites": list(chosen), **made.about()}
    answers, classes = np.asarray(pairs.answers), getattr(pairs, "classes", None)
    return ClassAblation(table, _predictions(runs), curves, answers, classes, attributes)


def _check(pairs: Any, attributions: Attributed, shares: Sequence[float], order: str, rank: str) -> None:
    if order not in ("input", "class"):
        raise DataError(f"order {order!r} is not known; valid are input, class")
    if rank not in ("support", "abs"):
        raise DataError(f"rank {rank!r} is not known; valid are support, abs")
    if pairs.answers is None:
        raise DataError("class ablation needs answers; these data have none")
    if not shares or (strange := [share for share in shares if not 0 <= share <= 1]):
        raise DataError(f"shares {strange if shares else []} are out of range; give some between 0 and 1")
    n = len(np.unique(np.asarray(attributions.item)))
    if n != pairs.n:
        raise DataError(f"there are attributions of {n} examples but {pairs.n} examples; they must be the same")


def _check_partitions(partitions: Mapping[str, Sequence[Partition]], net: Network) -> None:
    if not partitions:
        raise GraphError("class ablation needs at least one partition")
    for name, draws in partitions.items():
        if not draws:
            raise GraphError(f"class ablation: no partition is given under the name {name!r}")
        for one in draws:
            one.check_causal(net)


def divided_sites(
    net: Network, partitions: Sequence[Partition], attributions: Attributed, sites: Collection[str] | None = None
) -> list[str]:
    """Sites whose nodes are ablated, in the network's order: those given, or all that some partition divides.

    Raises
    ------
    DataError, GraphError
        No such site, or one without attributions.
    """
    possible = [site.name for site in net.architecture.node_sites[:-1]]
    scored = set(attributions.sites["site"])
    if sites is None:
        found = [s for s in possible if s in scored and any(n_regions(one, s) > 1 for one in partitions)]
        if not found:
            raise GraphError("class ablation: no site with attributions has more than one region; name the sites")
        return found
    for site in sites:
        if site not in possible:
            raise GraphError(f"class ablation: site {site!r} is not one that can be ablated: {', '.join(possible)}")
        if site not in scored:
            raise DataError(f"class ablation: there are no attributions at site {site!r}; record them there too")
    return [site for site in possible if site in sites]


class _Runs:
    """All passes of one partition.

    Attributes
    ----------
    predicted, right
        [passes, n]: class and whether it is right; passes are modes by shares.
    unit_share
        [passes] share of the regions' units that is ablated or kept, mean over examples.
    counts
        Number of regions at each share.
    """

    def __init__(
        self,
        net: Network,
        partition: Partition,
        sites: Sequence[str],
        attributions: Attributed,
        pairs: Any,
        shares: Sequence[float],
        order: Order,
        rank: Rank,
    ) -> None:
        nodes = partition.nodes(net)
        scored = np.zeros(partition.n_nodes, bool)
        scored[attributed_nodes(attributions, partition)] = True
        own = np.zeros(partition.n_nodes, bool)
        for site in sites:
            own[partition.node_slice(site)][: n_regions(partition, site)] = True
        self.regions = np.flatnonzero(own & scored)
        self.sizes = nodes["size"][self.regions].astype(float)
        self.counts = [int(np.floor(share * len(self.regions) + 0.5)) for share in shares]
        self.partition = partition
        self.predicted = np.full((2 * len(shares), pairs.n), -1, np.int32)
        self.right = np.zeros((2 * len(shares), pairs.n), bool)
        self.unit_share = np.zeros(2 * len(shares))
        scores = (_ranked(profile[:, self.regions], rank) for profile in node_profiles(attributions, partition))
        self._scores = _Rows(scores if order == "input" else _of_class(scores, pairs.task))

    def fill(self, net: Network, pairs: Any, baseline: Baseline, batch_size: int | None) -> None:
        """Run all passes, a batch at a time."""
        accuracy = get_metric("accuracy")
        total = self.sizes.sum()

        def keep(rows: NDArray[np.int64]) -> Mask:
            scores = self._scores.take(len(rows))
            # Stable: equal scores go by the number of the region.
            places = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
            chosen = places < np.array(self.counts)[:, None, None]
            self.unit_share += np.tile((chosen @ self.sizes).sum(1) / (total * pairs.n), 2)
            mask = np.ones((2 * len(self.counts), len(rows), self.partition.n_nodes), bool)
            mask[:, :, self.regions] = np.concatenate([~chosen, chosen])
            return mask

        for batch, logits in node_runs(net, self.partition, keep, pairs, baseline=baseline, batch_size=batch_size):
            self.predicted[:, batch.rows] = logits.argmax(-1).cpu().numpy()
            right = torch.stack([accuracy(run, batch.targets) for run in logits])
            self.right[:, batch.rows] = right.bool().cpu().numpy()


class _Rows:
    """Rows of a stream of arrays, as many at a time as are asked for."""

    def __init__(self, arrays: Iterator[Floats]) -> None:
        self._arrays = arrays
        self._left: Floats | None = None

    def take(self, n: int) -> Floats:
        parts, missing = [], n
        while missing:
            rows = next(self._arrays) if self._left is None else self._left
            parts.append(rows[:missing])
            self._left = rows[missing:] if len(rows) > missing else None
            missing -= len(parts[-1])
        return np.concatenate(parts)


def _ranked(support: Floats, rank: Rank) -> Floats:
    return np.abs(support) if rank == "abs" else support


def _of_class(scores: Iterator[Floats], tasks: NDArray[np.str_]) -> Iterator[Floats]:
    """For every example the mean scores of its class: one number per class and region is kept."""
    names, labels = np.unique(tasks, return_inverse=True)
    sums: Floats | None = None
    first = 0
    for rows in scores:
        sums = np.zeros((len(names), rows.shape[1])) if sums is None else sums
        np.add.at(sums, labels[first : first + len(rows)], rows)
        first += len(rows)
    assert sums is not None
    means = sums / np.bincount(labels)[:, None]
    for label in labels:
        yield means[label][None]


def _model(net: Network, pairs: Any, batch_size: int | None) -> tuple[NDArray[np.bool_], int]:
    """Whether the whole network is right about each example, and its number of classes."""
    accuracy, right, n_classes = get_metric("accuracy"), [], 0
    with torch.no_grad():
        for batch in batches(net, pairs, batch_size or NODE_BATCH):
            logits = net.run(batch.clean, batch.mask, positions=batch.positions).logits
            right.append(accuracy(logits, batch.targets).bool().cpu().numpy())
            n_classes = logits.shape[-1]
    return np.concatenate(right), n_classes


def _predictions(runs: Mapping[str, list[_Runs]]) -> NDArray[np.int32]:
    most = max(len(draws) for draws in runs.values())
    parts = []
    for draws in runs.values():
        found = np.stack([one.predicted for one in draws], 1)
        parts.append(np.pad(found, ((0, 0), (0, most - len(draws)), (0, 0)), constant_values=-1))
    return np.concatenate(parts)


def _table(
    runs: Mapping[str, list[_Runs]],
    shares: Sequence[float],
    tasks: NDArray[np.str_],
    model: NDArray[np.bool_],
    n_classes: int,
    n_bootstrap: int,
    seed: int,
) -> pd.DataFrame:
    import pandas as pd

    names = [EVERY, *np.unique(tasks).tolist()]
    members = {name: np.ones(len(tasks), bool) if name == EVERY else tasks == name for name in names}
    weights = {name: resamples(int(own.sum()), n_bootstrap, seed) for name, own in members.items()}
    rows = []
    for partition, draws in runs.items():
        right = np.stack([one.right for one in draws])  # [draws, passes, n]
        for run in range(right.shape[1]):
            mode, share = divmod(run, len(shares))
            about = {"partition": partition, "mode": MODES[mode], "share": float(shares[share])}
            about |= {"n_rois": draws[0].counts[share], "n_draws": len(draws), "chance": 1 / n_classes}
            about["unit_share"] = float(np.mean([one.unit_share[run] for one in draws]))
            for name, own in members.items():
                each = right[:, run, own].mean(1)
                low, high = band(weights[name] @ right[:, run, own].mean(0))
                row = {"class": name, "n": int(own.sum()), "accuracy": each.mean(), "low": low, "high": high}
                row |= {"draw_low": each.min(), "draw_high": each.max(), "model": model[own].mean()}
                rows.append(about | row)
    order = ["partition", "mode", "share", "class", "n_rois", "unit_share", "n", "accuracy", "low", "high"]
    order += ["n_draws", "draw_low", "draw_high", "model", "chance"]
    numbers = ["accuracy", "low", "high", "draw_low", "draw_high", "model", "chance", "unit_share"]
    return pd.DataFrame(rows)[order].astype(dict.fromkeys(numbers, float))
