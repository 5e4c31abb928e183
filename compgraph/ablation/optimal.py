"""Optimal ablation: for every node the constant that changes the output least (Li & Janson 2024, arXiv 2409.09951).

    a_v = argmin over a of the mean over examples of loss(output with node v alone held at a),

a the units of v, the same at all real positions. The loss is KL(model || ablated) as in the paper, or another metric.
The constants of a partition's nodes are learned together, though none depends on another: every step takes the same
examples for all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.ablation.baselines import Units, reference_about, unit_sites
from compgraph.ablation.means import BATCH, Mean
from compgraph.ablation.single_nodes import SingleNodes
from compgraph.array_cache import ArrayCache, cache_key
from compgraph.data.batches import Batch, batch_of, batches
from compgraph.errors import DataError
from compgraph.metrics import Metric, describe, get_metric
from compgraph.models.counting import Passes, uncounted
from compgraph.models.network import Network
from compgraph.partition import Partition
from compgraph.patterns import SUFFIX
from compgraph.progress import note, track
from compgraph.sources import code_digest


class Optimal(Mean):
    """A learned constant per node, made when units of its site are first asked for.

    Parameters
    ----------
    partition
        Whose nodes; a baseline serves this partition alone.
    steps, examples
        Steps of Adam, and examples of each, drawn without replacement until all were taken.
    learning_rate
        Of the first step, in standard deviations of the node's units (root mean square over units, positions and
        examples); it falls linearly to zero. Constants start at the means.
    metric
        The loss of an example; metrics of which more is better are maximised.
    cache
        A folder in which constants that earlier calls learned lie; it may be deleted.

    Notes
    -----
    At the end every node's loss over all of the data is compared with that at its mean, and the mean kept where it is
    not worse, so that no node does worse than under mean ablation on the data learned from. Dead units and patterns of
    attention take their means. Unlike in the authors' code the first position is ablated like any other.

    Raises
    ------
    DataError
        A metric without gradient; a loss that is not finite.
    """

    name = "optimal"
    consistent = False

    def __init__(
        self,
        net: Network,
        pairs: Any,
        reference: Any,
        seed: int,
        *,
        partition: Partition,
        steps: int,
        examples: int,
        learning_rate: float,
        metric: str,
        cache: Path | None = None,
    ) -> None:
        super().__init__(net, pairs, reference, seed)
        self.partition = unit_sites(partition)
        self.steps, self.examples, self.learning_rate = steps, min(examples, int(self.data.n)), learning_rate
        self.seed, self.metric = seed, metric
        self.single = SingleNodes(net, self.partition, _loss(metric))
        self.squares: dict[str, Tensor] = {}
        self.constants: dict[str, Tensor] = {}
        self.folder = cache
        self.known: ArrayCache | None = None

    def about(self) -> dict[str, Any]:
        """See `Baseline`."""
        said = {f"baseline_{name}": value for name, value in self._settings().items()}
        return {"baseline": self.name, **said, **reference_about(self.data if self.other else None)}

    def _settings(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "steps": self.steps,
            "examples": self.examples,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
        }

    @property
    def preparation(self) -> int:
        """None are counted: what a graph records must not depend on what lies in a cache."""
        return 0

    def passes(self, sites: Sequence[str]) -> Passes:
        """Passes of single examples that the constants of some sites take, those of the means not among them."""
        n, own = int(self.data.n), self.single.passes(sites)
        trained = sum(len(rows) for rows in self._schedule())
        return Passes(trained * (1 + own) + n * 2 * (1 + own), trained * own)

    def units(self, net: Network, batch: Batch, sites: Collection[str]) -> Units:
        """See `Baseline`."""
        new = [site for site in sites if site not in self.constants and not site.endswith(SUFFIX)]
        new = self._from_cache(net, new)
        patterns = [site for site in sites if site.endswith(SUFFIX)]
        with uncounted():
            self._prepare(net, [*new, *patterns])
            if new:
                self._learn(net, new)
        return super().units(net, batch, patterns) | {
            site: self.constants[site].to(net.dtype).expand(*_lead(net, batch), -1)
            for site in sites
            if site not in patterns
        }

    # ------------------------------------------------------------ learning

    def _add(self, site: str, units: Tensor, batch: Batch) -> None:
        super()._add(site, units, batch)
        if not site.endswith(SUFFIX):
            real = units if units.dim() == 2 or batch.mask is None else units[batch.mask]
            squares = real.flatten(0, -2).square().sum(0)
            self.squares[site] = self.squares[site] + squares if site in self.squares else squares

    def _learn(self, net: Network, sites: list[str]) -> None:
        """Learn the constants of some sites; they do not depend on which others are learned with them."""
        cost = self.passes(sites)
        nodes = sum(self.partition.n_parts(site) for site in sites)
        note(
            f"baseline 'optimal': learns the constants of {nodes:,} nodes in {self.steps:,} steps, "
            f"{cost.forward:,.0f} forward and {cost.backward:,.0f} backward passes of single examples"
        )
        start = {site: self.sums[site] / self.counts[site] for site in sites}
        scale = {site: self._scale(site, start[site]) for site in sites}
        wide = torch.float64 if net.dtype == torch.float64 else torch.float32
        moves = {site: torch.zeros_like(start[site], dtype=wide, requires_grad=True) for site in sites}

        def constants(site: str) -> Tensor:
            return (start[site] + scale[site] * moves[site]).to(net.dtype)

        with torch.enable_grad():
            self._descend(net, sites, moves, constants)
        with torch.no_grad():
            learned = self._losses(net, sites, constants)
            means = self._losses(net, sites, lambda site: start[site].to(net.dtype))
            for site in sites:
                better = torch.nn.functional.pad(learned[site] < means[site], (0, 1))  # label -1: dead
                chosen = better[self._labels(site)].to(start[site].device)
                self.constants[site] = torch.where(chosen, constants(site).double(), start[site])
        self._keep(sites)

    def _descend(
        self, net: Network, sites: list[str], moves: dict[str, Tensor], constants: Callable[[str], Tensor]
    ) -> None:
        optimiser = torch.optim.Adam(moves.values(), lr=self.learning_rate)
        schedule = self._schedule()
        for step, rows in enumerate(track(schedule, "optimal constants", unit="step")):
            optimiser.param_groups[0]["lr"] = self.learning_rate * (1 - step / self.steps)
            optimiser.zero_grad()
            for site, parts, losses in self.single.losses(batch_of(net, self.data, rows), sites, constants):
                if not bool(losses.isfinite().all()):
                    raise DataError(
                        f"baseline 'optimal': {self.metric} at a node of {site} (parts {parts.start} to "
                        f"{parts.stop - 1}) is not finite in step {step + 1}; take a smaller learning_rate"
                    )
                losses.sum().backward()
            optimiser.step()

    def _schedule(self) -> list[npt.NDArray[np.int64]]:
        """Examples of every step."""
        rng, n = np.random.default_rng(self.seed), int(self.data.n)
        out: list[npt.NDArray[np.int64]] = []
        while len(out) < self.steps:
            order = rng.permutation(n)
            whole = n // self.examples * self.examples
            out.extend(np.sort(order[first : first + self.examples]) for first in range(0, whole, self.examples))
        return out[: self.steps]

    def _scale(self, site: str, mean: Tensor) -> Tensor:
        """Standard deviation of every unit's node; 0 for dead units, and where nothing varies."""
        variance = (self.squares.pop(site) / self.counts[site] - mean.square()).clamp_min(0)
        labels, n_parts = self._labels(site).to(mean.device), self.partition.n_parts(site)
        at = torch.where(labels < 0, n_parts, labels)
        total = mean.new_zeros(1 + n_parts).index_add_(0, at, variance)
        total[n_parts] = 0
        return (total / torch.bincount(at, minlength=1 + n_parts).clamp_min(1)).sqrt()[at]

    def _labels(self, site: str) -> Tensor:
        return torch.from_numpy(self.partition.labels[site].astype(np.int64))

    def _losses(self, net: Network, sites: list[str], constants: Callable[[str], Tensor]) -> dict[str, Tensor]:
        """Mean loss over all of the data, site -> [parts]."""
        out = {site: torch.zeros(self.partition.n_parts(site), dtype=torch.float64) for site in sites}
        for batch in batches(net, self.data, BATCH):
            for site, parts, losses in self.single.losses(batch, sites, constants):
                out[site][parts] += losses.double().cpu() * len(batch) / self.data.n
        return out

    # ------------------------------------------------------------ what earlier calls learned

    def _from_cache(self, net: Network, sites: list[str]) -> list[str]:
        """Take what is known; returns the sites that are not."""
        if self.folder is None or not sites:
            return sites
        if self.known is None:
            self.known = ArrayCache(self.folder, self._key(net), "constants")
        for site in sites:
            found = self.known.get(site.encode(), (self.partition.size(site),), "<f8")
            if found is not None:
                self.constants[site] = torch.from_numpy(found.copy()).to(net.device)
        return [site for site in sites if site not in self.constants]

    def _keep(self, sites: list[str]) -> None:
        if self.known is not None:
            for site in sites:
                self.known.put(site.encode(), self.constants[site].cpu().numpy(), "<f8")

    def _key(self, net: Network) -> str:
        return cache_key(
            network=net.digest,
            dtype=str(net.dtype),
            device=net.device.type,
            data=self.data.digest,
            settings=self._settings(),
            partition=self.partition.digest,
            code=code_digest([__name__, describe(self.metric).module]),
        )


def _loss(metric: str) -> Metric:
    """The metric, turned where more of it is better."""
    measure = get_metric(metric, differentiable=True)
    if describe(metric).lower_is_better:
        return measure
    return lambda logits, targets: -measure(logits, targets)


def _lead(net: Network, batch: Batch) -> tuple[int, ...]:
    return tuple(batch.clean.shape[:2] if net.kind == "transformer" else batch.clean.shape[:1])
