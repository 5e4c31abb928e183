"""Communities of a layered graph of 10^5 nodes and 10^6 edges, against what its architecture allows.

    python -m benchmarks.communities

24 levels that read all levels before them, 5 planted groups in which edges are 5 times likelier. One run of
`leiden-layered`: expected weights, spectral start, k-means, Leiden; then the modularity of the result.
"""

from __future__ import annotations

import time

import numpy as np

from compgraph.architecture import Architecture, Site
from compgraph.communities import adjusted_rand, leiden_layered
from compgraph.communities.factored import factored
from compgraph.communities.large import leading
from compgraph.graph import ComputationalGraph

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


def main() -> None:
    graph, group = planted()
    print(f"{graph.n_nodes:,} nodes, {graph.n_edges:,} edges")
    start = time.perf_counter()
    modularity = factored(graph)
    made = time.perf_counter()
    leading(modularity, 8, 0)
    print(f"expected weights {made - start:5.1f} s, eigenvectors {time.perf_counter() - made:5.1f} s")
    start = time.perf_counter()
    found = leiden_layered.find(graph, n_runs=1)
    taken = time.perf_counter() - start
    print(f"leiden-layered   {taken:5.1f} s, {found.n} communities, modularity {found.quality:.3f}, ", end="")
    print(f"adjusted Rand index to the planted groups {adjusted_rand(found.labels, group):.2f}")


if __name__ == "__main__":
    main()
