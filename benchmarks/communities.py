"""Communities: how long a large graph takes, and how often small ones are told from chance.

    python -m benchmarks.communities

Large: 10^5 nodes in 24 levels that read all levels before them, 10^6 edges, 5 planted groups in which edges are 5
times likelier. One run of `leiden-layered`: expected weights, spectral start, k-means, moves, Leiden; then the
modularity of the result; then one null graph. Seconds are the processor's, with OMP_NUM_THREADS=1.

Small: exponential weights, `ratio` times larger inside planted groups; each of 30 graphs against 39 null graphs. The
share with p <= 0.05 is the power, and at ratio 1 the rate of false findings.

Structureless: lognormal (or other) weights times the effects of both ends, on every pair or some; each of 60 graphs
against 19 null graphs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from compgraph.architecture import Architecture, Site, transformer_architecture
from compgraph.communities import (
    adjusted_rand,
    communities_over_time,
    core_periphery,
    find_communities,
    leiden,
    leiden_layered,
)
from compgraph.communities.chance import sampler
from compgraph.communities.factored import factored
from compgraph.communities.large import leading
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition

RATIOS, GRAPHS, NULLS = (1.0, 1.5, 2.0, 3.0, 4.0), 30, 39
NODES, EDGES, LEVELS, GROUPS, RATIO = 100_000, 1_000_000, 24, 5, 5.0


def planted(seed: int = 0) -> tuple[ComputationalGraph, np.ndarray]:
    """A layered graph with groups, and the group of each node."""
    rng = np.random.default_rng(seed)
    level = np.arange(NODES) * LEVELS // NODES
    group = rng.integers(GROUPS, size=NODES)
    cells = np.zeros(0, np.int64)
    while len(cells) < EDGES:
        u, v = rng.integers(NODES, size=(2, 4 * EDGES))
        kept = (level[u] < level[v]) & (rng.random(4 * EDGES) < np.where(group[u] == group[v], 1, 1 / RATIO))
        cells = np.unique(np.concatenate([cells, u[kept] * NODES + v[kept]]))
    cells = np.sort(rng.choice(cells, EDGES, replace=False))
    names = ["input", *(f"linear.{k}" for k in range(LEVELS - 2)), "logits"]
    sites = tuple(Site(name, name.split(".")[0], k, 1) for k, name in enumerate(names))  # type: ignore[arg-type]
    reads = {name: tuple(names[:k]) for k, name in enumerate(names) if k}
    architecture = Architecture("sequential", "sequential", sites, reads, {name: ("",) for name in reads})
    columns = {
        "name": [f"node.{k}" for k in range(NODES)],
        "site": [names[k] for k in level],
        "level": level,
    }
    graph = ComputationalGraph(
        columns, cells // NODES, cells % NODES, None, np.ones(EDGES), architecture=architecture
    )
    return graph, group


def undirected(ratio: float, seed: int) -> tuple[ComputationalGraph, np.ndarray]:
    """40 nodes, every pair, 4 groups."""
    rng = np.random.default_rng(seed)
    group = np.arange(40) // 10
    weights = np.triu(rng.exponential(size=(40, 40)) * np.where(group[:, None] == group, ratio, 1.0), 1)
    return ComputationalGraph.from_matrix(weights + weights.T), group


def layered(ratio: float, seed: int) -> tuple[ComputationalGraph, np.ndarray]:
    """38 nodes of a transformer with 4 layers of 8 heads, every allowed pair, 2 groups, unequal strengths."""
    shape = transformer_architecture(
        "gpt2", n_layers=4, n_heads=8, d_head=2, d_model=16, d_mlp=4, vocabulary=5, parallel=False
    )
    part = Partition.heads(shape)
    bare = ComputationalGraph.from_architecture(shape, part, split_qkv=False)
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=bare.n_nodes)
    out, into = np.exp(0.5 * rng.normal(size=(2, bare.n_nodes)))
    weight = rng.exponential(size=bare.n_edges) * out[bare.source] * into[bare.target]
    weight *= np.where(group[bare.source] == group[bare.target], ratio, 1.0)
    return ComputationalGraph.from_architecture(shape, part, weight, split_qkv=False), group


def power(method: str, make: Callable[[float, int], tuple[ComputationalGraph, np.ndarray]]) -> None:
    """Print how often graphs of each ratio are told from chance, and the agreement with their groups."""
    for ratio in RATIOS:
        found, agreement = [], []
        for seed in range(GRAPHS):
            graph, group = make(ratio, seed)
            result = find_communities(graph, method, seed, n_nulls=NULLS, n_runs=1)
            found.append(result.p <= 0.05)
            agreement.append(adjusted_rand(result.labels, group))
        print(f"{method:15s} ratio {ratio:3.1f}: found {np.mean(found):4.2f}, agreement {np.mean(agreement):5.2f}")


def hubs(spread: float, share: float, noise: str, seed: int) -> ComputationalGraph:
    """30 nodes, a share of the pairs, weights noise x effects of both ends, whose logarithms have this deviation."""
    rng = np.random.default_rng(seed)
    effect = spread * rng.normal(size=30)
    makers = {"lognormal": rng.lognormal, "exponential": rng.exponential}
    drawn = np.ones((30, 30)) if noise == "none" else makers[noise](size=(30, 30))
    weights = drawn * np.exp(effect[:, None] + effect) * (rng.random((30, 30)) < share)
    upper = np.triu(weights, 1)
    return ComputationalGraph.from_matrix(upper + upper.T, drop_zeros=True)


def layered_scores(share: float, seed: int) -> ComputationalGraph:
    """Normal scores times effects (deviation of the logarithm 1) on a share of the pairs that `layered` has."""
    graph, _ = layered(1.0, seed)
    rng = np.random.default_rng(seed)
    out, into = np.exp(rng.normal(size=(2, graph.n_nodes)))
    weight = rng.normal(size=graph.n_edges) * out[graph.source] * into[graph.target]
    scored = ComputationalGraph.from_architecture(graph.architecture, graph.partition, weight, split_qkv=False)
    return scored if share == 1 else scored.subgraph(rng.random(graph.n_edges) < share)


STRUCTURELESS: dict[str, tuple[str, Callable[[int], ComputationalGraph]]] = {
    "hubs, lognormal, every pair": ("louvain", lambda seed: hubs(1, 1, "lognormal", seed)),
    "hubs, lognormal, 60 % of pairs": ("louvain", lambda seed: hubs(1, 0.6, "lognormal", seed)),
    "hubs, lognormal, 40 %": ("louvain", lambda seed: hubs(1, 0.4, "lognormal", seed)),
    "hubs, lognormal, 20 %": ("louvain", lambda seed: hubs(1, 0.2, "lognormal", seed)),
    "hubs, exponential, 20 %": ("louvain", lambda seed: hubs(2, 0.2, "exponential", seed)),
    "hubs, no noise, 20 %": ("louvain", lambda seed: hubs(1, 0.2, "none", seed)),
    "hubs, lognormal, strongest 30 %": ("louvain", lambda seed: hubs(1, 1, "lognormal", seed).top(130)),
    "layered, every pair": ("leiden-layered", lambda seed: layered_scores(1, seed)),
    "layered, 30 %": ("leiden-layered", lambda seed: layered_scores(0.3, seed)),
}
"""Method, and graphs without communities."""


def false_findings() -> None:
    """Print how often structureless graphs are said to have communities."""
    for kind, (method, make) in STRUCTURELESS.items():
        p = [find_communities(make(seed), method, seed, n_nulls=19, n_runs=1).p for seed in range(60)]
        print(f"{kind:32s} p <= 0.05: {np.mean(np.array(p) <= 0.05):4.2f}, mean p {np.mean(p):4.2f}", flush=True)


def other_searches(graph: ComputationalGraph) -> None:
    """Print the seconds of other methods on a large graph."""
    rng = np.random.default_rng(0)
    sequence = [graph, *(graph.subgraph(rng.random(graph.n_edges) < 0.7) for _ in range(2))]
    searches: dict[str, Callable[[], object]] = {
        "leiden, constant Potts": lambda: leiden.find(graph, objective="constant-potts", n_runs=1),
        "core-periphery": lambda: core_periphery.find(graph),
        "core-periphery, rich core": lambda: core_periphery.find(graph, rule="rich-core"),
        "three graphs over time": lambda: communities_over_time(sequence, n_runs=1, n_nulls=0),
    }
    for name, search in searches.items():
        start = time.process_time()
        search()
        print(f"{name}: {time.process_time() - start:.1f} s")


def main() -> None:
    false_findings()
    power("louvain", undirected)
    power("leiden-layered", layered)
    graph, group = planted()
    print(f"{graph.n_nodes:,} nodes, {graph.n_edges:,} edges")
    start = time.process_time()
    modularity = factored(graph)
    made = time.process_time()
    leading(modularity, 8, 0)
    print(f"expected weights {made - start:5.1f} s, eigenvectors {time.process_time() - made:5.1f} s")
    start = time.process_time()
    found = leiden_layered.find(graph, n_runs=1)
    taken = time.process_time() - start
    sample = sampler(graph, "strength")
    ready = time.process_time()
    drawn = sample(np.random.default_rng(0))
    made = time.process_time()
    leiden_layered.find(drawn, n_runs=1)
    print(f"a null graph     {made - ready:5.1f} s, and {time.process_time() - made:5.1f} s to search it")
    print(f"leiden-layered   {taken:5.1f} s, {found.n} communities, modularity {found.quality:.3f}, ", end="")
    print(f"adjusted Rand index to the planted groups {adjusted_rand(found.labels, group):.2f}")
    other_searches(graph)


if __name__ == "__main__":
    main()
