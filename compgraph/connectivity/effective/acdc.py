"""Automatic circuit discovery (ACDC): edges are removed, from the output back, while the output stays the same.

From the whole graph, in a fixed order, each edge in turn: drop it, run the circuit, r = metric with it dropped - metric
now. If the metric got worse by less than τ, the edge is gone for good and the metric of the circuit without it is the
metric now; else the edge is put back. A node without a kept outgoing edge loses its incoming edges untested (Conmy et
al. 2023, arXiv 2304.14997; [C]: read in ArthurConmy/Automatic-Circuit-Discovery, its notes checked against
UFO-101/auto-circuit). τ bounds each step, not the total damage.

**Order**: the reverse of the graph's own: targets from `logits` down, MLP before the heads of a layer, heads and
sources from high to low, channels v, k, q. Where patterns are nodes (`compgraph.patterns`) a part's edges into its
values come before those from patterns, and all parts of a site before its patterns. The result depends on the order.
What the reference tests besides, the link from a head's input to its query, key and value, is no edge here; `zero`
spares position embeddings, which belong to no node.

**Worse** means: larger for divergences and losses (`kl`, the default, against the whole model's output at the
scored position), smaller for the others; with `absolute`, any change counts.

**The graph**: weight = r, the change of the metric when the edge was tried (0 for edges that went untested, where it
is exactly that), with the columns `stderr` (of r over examples), `kept` and `tested`. With `taus`, as in AutoCircuit,
the search is repeated for each threshold, and weight = the smallest τ that removes the edge; edges that none
removes get ten times the largest τ, and only they are `kept`.

**Exactly sequential, and batched.** The trial of an edge depends on how the ones before it ended. So the next edges
of a node are tried at once on the guess that all of them will go (or all stay, as the node's edges did so far): each
circuit is the one that the guess would lead to. Results count up to and including the first that contradicts the
guess, then the next batch begins there. Batches change rounding, nothing else.

Cost: a trial is the network from the edge's target on, for nodes that still matter; one per tested edge and those that
a wrong guess wastes. No gradient. With dictionaries, and where parts cut through heads, a trial is a run of the circuit
(`acdc_graphs`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.connectivity.effective.acdc_chains import ChainTrials
from compgraph.connectivity.effective.acdc_graphs import GraphTrials, needs_graphs
from compgraph.connectivity.effective.acdc_streams import StreamTrials
from compgraph.connectivity.effective.edge_layout import EdgeLayout, Group
from compgraph.connectivity.effective.setting import Setting
from compgraph.data.batches import Batch, batches
from compgraph.errors import DataError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import Targets, get_metric, lower_is_better, needs_reference
from compgraph.models.counting import count_forward
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.progress import Updater, progress

AUTOCIRCUIT = tuple(sorted(base * 10.0**power for base in (1, 3, 5, 7, 9) for power in range(-5, -1)))
"""The thresholds that AutoCircuit tries."""
NEVER = 10
"""Weight of an edge that no threshold removes, in units of the largest threshold."""
MEMORY_PER_STEP = 2**28
"""Bytes that the trials run at once may take."""
MEMORY_FOR_STATES = 2**29
"""Bytes up to which clean and baseline runs of all batches are kept rather than repeated."""

Values = npt.NDArray[np.float64]
"""The metric of every example."""


def compute(
    setting: Setting,
    *,
    tau: float = 0.01,
    taus: str | Sequence[float] = "",
    absolute: bool = False,
) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`; any metric will do, differentiable or not.

    Parameters
    ----------
    tau
        The threshold, in units of the metric.
    taus
        Several thresholds (numbers, or words joined by commas), or `autocircuit` for that package's twenty; `tau`
        plays no part then.
    absolute
        Whether any change of the metric keeps an edge, not only a change for the worse.

    Raises
    ------
    DataError
        Thresholds that are no numbers or negative.
    """
    thresholds = thresholds_of(taus) if len(taus) else (float(tau),)
    if min(thresholds) < 0:
        raise DataError(f"acdc: a threshold is {min(thresholds)}; it must be at least 0")
    search = _Search(setting, absolute)
    about = setting.about("acdc", split_qkv=setting.split_qkv, absolute=absolute, n_examples=int(setting.pairs.n))
    with torch.no_grad(), progress("acdc", total=search.layout.n_edges * len(thresholds), unit="edges") as bar:
        found = {threshold: search.run(threshold, bar) for threshold in sorted(thresholds)}
    if not len(taus):
        outcome = found[thresholds[0]]
        columns = {"stderr": outcome.stderr, "kept": outcome.kept, "tested": outcome.tested}
        weight, about["tau"] = outcome.change, thresholds[0]
    else:
        weight = np.full(search.layout.n_edges, NEVER * max(found))
        for threshold in sorted(found, reverse=True):
            weight[~found[threshold].kept] = threshold
        columns, about["taus"] = {"kept": weight > max(found)}, sorted(found)
    return ComputationalGraph.from_architecture(
        setting.net,
        setting.partition,
        weight,
        split_qkv=setting.split_qkv,
        kind="effective",
        attributes=about,
        columns=columns,
    )


def thresholds_of(taus: str | Sequence[float]) -> tuple[float, ...]:
    """The thresholds that the option `taus` names."""
    if taus == "autocircuit":
        return AUTOCIRCUIT
    try:
        return tuple(float(word) for word in (taus.split(",") if isinstance(taus, str) else taus))
    except ValueError as error:
        raise DataError(f"acdc: taus is {taus!r}; it must be numbers joined by commas, or 'autocircuit'") from error


@dataclass
class _Outcome:
    """Per edge: whether it was kept and tested, the change of the metric at its trial, and its standard error."""

    kept: npt.NDArray[Any]
    tested: npt.NDArray[Any]
    change: npt.NDArray[Any]
    stderr: npt.NDArray[Any]


class _Search:
    """The search itself, over one set of data."""

    def __init__(self, setting: Setting, absolute: bool) -> None:
        net, self.absolute = setting.net, absolute
        self.layout = EdgeLayout(net, setting.partition, setting.split_qkv)
        self.runner = _runner(net, setting.partition, self.layout)
        self.trials = _Trials(setting, self.runner, self.layout)
        self.better = 1.0 if lower_is_better(setting.metric) else -1.0
        self.tied = {s for s in self.runner.sources if not isinstance(self.runner, ChainTrials) and self.runner.tied(s)}

    def run(self, tau: float, bar: Updater) -> _Outcome:
        """Try every edge against one threshold."""
        n = self.layout.n_edges
        kept = torch.ones(n, dtype=torch.bool, device=self.layout.sources.device)
        outcome = _Outcome(np.ones(n, bool), np.zeros(n, bool), np.zeros(n), np.zeros(n))
        now = None
        for block in reversed(self.layout.blocks):
            for group in block.groups():
                edges = slice(group.edges.start, group.edges.stop)
                if self._is_dead(group, kept):
                    kept[edges] = False
                else:
                    now = self._try(group, kept, outcome, tau, now)
                bar.advance(len(group.edges))
                bar.describe(f"acdc: {int(kept.sum()):,} of {n:,} edges left")
        outcome.kept[:] = kept.cpu().numpy()
        return outcome

    def _is_dead(self, group: Group, kept: Tensor) -> bool:
        """Whether nothing reads the node any more (or the whole site, where a post-norm ties its nodes together)."""
        if group.site == self.runner.sites[-1]:
            return False
        nodes = self.layout.refined.node_slice(group.site)
        if group.site not in self.tied:
            nodes = slice(nodes.start + group.part, nodes.start + group.part + 1)
        sources = self.layout.sources
        return not bool((kept & (sources >= nodes.start) & (sources < nodes.stop)).any())

    def _try(
        self, group: Group, kept: Tensor, outcome: _Outcome, tau: float, now: npt.NDArray[Any] | None
    ) -> npt.NDArray[Any]:
        """Try the edges of one group; returns the metric of every example afterwards."""
        edges = list(reversed(group.edges))
        removed = done = 0
        ahead = 4
        while done < len(edges) or now is None:
            if now is None:
                now = self.trials.metric(self.layout.weights(kept), group, kept[None, list(group.edges)])[0]
                continue
            going = 2 * removed >= done
            batch = edges[done : done + min(ahead, self.trials.at_once)]
            rows = self._rows(group, kept, batch, going)
            values = self.trials.metric(self.layout.weights(kept), group, rows)
            for edge, value in zip(batch, values, strict=True):
                gone = self._judge(edge, value - now, tau, outcome)
                done, removed = done + 1, removed + gone
                if gone:
                    kept[edge], now = False, value
                if gone != going:
                    ahead = max(2, ahead // 2)
                    break
            else:
                ahead *= 2
        return now

    @staticmethod
    def _rows(group: Group, kept: Tensor, batch: Sequence[int], going: bool) -> Tensor:
        """What the group reads in each trial, if the trials before it end as guessed: bool [trials, sources]."""
        rows = kept[list(group.edges)].repeat(len(batch), 1)
        for trial, edge in enumerate(batch):
            rows[trial if not going else slice(trial, None), edge - group.edges.start] = False
        return rows

    def _judge(self, edge: int, difference: npt.NDArray[Any], tau: float, outcome: _Outcome) -> bool:
        """Note a trial's result; whether the edge goes."""
        r = float(difference.mean())
        outcome.tested[edge], outcome.change[edge] = True, r
        outcome.stderr[edge] = difference.std(ddof=min(1, len(difference) - 1)) / np.sqrt(len(difference))
        return bool((abs(r) if self.absolute else self.better * r) < tau)


def _runner(net: Network, partition: Partition, layout: EdgeLayout) -> StreamTrials | GraphTrials | ChainTrials:
    if isinstance(net, Transformer):
        return GraphTrials(net, partition, layout) if needs_graphs(net, partition) else StreamTrials(net, partition)
    if isinstance(net, Sequential):
        return ChainTrials(net, partition)
    raise ModelError(f"acdc is not defined for {type(net).__name__}")


class _Trials:
    """The metric of every example in many circuits at once."""

    def __init__(self, setting: Setting, runner: Any, layout: EdgeLayout) -> None:
        pairs = setting.pairs
        self.net, self.pairs, self.runner = setting.net, pairs, runner
        self.measure, self.baseline = get_metric(setting.metric), setting.baseline
        self.needs_reference = needs_reference(setting.metric)
        time = int(pairs.clean.shape[1]) if pairs.clean.ndim == 2 else 1
        each = runner.trial_bytes(time)
        self.size = setting.batch_size or int(np.clip(MEMORY_PER_STEP // (16 * each), 1, pairs.n))
        at_once = max(1, int(MEMORY_PER_STEP // (self.size * each)))
        self.at_once = 1 if runner.alone else at_once
        self.share = layout.shares if runner.from_target else dict.fromkeys(layout.shares, 1.0)
        self.cached = runner.state_bytes(time) * pairs.n <= MEMORY_FOR_STATES
        self.states: list[tuple[Any, Targets]] = []

    def metric(self, kept: dict[str, Tensor], group: Group, rows: Tensor) -> npt.NDArray[Any]:
        """float64 [trials, examples]."""
        found = []
        for state, targets in self._all_states():
            logits = self.runner.trials(state, kept, group, rows)
            count_forward(logits.shape[0] * logits.shape[1], self.share[group.site])
            found.append(torch.stack([self.measure(one, targets) for one in logits]).double().cpu().numpy())
        return np.concatenate(found, 1)

    def _all_states(self) -> Iterator[tuple[Any, Targets]]:
        if self.states:
            yield from self.states
            return
        for batch in batches(self.net, self.pairs, self.size):
            state = self.runner.state(batch, self.baseline), self._targets(batch)
            if self.cached:
                self.states.append(state)
            yield state

    def _targets(self, batch: Batch) -> Targets:
        if not self.needs_reference:
            return batch.targets
        clean = self.net.run(batch.clean, batch.mask, positions=batch.positions).logits
        return replace(batch.targets, reference=clean)
