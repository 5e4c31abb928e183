"""Cost of `eap` and `eap-ig-inputs` over all head-level edges, in plain forward passes of `transformers`.

    python -m benchmarks.eap [--repeats 9]

One thread; the plain pass (default attention, logits at all positions) runs in turn with the methods, on the same
tokens. Peak memory is that beyond the loaded model, against a plain forward and backward pass through activations,
each in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable

import torch

from benchmarks.measuring import GPT2, SHAPES, SMALL, Subject, peak_bytes, ratios, subject
from compgraph.connectivity.effective import effective_connectivity
from compgraph.partition import Partition

GOALS = {"eap": {SMALL: 4, GPT2: 3}, "eap-ig-inputs": {SMALL: 16, GPT2: 12}}
"""Method -> shape -> forward passes that it may cost."""
MEMORY_GOAL = 1.5


def method(one: Subject, name: str) -> Callable[[], object]:
    """A call of the method over all head-level edges with q, k and v apart."""
    partition = Partition.heads(one.net)
    return lambda: effective_connectivity(one.net, one.pairs, partition, name)


def memory(shape: str, name: str) -> int:
    """Peak of a method, or of a plain forward and backward pass (`name` empty), after a warm-up."""
    torch.set_num_threads(1)
    one = subject(shape)
    call = method(one, name) if name else one.forward_and_backward
    call()
    return peak_bytes(call)


def measure(shape: str, repeats: int) -> None:
    """Print the costs at one shape."""
    one = subject(shape)
    base, found = ratios(one.forward, {name: method(one, name) for name in GOALS}, repeats)
    del one
    print(f"{shape}: a plain forward pass takes {base * 1e3:.0f} ms")
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        plain, *peaks = pool.starmap(memory, [(shape, ""), *((shape, name) for name in GOALS)], chunksize=1)
    print(f"  plain forward and backward: {plain / 2**20:.0f} MiB")
    for (name, (least, median)), peak in zip(found.items(), peaks, strict=True):
        print(
            f"  {name}: {median:.2f} forward passes (fastest: {least:.2f}; goal: {GOALS[name][shape]}), "
            f"{peak / 2**20:.0f} MiB, {peak / plain:.2f} times that (goal: {MEMORY_GOAL})"
        )


def main() -> None:
    """Measure every shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    for shape in SHAPES:
        measure(shape, repeats)


if __name__ == "__main__":
    main()
