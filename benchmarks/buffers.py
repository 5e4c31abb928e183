"""Cost of writing activation buffers, in forward passes, and their memory, in examples.

    python -m benchmarks.buffers

The time is that of recording every site of a 4-layer transformer of width 128 over the forward passes of the
same batches alone, without and with sealing (checksums and flushing); one thread, median of alternating
repeats, so the ratio stands on a busy machine too. The memory is what a process grows by while it records,
for more and more examples: it should stay flat once a chunk is full.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import GPT2Config, GPT2LMHeadModel

from compgraph.data.buffer_writer import record_activations, write_buffer
from compgraph.data.prompts import PromptPairs
from compgraph.models.parameters import from_transformers
from compgraph.models.transformer import Transformer

BATCH = 64
LENGTH = 24
PROMPTS = 512


def network() -> Transformer:
    torch.manual_seed(0)
    config = GPT2Config(n_layer=4, n_head=4, n_embd=128, vocab_size=1000, n_positions=64)
    return Transformer(*from_transformers(GPT2LMHeadModel(config).eval()))


def prompts(n: int) -> PromptPairs:
    return PromptPairs(np.random.default_rng(0).integers(0, 1000, (n, LENGTH)))


def forward(net: Transformer, pairs: PromptPairs) -> None:
    """The forward passes alone: nothing is captured, logits at one position."""
    last = torch.full((BATCH,), LENGTH - 1)
    with torch.no_grad():
        for start in range(0, pairs.n, BATCH):
            tokens = torch.from_numpy(pairs.clean[start : start + BATCH])
            net.run(tokens, positions=last[: len(tokens)])


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """(wall, processor) seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def time_ratios(repeats: int) -> Table:
    net, pairs = network(), prompts(PROMPTS)
    table = Table("recording all sites", "dtype", "wall / forward", "processor / forward", "MB written")
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("float16", "float32"):
            path = Path(folder, "b.zarr")
            works: dict[str, Callable[[], object]] = {
                "forward": lambda: forward(net, pairs),
                "write": lambda: write_buffer(net, pairs, path, dtype=dtype),  # noqa: B023 (called in this turn)
                "write and seal": lambda: record_activations(net, pairs, path.with_suffix(".json"), dtype=dtype),  # noqa: B023
            }
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
            for repeat in range(repeats + 1):
                for name, work in works.items():
                    if path.exists():
                        path.rename(Path(folder, f"{dtype}-{name}-{repeat}"))  # nothing to continue
                    spent = seconds(work)
                    if repeat:  # the first round warms up
                        times[name].append(spent)
            size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 1e6
            wall, processor = (
                {name: statistics.median(t[i] for t in spent) for name, spent in times.items()} for i in (0, 1)
            )
            for name in ("write", "write and seal"):
                ratios = (f"{spent[name] / spent['forward']:.2f}" for spent in (wall, processor))
                table.add_row(name, dtype, *ratios, f"{size:.0f}")
    return table


def grown_by(n: int) -> float:
    """MB by which this process's peak memory grows while it records `n` prompts."""
    net, pairs = network(), prompts(n)
    with tempfile.TemporaryDirectory() as folder:
        record_activations(net, prompts(BATCH), Path(folder, "warm.json"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        record_activations(net, pairs, Path(folder, "b.json"))
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def memory() -> Table:
    table = Table("prompts", "rows", "peak memory grows by (MB)")
    for n in (PROMPTS, 4 * PROMPTS, 16 * PROMPTS):
        command = [sys.executable, "-m", "benchmarks.buffers", "--grown-by", str(n)]
        grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        table.add_row(f"{n:,}", f"{n * LENGTH:,}", f"{grown:.0f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--grown-by", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.grown_by is not None:
        print(grown_by(options.grown_by))
        return
    console = Console()
    console.print(time_ratios(options.repeats))
    console.print(memory())


if __name__ == "__main__":
    main()
