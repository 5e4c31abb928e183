"""Drawing 1,000 random circuits like one of GPT-2 small's graph, by kind: time, and how far they are from it.

    python -m benchmarks.random_circuits [numbers of strongest edges]

CPU time, and its ratio within this run to that of as many uniform draws without connectivity. The scores are made up
(products of lognormal sizes of the nodes, strong at input and logits), so that the circuit is concentrated as real ones
are.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from compgraph.architecture import transformer_architecture
from compgraph.evaluation.random_circuits import KINDS, pruned, sample_circuits
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition

DRAWS = 1000


def example() -> ComputationalGraph:
    """GPT-2 small's graph over heads with made-up scores."""
    shape = {"n_layers": 12, "n_heads": 12, "d_head": 64, "d_model": 768, "d_mlp": 3072, "vocabulary": 50257}
    net = transformer_architecture("gpt2", **shape)
    partition = Partition.heads(net)
    plain = ComputationalGraph.from_architecture(net, partition)
    rng = np.random.default_rng(0)
    size = np.exp(1.5 * rng.normal(size=plain.n_nodes))
    size[plain.inputs], size[plain.outputs] = 20, 20
    weight = size[plain.source] * size[plain.target] * np.exp(rng.normal(size=plain.n_edges))
    return ComputationalGraph.from_architecture(net, partition, weight)


def main(sizes: list[int]) -> None:
    graph = example()
    print(f"{graph.n_edges:,} edges, {DRAWS:,} draws; CPU seconds, ratio to plain draws, share of edges in common")
    for size in sizes:
        circuit = pruned(graph, graph.top_mask(size))
        start = time.process_time()
        sample_circuits(graph, circuit, DRAWS, "size", connected=False)
        plain = time.process_time() - start
        for kind in KINDS:
            start = time.process_time()
            draws = sample_circuits(graph, circuit, DRAWS, kind)
            took = time.process_time() - start
            print(
                f"{int(circuit.sum()):6,} edges  {kind:7}{took:6.1f} s{took / plain:6.1f} x   "
                f"with the circuit {draws.overlap:.2f}, with each other {draws.between:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [325, 3249])
