"""Exact effect of every edge: the mean metric with that one edge ablated, minus the mean clean metric.

No gradients: for the edge s -> d the stream that d reads is patched by the change of s's write, d computes, and
the pass goes on behind d's site, in batches of edges (`exact_streams`; chains run without each edge).
Cost: an edge into the site at depth x of the network costs about (1 - x) forward passes without logits elsewhere than
at the scored position: a quarter to a fifth of a plain forward pass on average.

Networks with dictionaries take the plain way (`left_out`): a run of the graph an edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline
from compgraph.ablation.chain_runner import ChainRunner
from compgraph.ablation.circuits import CircuitMasks
from compgraph.connectivity.effective.exact_streams import MEMORY_PER_STEP as MEMORY_PER_STEP
from compgraph.connectivity.effective.exact_streams import TransformerEdges
from compgraph.connectivity.effective.left_out import compute_left_out, needs_whole_runs
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.tally import EdgeTally
from compgraph.data.batches import Batch, batches
from compgraph.errors import ModelError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import get_metric, needs_reference
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.progress import progress

MEMORY_PER_BATCH = 2**28
"""Bytes that the changes of all writes may take; decides the batch size where none is given."""


def compute(setting: Setting) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`; any metric will do, differentiable or not."""
    if needs_whole_runs(setting):
        return compute_left_out(setting)
    net, pairs = setting.net, setting.pairs
    get_metric(setting.metric)
    tally = EdgeTally(setting)
    size = setting.batch_size or examples_per_batch(setting)
    steps = tally.n_edges * -(-pairs.n // size)
    with torch.no_grad(), progress("exact", total=steps, unit="edges") as bar:
        for batch in batches(net, pairs, size):
            for start, effects in _effects(setting, batch):
                tally.add(effects.T.double().cpu().numpy(), batch.rows, start)
                bar.advance(len(effects))
    return tally.graph(setting.about("exact"))


def examples_per_batch(setting: Setting) -> int:
    """How many examples are run at once where the caller does not say."""
    net, pairs = setting.net, setting.pairs
    if not isinstance(net, Transformer):
        return int(min(pairs.n, 64))
    writes = setting.partition.n_nodes * pairs.clean.shape[1] * net.spec.d_model
    return int(np.clip(MEMORY_PER_BATCH // (writes * net.weights.embedding.element_size()), 1, min(pairs.n, 64)))


def _effects(setting: Setting, batch: Batch) -> Iterator[tuple[int, Tensor]]:
    """Change of the metric by blocks of edges: (the first in canonical order, [edges, batch])."""
    net = setting.net
    clean = net.run(batch.clean, batch.mask, positions=batch.positions).logits
    targets = replace(batch.targets, reference=clean) if needs_reference(setting.metric) else batch.targets
    measure = get_metric(setting.metric)
    before = measure(clean, targets)

    def change(logits: Tensor) -> Tensor:
        """[edges, batch, classes] -> [edges, batch]."""
        return torch.stack([measure(one, targets) for one in logits]) - before

    if isinstance(net, Transformer):
        for start, logits in TransformerEdges(net, setting.partition, setting.split_qkv, batch, setting.baseline):
            yield start, change(logits)
    elif isinstance(net, Sequential):
        for edge, logits in enumerate(_chain_edges(net, setting.partition, batch, setting.baseline)):
            yield edge, change(logits)
    else:
        raise ModelError(f"exact effects are not defined for {type(net).__name__}")


def _chain_edges(net: Sequential, partition: Partition, batch: Batch, baseline: Baseline) -> Iterator[Tensor]:
    """The chain without each edge in turn: logits [1, batch, classes]."""
    frame, runner = CircuitMasks(net, partition, split_qkv=True), ChainRunner(net, partition)
    base = runner.baseline(batch, baseline)
    for edge in range(frame.n_edges):
        mask = np.ones(frame.n_edges, bool)
        mask[edge] = False
        yield runner.run(base, frame.kept(mask))[None]
