"""What block models find of planted groups, and of nothing: shares of graphs, and agreement with the groups.

    python -m benchmarks.block_power circuits     # presence on an architecture, 38 nodes, 591 allowed pairs
    python -m benchmarks.block_power weights      # weights on an architecture, 29 nodes, by pair and by channel
    python -m benchmarks.block_power nested       # presence, 96 nodes, 12 groups in 3 families
    python -m benchmarks.block_power discrete     # Poisson weights on every pair, 30 nodes
    python -m benchmarks.block_power signs        # signs of weights on every pair, 30 nodes
    python -m benchmarks.block_power structures   # modular, core-periphery, ordered and random graphs of 120 nodes

At ratio 1 nothing is planted: what is found there is false. Beside `nested`, `discrete` and `signs` stands one call of
graph-tool's own search (`minimize_blockmodel_dl`, or its nested form) with the same model, its shortest description.
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

RATIOS: dict[str, tuple[float, ...]] = {
    "nested": (1.0, 1.5, 2.0, 2.5, 3.0),
    "discrete": (1.0, 1.2, 1.4, 1.7),
    "signs": (1.0, 3.0, 4.0, 6.0),
} | {"circuits": (1.0, 3.0, 4.0, 5.0, 6.0, 8.0), "weights": (1.0, 1.5, 2.0, 2.5, 3.0), "structures": ()}
SEEDS = 20
BESIDE = 10
"""Graphs of each ratio where graph-tool stands beside."""


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


def families(ratio: float, seed: int) -> tuple[ComputationalGraph, np.ndarray]:
    """12 groups of 8 nodes, in 3 families: `ratio` times more edges in a family, and in a group; 15 % of pairs."""
    labels = np.arange(96) // 8
    kin = (labels[:, None] // 4 == labels // 4).astype(float) + (labels[:, None] == labels)
    chance = ratio**kin
    chance *= 0.15 / chance[np.triu_indices(96, 1)].mean()
    edges = np.triu(np.random.default_rng(seed).random((96, 96)) < np.minimum(chance, 1), 1).astype(float)
    return ComputationalGraph.from_matrix(edges + edges.T, drop_zeros=True), labels


def counted(ratio: float, seed: int) -> tuple[ComputationalGraph, np.ndarray]:
    """Poisson weights of mean 4, `ratio` times larger inside two groups, and 1 on every pair, so that all have one."""
    labels = np.arange(30) // 15
    mean = 4 * np.where(labels[:, None] == labels, ratio, 1.0)
    weights = np.triu(1 + np.random.default_rng(seed).poisson(mean), 1).astype(float)
    return ComputationalGraph.from_matrix(weights + weights.T), labels


def signed(ratio: float, seed: int) -> tuple[ComputationalGraph, np.ndarray]:
    """Exponential sizes without groups; odds of a positive sign are `ratio` inside two groups, else 1 / ratio."""
    labels, rng = np.arange(30) // 15, np.random.default_rng(seed)
    odds = np.where(labels[:, None] == labels, ratio, 1 / ratio)
    sign = np.where(rng.random((30, 30)) < odds / (1 + odds), 1, -1)
    weights = np.triu(rng.exponential(size=(30, 30)) * sign, 1)
    return ComputationalGraph.from_matrix(weights + weights.T), labels


BESIDE_MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "nested": (families, {"weights": None, "nested": True}),
    "discrete": (counted, {"weights": "discrete-poisson", "nested": False}),
    "signs": (signed, {"weights": ["real-exponential", "sign"], "nested": False}),
}
"""Maker of graphs, and the model that is fitted."""


def library(graph: ComputationalGraph, seed: int, options: dict[str, Any]) -> np.ndarray:
    """Blocks that graph-tool's own search finds in one call: the better of with and without degree correction."""
    from compgraph.communities.blocks.library import load_graph_tool, reproducible
    from compgraph.communities.blocks.problem import describe
    from compgraph.communities.blocks.states import States

    states = States(describe(graph, weights=options["weights"]).observed)
    inference = load_graph_tool().inference
    search = inference.minimize_nested_blockmodel_dl if options["nested"] else inference.minimize_blockmodel_dl
    with reproducible(seed):
        found = [search(states.graph, state_args={"deg_corr": choice, **states.arguments}) for choice in (False, True)]
    best = min(found, key=lambda state: state.entropy())
    return np.array(best.get_bs()[0] if options["nested"] else best.b.a)  # graph-tool's array goes with its state


def beside(what: str, ratio: float) -> None:
    """Two lines: ours, and graph-tool's own search."""
    make, options = BESIDE_MODELS[what]
    ours, theirs = [], []
    for seed in range(BESIDE):
        graph, labels = make(ratio, seed)
        fit = fit_sbm(graph, n_runs=1, **options)
        ours.append((fit.n_blocks > 1, adjusted_rand(fit.labels, labels)))
        other = library(graph, seed, options)
        theirs.append((len(np.unique(other)) > 1, adjusted_rand(other, labels)))
    for name, found in (("fit_sbm", ours), ("graph-tool's search", theirs)):
        several, agreement = np.mean(found, axis=0)
        print(f"ratio {ratio}, {name}: several blocks {several:.2f}, adjusted Rand index {agreement:.2f}", flush=True)


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
        if what in BESIDE_MODELS:
            beside(what, ratio)
        elif what == "circuits":
            row(f"ratio {ratio}", [circuit(ratio, seed) for seed in range(SEEDS)], weights=None)
        else:
            row(f"ratio {ratio}, pairs", [scored(3, ratio, seed, True) for seed in range(SEEDS)])
            row(f"ratio {ratio}, channels", [scored(3, ratio, seed, True) for seed in range(SEEDS)], layers="channels")


if __name__ == "__main__":
    main(sys.argv[1])
