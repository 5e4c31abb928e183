"""Many circuits over data: which runner, how many circuits and examples at a time, and the runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline, check_nodes
from compgraph.ablation.chain_runner import ChainBase, ChainRunner
from compgraph.ablation.circuits import CircuitMasks, Kept
from compgraph.ablation.feature_runner import FeatureRunner
from compgraph.ablation.feature_units import FeatureUnitRunner
from compgraph.ablation.stream_runner import StreamRunner
from compgraph.ablation.streams import NORM_SCALES
from compgraph.ablation.unit_runner import UnitRunner
from compgraph.data.batches import Batch, batches
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.errors import GraphError, ModelError
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.progress import track

MEMORY_PER_BATCH = 2**28
"""Bytes that one batch may take, unless twice a plain forward pass takes less."""
FLOOR = 2**25
"""Bytes that one batch may take in any case."""
EXAMPLES = 16
"""Circuits are run in several groups rather than with fewer examples (or all) at a time."""
FEW = 16
"""Sites of fewer units are no reason to treat units one by one."""
CIRCUITS = 64
"""Most circuits of a group."""


class Runner(Protocol):
    """Runs circuits of one network and partition."""

    def prepare(self, kept: Sequence[Kept], consistent: bool) -> Any:
        """What some circuits compute; of the baseline, whether it is consistent."""
        ...

    def bytes_of(self, prepared: Any, time: int) -> int:
        """Memory that the circuits take for one example of so many tokens."""
        ...

    def baseline(self, batch: Batch, baseline: Baseline) -> Any:
        """The baseline run of a batch."""
        ...

    def run_plan(self, base: Any, prepared: Any) -> Tensor:
        """Logits [circuits, batch, classes]."""
        ...


class Chains:
    """`ChainRunner` as a `Runner`: circuits one after the other."""

    def __init__(self, net: Sequential, partition: Partition) -> None:
        self.runner = ChainRunner(net, partition)

    def prepare(self, kept: Sequence[Kept], consistent: bool) -> Sequence[Kept]:
        """See `Runner`."""
        return kept

    def bytes_of(self, prepared: Sequence[Kept], time: int) -> int:
        """See `Runner`."""
        return self.runner.bytes_per_example(time)

    def baseline(self, batch: Batch, baseline: Baseline) -> ChainBase:
        """See `Runner`."""
        return self.runner.baseline(batch, baseline)

    def run_plan(self, base: ChainBase, prepared: Sequence[Kept]) -> Tensor:
        """See `Runner`."""
        return torch.stack([self.runner.run(base, one) for one in prepared])


def runner_for(net: Network, partition: Partition, norm_scale: str) -> Runner:
    """The runner of the circuits of a network and partition.

    Raises
    ------
    GraphError, ModelError
        An unknown scale of norms, or one that the network has no use for; a network without a runner.
    """
    if norm_scale not in NORM_SCALES:
        raise GraphError(f"norm_scale {norm_scale!r} is not known; valid are {', '.join(NORM_SCALES)}")
    if isinstance(net, FeatureTransformer):
        if between_units(partition):
            return FeatureUnitRunner(net, partition, norm_scale)
        return FeatureRunner(net, partition, norm_scale)
    if isinstance(net, Transformer):
        if between_units(partition):
            return UnitRunner(net, partition, norm_scale)
        return StreamRunner(net, partition, norm_scale)
    if isinstance(net, Sequential):
        if norm_scale != "exact":
            raise GraphError(f"norm_scale {norm_scale!r}: a chain has no norms; it must be 'exact'")
        return Chains(net, partition)
    raise ModelError(f"edge ablation has no runner for {type(net).__name__}")


def between_units(partition: Partition) -> bool:
    """Whether most nodes of some site are single units, so that a stream for each would be dear."""
    sizes = {site: len(labels) for site, labels in partition.labels.items() if site not in ("embed", "logits")}
    return any(n >= FEW and 2 * partition.n_parts(site) > n for site, n in sizes.items())


def memory_for(net: Network, pairs: Any) -> int:
    """Bytes that a batch may take: what a plain forward pass of all pairs takes twice, weights included."""
    if not isinstance(net, Transformer):
        return MEMORY_PER_BATCH
    size = net.weights.embedding.element_size()
    weights = size * (net.weights.embedding.numel() + 12 * net.spec.n_layers * net.spec.d_model**2)
    plain = 2 * size * int(pairs.clean.size) * (net.spec.vocabulary + 8 * net.spec.d_model)
    return int(np.clip(weights + plain, FLOOR, MEMORY_PER_BATCH))


def groups(runner: Runner, kept: Sequence[Kept], consistent: bool, n: int, time: int, memory: int) -> list[Any]:
    """Circuits prepared in groups of neighbours that leave room for enough examples."""
    if len(kept) > CIRCUITS:
        halves: Sequence[Sequence[Kept]] = [kept[k : k + CIRCUITS] for k in range(0, len(kept), CIRCUITS)]
    else:
        prepared = runner.prepare(kept, consistent)
        if len(kept) == 1 or memory // runner.bytes_of(prepared, time) >= min(n, EXAMPLES):
            return [prepared]
        halves = [kept[: len(kept) // 2], kept[len(kept) // 2 :]]
    return [one for half in halves for one in groups(runner, half, consistent, n, time, memory)]


def prepared_runs(
    net: Network,
    frame: CircuitMasks,
    masks: np.ndarray,
    pairs: Any,
    baseline: Baseline,
    *,
    batch_size: int | None = None,
    norm_scale: str = "exact",
) -> Iterator[tuple[Batch, Callable[[], Tensor]]]:
    """Batches whose baseline run is made, each with a call that runs the circuits: logits [circuits, batch, classes].

    Parameters
    ----------
    masks
        bool [circuits, edges].
    norm_scale
        See `compgraph.ablation.streams.NORM_SCALES`.
    """
    check_nodes(baseline, frame.partition)
    runner = runner_for(net, frame.partition, norm_scale)
    time, memory = int(pairs.clean.shape[1]) if pairs.clean.ndim == 2 else 1, memory_for(net, pairs)
    kept = [frame.kept(mask) for mask in masks]
    prepared = groups(runner, kept, baseline.consistent, pairs.n, time, memory)
    most = max(runner.bytes_of(one, time) for one in prepared)
    size = batch_size or int(np.clip(memory // most, 1, pairs.n))
    total = -(-pairs.n // size)
    with torch.no_grad():
        for batch in track(batches(net, pairs, size), description="edge ablation", total=total, unit="batch"):
            yield batch, partial(_run, runner, runner.baseline(batch, baseline), prepared)


def _run(runner: Runner, base: Any, prepared: Sequence[Any]) -> Tensor:
    with torch.no_grad():
        logits = [runner.run_plan(base, one) for one in prepared]
    return logits[0] if len(logits) == 1 else torch.cat(logits)
