"""Series of nodes: one number per node and token position, an example being a trial.

Methods that estimate causes from time series alone see a node as a single signal, as a region is seen in a recording
of the brain:

- `norm`: the Euclidean norm of its write (an MLP of one node with its output bias, as in design.md, section 9);
- `mean`: the mean of its units;
- `pc`: its units along their first principal component, taken at up to some thousand positions spread evenly over the
  data (all of them if there are fewer); the sign is such that the largest loading is positive.

A feature of a dictionary is one unit: `norm` is the size of its activation (times that of its row), `mean` and `pc` are
the activation itself. The error is a node of many units like any other.

A pattern (`compgraph.patterns`) writes nothing by itself. Its units are the weights that its query position gives to
the positions 0, 1, 2 … tokens back, so that rows of different length and place compare: `norm` is their Euclidean norm
(how concentrated attention is: minus half the Rényi entropy of order 2, exponentiated), `pc` is taken over them, and
`mean` is the mean distance, since the mean of weights that sum to one says nothing. A reconstruction of ours [D]: no
source gives a scalar for a pattern.

The signal of `logits` is the metric at every position, or the entropy of the output, which needs no answers. Padding is
left out: series start at the first real token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.endpoints import change_of
from compgraph.data.batches import Batch, batches
from compgraph.errors import DataError, GraphError
from compgraph.metrics import get_metric, needs_reference
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import SUFFIX, with_patterns
from compgraph.progress import track

MEMORY_PER_BATCH = 2**28
"""Bytes that units and logits of one batch may take."""
MEMORY_FOR_COMPONENTS = 2**28
"""Bytes of the units from which principal components are taken."""
SIGNALS = ("norm", "mean", "pc")
READOUTS = ("metric", "entropy")


@dataclass
class Trials:
    """Some examples as series.

    Attributes
    ----------
    values
        float64 [trials, time, nodes]; what is behind a trial's end is not defined.
    lengths
        int [trials].
    fold
        int [trials], 0 or 1: the half of the data a trial belongs to, where halves are held out from each other.
    """

    values: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]


class NodeSignals:
    """The signals of all nodes of a partition, batch by batch, as often as one asks.

    Parameters
    ----------
    net, pairs, partition
        The data and the nodes.
    signal, readout
        See above.
    metric
        Of `readout` `metric`.
    batch_size
        Examples per pass; chosen to bound memory where None.

    Raises
    ------
    GraphError
        Unknown words.
    DataError
        A metric that compares with the clean run, which is constant there.
    """

    def __init__(
        self,
        net: Network,
        pairs: Any,
        partition: Partition,
        *,
        signal: str = "norm",
        readout: str = "metric",
        metric: str = "logit_difference",
        batch_size: int | None = None,
    ) -> None:
        _check_word("signal", signal, SIGNALS)
        _check_word("readout", readout, READOUTS)
        if readout == "metric" and needs_reference(metric):
            raise DataError(
                f"metric {metric!r} compares with the clean run, so that its series is constant; take another"
            )
        partition.check_causal(net)
        architecture, partition = with_patterns(net, partition)
        self.net, self.pairs, self.partition, self.signal, self.readout = net, pairs, partition, signal, readout
        self._measure = get_metric(metric) if readout == "metric" else None
        self.sites = [site.name for site in architecture.node_sites]
        self.parts = {site: self._parts(site) for site in self.sites}
        self._size = batch_size or self._examples_at_once()
        self._components: Units = self._principal_components() if signal == "pc" else {}

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.partition.n_nodes

    def _parts(self, site: str) -> Parts:
        """Nodes over the units that signals are made of."""
        labels = self.partition.labels[site]
        if site.endswith(SUFFIX):
            labels = np.repeat(labels, self.pairs.clean.shape[1])
        return Parts.from_labels(labels, self.partition.n_parts(site), self.net.device)

    def __iter__(self) -> Iterator[Trials]:
        """Series of a network that reads tokens, one trial per example."""
        half = np.argsort(np.argsort(np.asarray(self.pairs.ids), kind="stable")) % 2
        steps = -(-self.pairs.n // self._size)
        for batch in track(batches(self.net, self.pairs, self._size), "node signals", total=steps, unit="batch"):
            values = self.values(batch).double().cpu().numpy()
            if not np.isfinite(values).all():
                row = batch.rows[int((~np.isfinite(values)).any((1, 2)).argmax())]
                raise DataError(f"node signals of example {self.pairs.ids[row]!r} are not finite")
            mask = np.ones(values.shape[:2], bool) if batch.mask is None else batch.mask.cpu().numpy()
            lengths = mask.sum(1)
            at = mask.argmax(1)[:, None] + np.arange(values.shape[1])
            aligned = np.take_along_axis(values, np.minimum(at, values.shape[1] - 1)[:, :, None], 1)
            yield Trials(aligned, lengths, half[batch.rows])

    def values(self, batch: Batch) -> Tensor:
        """[batch, (time,) nodes] in the order of nodes."""
        with torch.no_grad():
            out = self.net.run(batch.clean, batch.mask, capture=self.sites[:-1])
            columns = [self._of_site(site, self._units(site, out.units)) for site in self.sites[:-1]]
            return torch.cat([*columns, self._of_logits(out.logits, batch)], -1)

    def _units(self, site: str, units: Units) -> Tensor:
        """[batch, (time,) units]; those of a pattern are its weights by distance, head by head."""
        found = units[site]
        return by_distance(found, self.pairs.clean.shape[1]).flatten(-2) if site.endswith(SUFFIX) else found

    def _of_site(self, site: str, units: Tensor) -> Tensor:
        """[batch, (time,) parts]"""
        parts = self.parts[site]
        if self.signal == "norm":
            return self._norms(site, units)
        if self.signal == "pc":
            return parts.sums(units * self._components[site])
        if site.endswith(SUFFIX):
            return parts.sums(units * torch.arange(parts.size, device=units.device).repeat(len(parts)))
        return parts.sums(units) / torch.tensor([len(index) for index in parts.index]).to(units)

    def _norms(self, site: str, units: Tensor) -> Tensor:
        """Norm of every node's write, a node of many units at a time; a chain's nodes write their units."""
        parts = self.parts[site]
        if not isinstance(self.net, Transformer) or site.endswith(SUFFIX):
            return parts.sums(units.square()).sqrt()
        with_bias = {site} if site.startswith("mlp") and len(parts) == 1 else set()
        away = change_of(self.net, site, {site: units}, {site: torch.zeros_like(units)}, with_bias, parts)
        lengths = torch.ones_like(away.change[0, 0]) if away.rows is None else away.rows.norm(dim=-1)
        found = parts.sums(away.change.abs() * lengths)  # of nodes of one unit
        for k, index in enumerate(parts.index):
            if len(index) > 1 or away.constant is not None:
                write = away.change[..., index]
                write = write if away.rows is None else write @ away.rows[index]
                found[..., k] = (write if away.constant is None else write + away.constant).norm(dim=-1)
        return found

    def _of_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        """[batch, (time,) parts]; several nodes of a chain's logits: their mean logits."""
        parts = self.parts["logits"]
        if len(parts) > 1:
            return parts.sums(logits) / torch.tensor([len(index) for index in parts.index]).to(logits)
        rows = logits if logits.dim() == 3 else logits[:, None]
        if self._measure is None:
            log_p = rows.log_softmax(-1)
            found = -(log_p.exp() * log_p).sum(-1)
        else:
            found = torch.stack([self._measure(row, batch.targets) for row in rows.unbind(1)], 1)
        return (found if logits.dim() == 3 else found[:, 0])[..., None]

    def _principal_components(self) -> Units:
        """Site -> loadings of the first principal component of each part, [n_units]."""
        sites = [site for site in self.sites if site != "logits"]
        item = torch.finfo(self.net.dtype).bits // 8
        n_units = sum(self.parts[site].n_units for site in sites)
        total = int(self.pairs.n if self.pairs.mask is None else self.pairs.mask.sum())
        every = -(-total * n_units * item // MEMORY_FOR_COMPONENTS)
        kept: dict[str, list[Tensor]] = {site: [] for site in sites}
        seen = 0
        for batch in batches(self.net, self.pairs, self._size):
            with torch.no_grad():
                units = self.net.run(batch.clean, batch.mask, capture=sites).units
            real = torch.ones(units[sites[0]].shape[:-1], dtype=torch.bool) if batch.mask is None else batch.mask
            chosen = real.flatten().nonzero().flatten()
            chosen = chosen[(torch.arange(len(chosen), device=chosen.device) + seen) % every == 0]
            seen += int(real.sum())
            for site in sites:
                kept[site].append(self._units(site, units).flatten(0, -2)[chosen])
        return {site: _loadings(torch.cat(kept.pop(site)), self.parts[site]) for site in sites}

    def _examples_at_once(self) -> int:
        time = self.pairs.clean.shape[1] if self.net.kind == "transformer" else 1
        units = sum(self.parts[site].n_units for site in self.sites) + 3 * self.parts["logits"].n_units
        lagged = 64 * self.partition.n_nodes  # what a regression makes of a position
        bytes_per_example = time * (units * torch.finfo(self.net.dtype).bits // 8 + lagged)
        return int(np.clip(MEMORY_PER_BATCH // bytes_per_example, 1, self.pairs.n))


def by_distance(pattern: Tensor, n_distances: int) -> Tensor:
    """Weights [batch, heads, query, key] -> [batch, query, heads, n_distances], those of 0, 1, 2 … positions back."""
    time = pattern.shape[-1]
    query = torch.arange(time, device=pattern.device)[:, None]
    key = query - torch.arange(n_distances, device=pattern.device)
    index = key.clamp_min(0).expand(*pattern.shape[:2], -1, -1)
    return torch.where(key >= 0, pattern.gather(-1, index), 0).transpose(1, 2)


def _loadings(rows: Tensor, parts: Parts) -> Tensor:
    """[samples, n_units] -> [n_units], each part's first principal direction, largest loading positive."""
    out = torch.zeros(parts.n_units, dtype=torch.float64)
    for index in parts.index:
        x = rows[:, index].double().cpu()
        x = x - x.mean(0)
        if len(x) < x.shape[1]:
            direction = x.T @ torch.linalg.eigh(x @ x.T)[1][:, -1]
            direction = direction / direction.norm().clamp_min(torch.finfo(x.dtype).tiny)
        else:
            direction = torch.linalg.eigh(x.T @ x)[1][:, -1]
        sign = direction[direction.abs().argmax()].sign()
        out[index.cpu()] = direction * (sign if sign != 0 else 1)
    return out.to(rows)


def signals_over_training(
    networks: Iterable[Network],
    pairs: Any,
    partition: Partition,
    *,
    signal: str = "norm",
    readout: str = "metric",
    metric: str = "logit_difference",
) -> npt.NDArray[np.float64]:
    """Mean signal of every node in each of a list of networks: the checkpoints of one training, in order.

    Parameters
    ----------
    networks
        Read one after another, so that a generator that loads them keeps one in memory.
    pairs, partition
        The data, and nodes that all networks share.
    signal
        `norm` or `mean`: principal components of different checkpoints do not compare.
    readout, metric
        The signal of `logits`.

    Returns
    -------
    signals
        [checkpoints, nodes], for `granger_over_training`: means over examples and real positions.

    Raises
    ------
    GraphError
        Signal `pc`.
    """
    _check_word("signal", signal, ("norm", "mean"))
    rows = []
    for net in networks:
        signals = NodeSignals(net, pairs, partition, signal=signal, readout=readout, metric=metric)
        rows.append(_mean_over_data(signals))
    if not rows:
        raise DataError("signals over training: there is no network; at least one is needed")
    return np.stack(rows)


def _mean_over_data(signals: NodeSignals) -> npt.NDArray[np.float64]:
    total, count = np.zeros(signals.n_nodes), 0
    if isinstance(signals.net, Sequential):
        for batch in batches(signals.net, signals.pairs, signals._size):
            total += signals.values(batch).double().sum(0).cpu().numpy()
            count += len(batch)
        return total / count
    for trials in signals:
        real = np.arange(trials.values.shape[1]) < trials.lengths[:, None]
        total += trials.values[real].sum(0)
        count += int(real.sum())
    return total / count


def _check_word(name: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise GraphError(f"{name} {value!r} is not known here; valid are {', '.join(valid)}")
