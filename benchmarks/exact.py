"""Cost of `exact` per head-level edge, in plain `transformers` forward passes of the same tokens.

    python -m benchmarks.exact [--blocks 3]

One thread. Of every destination site a few blocks of edges are run, a plain forward pass (default attention, logits
at all positions) in turn with them; the figure is the mean over all edges, each counted with its site's cost.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice

import torch

from benchmarks.measuring import SHAPES, seconds, subject
from compgraph.ablation.baselines import make_baseline
from compgraph.connectivity.effective.exact_streams import TransformerEdges
from compgraph.connectivity.effective.walk import walk
from compgraph.data.batches import batches
from compgraph.partition import Partition

GOAL = 1 / 3


def measure(shape: str, blocks: int) -> None:
    """Print the mean cost, and that of the dearest and cheapest site, at one shape."""
    one = subject(shape)
    net, partition = one.net, Partition.heads(one.net)
    (batch,) = batches(net, one.pairs, one.pairs.n)
    costs, counts = {}, {}
    for _ in range(3):
        one.forward()
    start = time.perf_counter()
    edges = TransformerEdges(net, partition, True, batch, make_baseline("counterfactual", net, one.pairs))
    once = (time.perf_counter() - start) / seconds(one.forward)
    for step in walk(net, batch, edges.context):
        base = min(seconds(one.forward) for _ in range(2))
        start, done = time.perf_counter(), 0
        for _, logits in islice(edges.into(step), blocks):
            done += len(logits)
        costs[step.site] = (time.perf_counter() - start) / done / base
        counts[step.site] = edges.n_edges(step.site)
    total = sum(counts.values())
    mean = (once + sum(costs[site] * counts[site] for site in costs)) / total
    print(
        f"{shape}: {total} edges, {mean:.3f} forward passes an edge (goal: {GOAL:.3f}); "
        f"{max(costs.values()):.3f} at the dearest site, {min(costs.values()):.3f} at the cheapest"
    )


def main() -> None:
    """Measure every shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=3)
    blocks = parser.parse_args().blocks
    torch.set_num_threads(1)
    with torch.no_grad():
        for shape in SHAPES:
            measure(shape, blocks)


if __name__ == "__main__":
    main()
