"""Seconds of network statistics: all measures with many nulls on GPT-2 small's shape, single ones on a large graph.

Of the large graph in seconds of the processor, with OMP_NUM_THREADS=1; of many nulls also on the clock.

Run: `python -m benchmarks.network_statistics [--nulls 999] [--workers 2] [--large]`

With `--levels`: how often structureless graphs are called different from chance at 0.1, by shape of the noise of their
weights; 40 graphs with effects of both ends against 19 null graphs each, mean over measures and the two worst.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from compgraph import catalogue
from compgraph.architecture import transformer_architecture
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.statistics import network_statistics
from compgraph.statistics.measures.kinds import value_of
from compgraph.statistics.view import View, view


def heads(seed: int = 0) -> ComputationalGraph:
    """Independent normal weights, of unequal nodes, on all head-level edges of GPT-2 small's shape."""
    shape = transformer_architecture("gpt2", n_layers=12, n_heads=12, d_head=2, d_model=24, d_mlp=4, vocabulary=5)
    nodes = Partition.heads(shape)
    empty = ComputationalGraph.from_architecture(shape, nodes)
    rng = np.random.default_rng(seed)
    effects = np.exp(rng.normal(size=(2, empty.n_nodes)))
    weight = rng.normal(size=empty.n_edges) * effects[0][empty.source] * effects[1][empty.target]
    return ComputationalGraph.from_architecture(shape, nodes, weight, kind="effective")


def large(n_nodes: int = 100_000, n_edges: int = 1_000_000, seed: int = 0) -> View:
    """Random weights on a layered graph of about so many nodes and edges, in 24 levels."""
    width = n_nodes // 22
    widths = dict.fromkeys(("d_head", "d_model", "d_mlp"), width)
    shape = transformer_architecture("gpt2", n_layers=11, n_heads=1, vocabulary=5, **widths)
    nodes = Partition.from_labels(
        {site.name: np.zeros(site.n_units, int) if site.kind in ("embed", "logits") else np.arange(site.n_units)
         for site in shape.node_sites}
    )  # fmt: skip
    seen = view(ComputationalGraph(nodes, [], [], None, [], architecture=shape))
    rng = np.random.default_rng(seed)
    source, target = rng.integers(seen.n_nodes, size=(2, 3 * n_edges))
    keep = seen.allowed.has(source, target)
    source, target = source[keep][:n_edges], target[keep][:n_edges]
    return seen.with_edges(source, target, rng.normal(size=len(source)))


Noise = Callable[[np.random.Generator, int], np.ndarray]
NOISES: dict[str, Noise] = {
    "lognormal 0.5": lambda rng, n: rng.lognormal(sigma=0.5, size=n),
    "lognormal 1": lambda rng, n: rng.lognormal(sigma=1.0, size=n),
    "lognormal 2": lambda rng, n: rng.lognormal(sigma=2.0, size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "normal": lambda rng, n: np.abs(rng.normal(size=n)),
    "t3": lambda rng, n: np.abs(rng.standard_t(3, size=n)),
}


def structureless(directed: bool, share: float, noise: Noise, seed: int) -> ComputationalGraph:
    """Noise times effects of both ends (deviation of the logarithm 0.7) on a share of the possible pairs.

    Layered: a transformer of three layers of six heads, 23 nodes; undirected: 24 nodes.
    """
    rng = np.random.default_rng(seed)
    if not directed:
        ends = np.triu_indices(24, 1)
        effect = np.exp(0.7 * rng.normal(size=24))
        weight = noise(rng, len(ends[0])) * effect[ends[0]] * effect[ends[1]]
        graph = ComputationalGraph([f"node.{k}" for k in range(24)], *ends, None, weight, directed=False)
    else:
        shape = transformer_architecture("gpt2", n_layers=3, n_heads=6, d_head=2, d_model=4, d_mlp=4, vocabulary=5)
        bare = ComputationalGraph.from_architecture(shape, Partition.heads(shape), split_qkv=False)
        out, into = np.exp(0.7 * rng.normal(size=(2, bare.n_nodes)))
        weight = noise(rng, bare.n_edges) * out[bare.source] * into[bare.target]
        graph = ComputationalGraph.from_architecture(shape, bare.partition, weight, split_qkv=False)
    return graph if share == 1 else graph.subgraph(rng.random(graph.n_edges) < share)


def false_findings(null: str, make: Callable[[int], ComputationalGraph]) -> tuple[int, dict[str, float]]:
    """Graphs that a null serves, of 40, and the share of them that each measure calls different at 0.1."""
    names = [name for name in catalogue.STATISTICS if name not in ("small_worldness", "log_paths")]
    tables = [network_statistics(make(seed), names, null, 19, seed).set_index("measure")["p"] for seed in range(40)]
    served = [p for p in tables if p.notna().any()]
    tested = [name for name in names if any(p[name] >= 0 for p in served)]
    return len(served), {name: float(np.mean([p[name] <= 0.1 for p in served])) for name in tested}


def levels() -> None:
    """Print the rates of `effects` and of `strength`, where this is not refused."""
    for directed, share in ((True, 1.0), (True, 0.4), (False, 1.0), (False, 0.3)):
        for noise, draw in NOISES.items():
            for null in ("effects", "strength"):
                served, rates = false_findings(null, partial(structureless, directed, share, draw))
                ranked = sorted(rates, key=lambda one: -rates[one])[:2]
                worst = ", ".join(f"{name} {rates[name]:.2f}" for name in ranked)
                mean = np.mean(list(rates.values())) if rates else float("nan")
                kind = "layered" if directed else "undirected"
                print(f"{kind} {share:.0%} {noise} {null}: served {served} of 40, mean {mean:.2f}; {worst}", flush=True)


def main() -> None:
    """Print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nulls", type=int, default=999)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--levels", action="store_true")
    given = parser.parse_args()
    if given.levels:
        levels()
        return
    if given.large:
        seen = large()
        print(f"{seen.n_nodes:,} nodes, {seen.n_edges:,} edges")
        for name, entry in catalogue.STATISTICS.items():
            start = time.process_time()
            value, reason = value_of(catalogue.load(entry), seen, 0)
            print(f"{name:24s} {time.process_time() - start:7.2f} s  {value:.6g} {reason}", flush=True)
        for null in ("weights", "effects", "strength", "swap", "swap-effects", "level-pair-swap", "stubs"):
            start = time.process_time()
            sampler = catalogue.load(catalogue.NULLS[null])(seen, 0)
            ready = time.process_time()
            sampler(np.random.default_rng(1))
            took = time.process_time() - ready
            print(f"{null:24s} {ready - start:7.2f} s to prepare, {took:.2f} s a graph", flush=True)
        return
    graph = heads()
    start, before = time.perf_counter(), os.times()
    table = network_statistics(graph, n_nulls=given.nulls, workers=given.workers)
    took = time.perf_counter() - start
    tested = int(table["p"].notna().sum())
    print(f"{graph.n_nodes} nodes, {graph.n_edges:,} edges")
    spent = sum(os.times()[:4]) - sum(before[:4])
    print(f"{given.nulls} nulls, {given.workers} processes: {took:.0f} s, {spent:.0f} s of processors")
    print(f"{tested} measures tested, {int((table['q'] <= 0.05).sum())} differ from chance at q 0.05")


if __name__ == "__main__":
    main()
