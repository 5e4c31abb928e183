"""What block models find of planted groups, and of nothing: shares of graphs, and agreement with the groups.

    python -m benchmarks.block_power circuits     # presence on an architecture, 38 nodes, 591 allowed pairs
    python -m benchmarks.block_power weights      # weights on an architecture, 29 nodes, by pair and by channel
    python -m benchmarks.block_power structures   # modular, core-periphery, ordered and random graphs of 120 nodes

At ratio 1 nothing is planted: what is found there is false.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from compgraph.architecture import transformer_architecture
from compgraph.communities import adjusted_rand, fit_sbm
from compgraph.communities.blocks.generated import KINDS
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition

RATIOS = {"circuits": (1.0, 3.0, 4.0, 5.0, 6.0, 8.0), "weights": (1.0, 1.5, 2.0, 2.5, 3.0), "structures": ()}
SEEDS = 20


def scored(n_layers: int, ratio: float, seed: int, split_qkv: bool) -> tuple[ComputationalGraph, np.ndarray]:
    """Normal scores, `ratio` times larger inside two random groups of heads and MLPs."""
    sizes = {"d_head": 2, "d_model": 4, "d_mlp": 4, "vocabulary": 5}
    architecture = transformer_architecture("gpt2", n_layers=n_layers, n_heads=8, **sizes, parallel=False)
    partition = Partition.heads(architecture)
    empty = ComputationalGraph.from_architecture(architecture, partition, split_qkv=split_qkv)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(empty.n_nodes) * 2 // empty.n_nodes)
    inside = labels[empty.source] == labels[empty.target]
    weight = rng.normal(size=empty.n_edges) * np.where(inside, ratio, 1.0)
    made = ComputationalGraph.from_architecture(architecture, partition, weight, split_qkv=split_qkv, kind="effective")
    return made, labels


def circuit(ratio: float, seed: int) -> tuple[ComputationalGraph, np.ndarray]:
    """Three in ten of the allowed pairs, `ratio` times more often inside two groups."""
    graph, labels = scored(4, 1.0, seed, split_qkv=False)
    inside = labels[graph.source] == labels[graph.target]
    chance = 0.6 / (1 + ratio) * np.where(inside, ratio, 1)
    return graph.subgraph(np.random.default_rng(seed + 1000).random(graph.n_edges) < chance), labels


def row(name: str, graphs: list[tuple[ComputationalGraph, np.ndarray]], **options: Any) -> None:
    """One line: share of graphs with several blocks, and mean agreement with the groups."""
    found = []
    for graph, labels in graphs:
        fit = fit_sbm(graph, n_runs=1, nested=False, **options)
        found.append((fit.n_blocks > 1, adjusted_rand(fit.labels, labels)))
    several, agreement = np.mean(found, axis=0)
    print(f"{name}: several blocks {several:.2f}, adjusted Rand index {agreement:.2f}", flush=True)


def structures() -> None:
    """Which model is kept, the pattern of its blocks, and agreement, for each kind of structure."""
    for kind, make in KINDS.items():
        fits = []
        for seed in range(10):
            graph, labels = make(seed=seed)
            fit = fit_sbm(graph, weights=None, structure="select", n_runs=1)
            fits.append((fit.pattern, fit.structure, adjusted_rand(fit.labels, labels)))
        patterns = {name: [one[0] for one in fits].count(name) for name in sorted({one[0] for one in fits})}
        kept = {name: [one[1] for one in fits].count(name) for name in sorted({one[1] for one in fits})}
        print(f"{kind}: {patterns}, kept {kept}, adjusted Rand index {min(f[2] for f in fits):.2f} or more", flush=True)


def main(what: str) -> None:
    if what == "structures":
        structures()
    for ratio in RATIOS[what]:
        if what == "circuits":
            row(f"ratio {ratio}", [circuit(ratio, seed) for seed in range(SEEDS)], weights=None)
        else:
            row(f"ratio {ratio}, pairs", [scored(3, ratio, seed, True) for seed in range(SEEDS)])
            row(f"ratio {ratio}, channels", [scored(3, ratio, seed, True) for seed in range(SEEDS)], layers="channels")


if __name__ == "__main__":
    main(sys.argv[1])
