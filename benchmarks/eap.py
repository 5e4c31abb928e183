"""Cost of `eap` over all head-level edges, in plain `transformers` forward passes of the same tokens.

    python -m benchmarks.eap

One thread; every figure is a ratio of medians within this run. `forward and backward` is the floor of any
gradient method: two forward passes (clean, corrupted) and one backward pass of the engine through activations.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.prompts import PromptPairs
from compgraph.models.parameters import from_transformers
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition

SHAPES = {
    "4 layers, 8 heads, width 256, 64 pairs x 16 tokens": (dict(n_layer=4, n_head=8, n_embd=256), 64, 16),
    "GPT-2 small's shape, 4 pairs x 16 tokens": (dict(n_layer=12, n_head=12, n_embd=768), 4, 16),
}


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median wall time after one warm-up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(title: str, shape: dict[str, int], n: int, t: int, repeats: int) -> None:
    """Print the cost at one shape."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**shape)).eval()
    net = Transformer(*from_transformers(model))
    rng = np.random.default_rng(0)
    clean, corrupted = rng.integers(0, 50257, (2, n, t))
    pairs = PromptPairs(clean, corrupted, rng.integers(0, 20000, (n, 1)), rng.integers(20001, 50000, (n, 1)))
    tokens = torch.from_numpy(clean)
    partition = Partition.heads(net)

    def plain() -> None:
        with torch.no_grad():
            model(tokens)

    graph = effective_connectivity(net, pairs, partition)
    base = seconds(plain, repeats)
    cost = seconds(lambda: effective_connectivity(net, pairs, partition), repeats)
    print(f"{title}: {graph.n_edges} edges, eap {cost / base:.2f} forward passes ({base * 1e3:.0f} ms each; goal: 6)")


def main(repeats: int = 9) -> None:
    torch.set_num_threads(1)
    for title, (shape, n, t) in SHAPES.items():
        measure(title, shape, n, t, repeats)


if __name__ == "__main__":
    main()
