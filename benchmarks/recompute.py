"""Memory and time of `eap` with and without recomputation, beyond the loaded model.

    python -m benchmarks.recompute

One thread, a batch of one pair, each call in a process of its own, against a plain forward and backward pass of
`transformers` through activations.
"""

from __future__ import annotations

import multiprocessing

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.measuring import Subject, peak_bytes, seconds
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.prompts import PromptPairs
from compgraph.models.parameters import from_transformers
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition

LAYERS, HEADS, WIDTH, TOKENS = 24, 8, 256, 512
CALLS = ("plain", "eap", "eap, recompute")


def deep_subject() -> Subject:
    """A deep network and one long pair."""
    torch.manual_seed(0)
    config = GPT2Config(n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH, vocab_size=1000, n_positions=TOKENS)
    model = GPT2LMHeadModel(config).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    clean, corrupted = rng.integers(0, 1000, (2, 1, TOKENS))
    pairs = PromptPairs(clean, corrupted, rng.integers(0, 500, (1, 1)), rng.integers(500, 1000, (1, 1)))
    return Subject(model, Transformer(*from_transformers(model)), pairs, torch.from_numpy(clean))


def cost(name: str) -> tuple[int, float]:
    """Peak bytes and seconds of one call, after a warm-up."""
    torch.set_num_threads(1)
    one = deep_subject()
    partition = Partition.heads(one.net)

    def call() -> object:
        if name == "plain":
            return one.forward_and_backward()
        return effective_connectivity(one.net, one.pairs, partition, "eap", recompute=name.endswith("recompute"))

    call()
    return peak_bytes(call), seconds(call)


def main() -> None:
    """Measure every call."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        found = dict(zip(CALLS, pool.map(cost, CALLS, chunksize=1), strict=True))
    plain = found["plain"]
    print(f"{LAYERS} layers, {HEADS} heads, width {WIDTH}, 1 pair x {TOKENS} tokens")
    for name, (memory, duration) in found.items():
        print(
            f"  {name}: {memory / 2**20:.0f} MiB, {memory / plain[0]:.2f} times the plain pass; "
            f"{duration:.1f} s, {duration / plain[1]:.1f} times"
        )


if __name__ == "__main__":
    main()
