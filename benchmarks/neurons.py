"""Neuron-level `eap` of a network of GPT-2 small's shape: seconds and peak memory.

    python -m benchmarks.neurons            # one thread, then two
    python -m benchmarks.neurons 2          # two threads only

Random weights, 64 pairs of 16 tokens, every unit a node, the 16 strongest edges of each target and 100,000 of the
whole kept. Each number of threads has a process of its own, whose peak memory is that of loading and scoring.
`products` is the time that the bare matrix products (Gᵀ A, G'ᵀ A', xhat W_decᵀ, W_read W_decᵀ) would take at the speed
that this machine shows for a product of 2048 x 1024 x 4096 numbers.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.prompts import PromptPairs
from compgraph.models.parameters import from_transformers
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition

PAIRS, TOKENS, KEEP, KEEP_OVERALL = 64, 16, 16, 100_000


def peak_memory() -> float:
    """Peak resident memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def gflops() -> float:
    """Speed of one large float32 product, in 10⁹ operations a second; the best of three."""
    a, b = torch.randn(2048, 1024), torch.randn(1024, 4096)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * 2048 * 1024 * 4096 / min(times[1:]) / 1e9


def operations(net: Transformer) -> float:
    """Operations of the products; rows of the last layer count only where there is a gradient."""
    d, total = net.spec.d_model, 0.0
    units = {s.name: s.n_units for s in net.architecture.node_sites}
    for site in net.architecture.node_sites[1:-1]:
        rows = PAIRS if site.name == f"mlp.{net.spec.n_layers - 1}" else PAIRS * TOKENS
        sources = sum(units[s] for s in net.architecture.reads[site.name])
        reads = 3 if site.kind == "attn" else 1
        total += 2 * sources * (reads * units[site.name] * (rows + d) + units[site.name] * rows + rows * d)
    return total


def measure(threads: int) -> None:
    """Print the cost with so many threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = Transformer(*from_transformers(GPT2LMHeadModel(GPT2Config()).eval()))
    rng = np.random.default_rng(0)
    clean, corrupted = rng.integers(0, 50257, (2, PAIRS, TOKENS))
    answers, distractors = rng.integers(0, 20000, (PAIRS, 1)), rng.integers(20001, 50000, (PAIRS, 1))
    pairs = PromptPairs(clean, corrupted, answers, distractors)
    partition = Partition.units(net)
    speed, loaded = gflops(), peak_memory()
    start, busy = time.perf_counter(), time.process_time()
    graph = effective_connectivity(net, pairs, partition, keep=KEEP, keep_overall=KEEP_OVERALL)
    took, busy = time.perf_counter() - start, time.process_time() - busy
    print(
        f"{threads} thread{'s' if threads > 1 else ''}: {graph.attributes['n_edges_scored']:,} edges between "
        f"{graph.n_nodes:,} nodes scored in {took:.0f} s, {busy:.0f} s of processors (goal: 180 s on two; products: "
        f"{operations(net) / speed / 1e9:.0f} s at {speed:.0f} Gflop/s), {graph.n_edges:,} kept; peak memory "
        f"{peak_memory():.2f} GB (goal: 4), {loaded:.2f} GB of it before",
        flush=True,
    )


def main(threads: list[int]) -> None:
    if len(threads) == 1:
        measure(threads[0])
        return
    for number in threads:
        subprocess.run([sys.executable, "-m", "benchmarks.neurons", str(number)], check=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1, 2])
