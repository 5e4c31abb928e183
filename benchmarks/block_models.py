"""Block models at full size: the table of docs/benchmarks.md, by seconds, peak memory and description length.

    python -m benchmarks.block_models                     # the table: graph-tool alone (minutes a fit), then dense
    python -m benchmarks.block_models dense               # its dense rows: 800, 1,600, 4,096 nodes
    python -m benchmarks.block_models graph-tool          # its rows of graph-tool alone, 800 nodes
    python -m benchmarks.block_models sparse              # nearest neighbours: 100,000 nodes, 1,000,000 edges
    python -m benchmarks.block_models curve               # recovery of planted groups by their separation
    python -m benchmarks.block_models annealed            # what annealed moves save over greedy ones

Planted graphs: every pair observed, deviation 1, and a mean for each pair of groups (deviation 0.4). Seconds are
of the processor, so that other programs on the machine count less. Each fit has a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

GROUPS = {800: 20, 1600: 40, 4096: 60}


def planted(n: int, k: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric weights and the groups."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) * k // n
    means = rng.normal(0, spread, size=(k, k))
    means = np.triu(means) + np.triu(means, 1).T
    weights = np.triu(means[np.ix_(labels, labels)] + rng.normal(size=(n, n)), 1)
    weights += weights.T
    return weights, labels


def report(start: float, **found: Any) -> None:
    """One line of JSON: seconds and GB of this process, and what else was found."""
    seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"seconds": seconds, "memory": memory, **found}), flush=True)


def dense(n: int, nested: bool, n_runs: int) -> None:
    """`fit_sbm` on a planted graph."""
    from compgraph.communities import adjusted_rand, fit_sbm
    from compgraph.graph import ComputationalGraph

    weights, labels = planted(n, GROUPS[n], 0.4, 0)
    graph = ComputationalGraph.from_matrix(weights)
    del weights
    start = time.process_time()
    fit = fit_sbm(graph, nested=nested, n_runs=n_runs)
    report(start, nats=fit.description_length, blocks=fit.n_blocks, recovered=adjusted_rand(fit.labels, labels))


def alone(nested: bool, seed: int) -> None:
    """graph-tool's `minimize_*` on the same graph of 800 nodes, without degree correction."""
    from compgraph.communities import adjusted_rand
    from compgraph.communities.blocks.library import load_graph_tool, reproducible

    gt = load_graph_tool()
    weights, labels = planted(800, GROUPS[800], 0.4, 0)
    source, target = np.triu_indices(800, 1)
    value = weights[source, target]
    graph = gt.Graph(directed=False)
    graph.add_vertex(800)
    graph.add_edge_list(np.stack([source, target], axis=1))
    recs = [graph.new_edge_property("double", vals=(value - value.mean()) / value.std())]
    options = {"recs": recs, "rec_types": ["real-normal"], "deg_corr": False}
    minimise = gt.inference.minimize_nested_blockmodel_dl if nested else gt.inference.minimize_blockmodel_dl
    start = time.process_time()
    with reproducible(seed):
        state = minimise(graph, state_args=options)
    finest = state.levels[0] if nested else state
    recovered = adjusted_rand(finest.get_blocks().a.copy(), labels)
    report(start, nats=state.entropy(), blocks=int(finest.get_nonempty_B()), recovered=recovered)


def sparse(n: int = 100_000, neighbours: int = 14) -> None:
    """Nearest neighbours of points in 200 clusters: degree-corrected, unweighted."""
    from sklearn.neighbors import kneighbors_graph

    from compgraph.communities import adjusted_rand, fit_sbm
    from compgraph.graph import ComputationalGraph

    rng = np.random.default_rng(0)
    labels = np.arange(n) * 200 // n
    points = rng.normal(size=(200, 8))[labels] * 2 + rng.normal(size=(n, 8))
    near = kneighbors_graph(points, neighbours)
    source, target = near.maximum(near.T).nonzero()
    once = source < target
    names = [str(node) for node in range(n)]
    graph = ComputationalGraph(names, source[once], target[once], None, np.ones(once.sum()), directed=False)
    start = time.process_time()
    fit = fit_sbm(graph, weights=None, degree_corrected=True, nested=False, n_runs=1)
    found = {"nodes": n, "edges": int(once.sum()), "nats below one block": fit.gain, "blocks": fit.n_blocks}
    report(start, **found, recovered=adjusted_rand(fit.labels, labels))


def annealed(seeds: int = 5) -> None:
    """Nats that annealed moves save over greedy ones, least, mean and most over planted graphs, and their cost."""
    from compgraph.communities import fit_sbm
    from compgraph.graph import ComputationalGraph

    print("nodes, groups, deviation of means: nats saved (least, mean, most), seconds greedy, annealed")
    for n, k, spread in ((120, 6, 0.5), (200, 10, 0.4), (200, 4, 0.25)):
        saved, cost = [], {"greedy": 0.0, "annealed": 0.0}
        for seed in range(seeds):
            graph = ComputationalGraph.from_matrix(planted(n, k, spread, seed)[0])
            nats = {}
            for moves in cost:
                start = time.process_time()
                options = {"nested": False, "n_runs": 1, "degree_corrected": False, "odds": 1.0}
                nats[moves] = fit_sbm(graph, engine="dense", moves=moves, seed=seed, **options).description_length
                cost[moves] += (time.process_time() - start) / seeds
            saved.append(nats["greedy"] - nats["annealed"])
        least, mean, most = min(saved), float(np.mean(saved)), max(saved)
        print(
            f"{n} {k} {spread}: {least:.2f} {mean:.2f} {most:.2f}; {cost['greedy']:.1f} {cost['annealed']:.1f}",
            flush=True,
        )


def curve(n: int = 200, k: int = 2, seeds: int = 5) -> None:
    """Mean adjusted Rand index by the difference of means inside and between groups.

    The leading eigenvector knows nothing of two groups below a separation of 2 / sqrt(n): 0.14 for 200 nodes.
    """
    from sklearn.cluster import SpectralClustering

    from compgraph.communities import adjusted_rand, fit_sbm
    from compgraph.graph import ComputationalGraph

    labels = np.arange(n) * k // n
    print(f"{n} nodes, {k} groups: separation, dense, graph-tool from informed starts, spectral")
    for separation in (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6):
        rows = []
        for seed in range(seeds):
            noise = np.random.default_rng(seed).normal(size=(n, n))
            weights = np.triu(noise + separation * (labels[:, None] == labels), 1)
            graph = ComputationalGraph.from_matrix(weights + weights.T)
            options = {"nested": False, "n_runs": 1, "degree_corrected": False}
            fits = [fit_sbm(graph, engine=engine, **options).labels for engine in ("dense", "graph-tool")]
            affinity = np.exp(weights + weights.T)
            np.fill_diagonal(affinity, 0)
            clusters = SpectralClustering(k, affinity="precomputed", random_state=0).fit_predict(affinity)
            rows.append([adjusted_rand(found, labels) for found in (*fits, clusters)])
        print(f"{separation:.2f}", " ".join(f"{value:.2f}" for value in np.mean(rows, axis=0)), flush=True)


ALONE = [
    (800, "graph-tool alone", "1, three seeds", ["alone 0 0", "alone 0 1", "alone 0 2"]),
    (800, "graph-tool alone, nested", "1", ["alone 1 0"]),
]
DENSE = [
    (800, "dense", "1", ["dense 800 0 1"]),
    (800, "dense", "3", ["dense 800 0 3"]),
    (800, "dense, nested too", "3", ["dense 800 1 3"]),
    (1600, "dense", "3", ["dense 1600 0 3"]),
    (1600, "dense, nested too", "3", ["dense 1600 1 3"]),
    (4096, "dense", "1", ["dense 4096 0 1"]),
]
"""Rows of the table: nodes, engine, runs of each fit, and the fits."""
TABLES = {"": ALONE + DENSE, "graph-tool": ALONE, "dense": DENSE}


def row(nodes: int, engine: str, runs: str, fits: list[str]) -> str:
    """One row of the table."""
    found = [json.loads(one(fit)) for fit in fits]
    for fit in found:
        print(f"{engine}, {nodes} nodes: adjusted Rand index {fit['recovered']:.2f}", file=sys.stderr)
    seconds = ", ".join(f"{fit['seconds']:.1f}" if fit["seconds"] < 10 else f"{fit['seconds']:.0f}" for fit in found)
    memory = max(fit["memory"] for fit in found)
    nats = "; ".join(f"{fit['nats']:,.1f}" for fit in found)
    blocks = ", ".join(str(fit["blocks"]) for fit in found)
    cells = (f"{nodes:,}", engine, runs, seconds, f"{memory:.2f} GB", nats, f"{blocks} ({GROUPS[nodes]})")
    return f"| {' | '.join(cells)} |"


def one(fit: str) -> str:
    """What a fit in a process of its own prints."""
    command = [sys.executable, "-m", "benchmarks.block_models", "one", *fit.split()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["one"]:
        name, *numbers = arguments[1:]
        functions = {"dense": lambda n, nested, runs: dense(n, bool(nested), runs), "sparse": sparse}
        functions |= {"curve": curve, "annealed": annealed}
        functions["alone"] = lambda nested, seed: alone(bool(nested), seed)
        functions[name](*map(int, numbers))
        return
    asked = arguments[0] if arguments else ""
    if asked in ("sparse", "curve", "annealed"):
        print(one(asked))
        return
    print("| nodes | engine | runs | seconds | memory | nats | blocks (planted) |")
    print("|" + " --- |" * 7)
    for entry in TABLES[asked]:
        print(row(*entry), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
