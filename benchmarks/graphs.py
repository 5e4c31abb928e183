"""Saving and loading a graph of 10^7 edges, against writing and reading the same bytes plainly.

    python -m benchmarks.graphs

Ratios within this run, to `numpy.save` and `numpy.load` of the four columns (170 MB, page cache warm).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from compgraph.graph import ComputationalGraph

EDGES, NODES = 10**7, 5000


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Best wall time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def example() -> ComputationalGraph:
    """A random graph with `EDGES` edges in the canonical order."""
    target = np.repeat(np.arange(NODES, dtype=np.int32), EDGES // NODES)
    source = np.tile(np.arange(EDGES // NODES, dtype=np.int32), NODES)
    source += source >= target
    weight = np.random.default_rng(0).normal(size=EDGES)
    return ComputationalGraph([f"node.{k}" for k in range(NODES)], source, target, None, weight)


def main() -> None:
    graph = example()
    columns = {name: getattr(graph, name) for name in ("source", "target", "channel", "weight")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def write_plain() -> None:
            for column, values in columns.items():
                np.save(folder / f"{column}.npy", values)

        def read_plain() -> None:
            for column in columns:
                np.load(folder / f"{column}.npy")

        written, read = seconds(write_plain), seconds(read_plain)
        saved = seconds(lambda: graph.save(folder / "graph"))
        loaded = seconds(lambda: ComputationalGraph.load(folder / "graph"))
        size = sum(path.stat().st_size for path in (folder / "graph").iterdir())
    print(f"{graph.n_edges:,} edges")
    print(f"save   {saved:5.2f} s   {saved / written:5.1f} x numpy.save   {size / 1e6:.0f} MB")
    print(f"load   {loaded:5.2f} s   {loaded / read:5.1f} x numpy.load, checks of the edges included")
    for label, call in {
        "construct": lambda: ComputationalGraph(graph.nodes, *columns.values()),
        "top(1000)": lambda: graph.top(1000),
        "threshold": lambda: graph.threshold(1.0),
    }.items():
        print(f"{label:10s} {seconds(call):5.2f} s")


if __name__ == "__main__":
    main()
