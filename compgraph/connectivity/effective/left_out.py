"""Exact effects by running the graph without each edge in turn: the plain way, for what has no faster one.

It serves whatever edge ablation runs (`compgraph.ablation.run`), networks with dictionaries among them. Units that
belong to no node hold their baseline value in the graph with all edges as in those without one, so that an effect is
the edge's alone.

Cost: one run of the graph an edge; and for every `CIRCUITS` edges one of the whole graph and the baseline.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from compgraph.ablation.circuits import CircuitMasks
from compgraph.ablation.run import run_masks
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.tally import EdgeTally
from compgraph.data.batches import Batch
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.graph import ComputationalGraph
from compgraph.metrics import Targets, get_metric, needs_reference
from compgraph.models.counting import count_forward
from compgraph.progress import progress

CIRCUITS = 64
"""Circuits handed to edge ablation at once."""


def needs_whole_runs(setting: Setting) -> bool:
    """Whether a setting is one of those that the fast way does not serve."""
    return isinstance(setting.net, FeatureTransformer)


def compute_left_out(setting: Setting) -> ComputationalGraph:
    """See `compgraph.connectivity.effective.exact.compute`."""
    net, measure = setting.net, get_metric(setting.metric)
    frame = CircuitMasks(net, setting.partition, setting.split_qkv)
    tally = EdgeTally(setting)
    with torch.no_grad(), progress("exact", total=frame.n_edges, unit="edges") as bar:
        for start in range(0, frame.n_edges, CIRCUITS):
            edges = np.arange(start, min(start + CIRCUITS, frame.n_edges))
            masks = np.ones((1 + len(edges), frame.n_edges), dtype=bool)
            masks[1 + np.arange(len(edges)), edges] = False
            runs = run_masks(net, frame, masks, setting.pairs, baseline=setting.baseline, batch_size=setting.batch_size)
            for batch, logits in runs:
                count_forward(len(batch) * len(masks))
                targets = _targets(setting, batch)
                whole, *without = (measure(one, targets) for one in logits)
                effects = torch.stack(without) - whole
                tally.add(effects.T.double().cpu().numpy(), batch.rows, start)
            bar.advance(len(edges))
    return tally.graph(setting.about("exact"))


def _targets(setting: Setting, batch: Batch) -> Targets:
    if not needs_reference(setting.metric):
        return batch.targets
    clean = setting.net.run(batch.clean, batch.mask, positions=batch.positions).logits
    return replace(batch.targets, reference=clean)
