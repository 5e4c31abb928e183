"""Cost of writing activation buffers, in forward passes, and their memory, in examples.

    python -m benchmarks.buffers

The time is that of recording a 4-layer transformer of width 128 over 512 prompts of 24 tokens, divided by that of the
forward passes of the same batches alone: what the shipped configuration records (attention and MLP at the scored
position) and all there is to record (every site at every position), without and with sealing (checksums and
flushing). One thread runs the network; rows are converted and written in a second one, so that on an idle machine
the wall ratio is the smaller one. Medians of alternating repeats. The memory is what a process grows by while it
records more and more examples: it should stay flat.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
SETTINGS: dict[str, dict[str, Any]] = {
    "shipped: attn.*, mlp.*, scored": {"sites": ["attn.*", "mlp.*"], "positions": "scored", "dtype": "float16"},
    "everything, float16": {"dtype": "float16"},
    "everything, float32": {"dtype": "float32"},
}


def network() -> Transformer:
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=4, n_head=4, n_embd=128, vocab_size=1000, n_positions=64, bos_token_id=0, eos_token_id=0
    )
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


def measure(setting: dict[str, Any], repeats: int) -> dict[str, tuple[float, float]]:
    """(wall, processor) seconds of the forward passes, of writing, and of writing and sealing."""
    net, pairs = network(), prompts(PROMPTS)
    with tempfile.TemporaryDirectory() as folder:
        works: dict[str, Callable[[], object]] = {
            "forward": lambda: forward(net, pairs),
            "write": lambda: write_buffer(net, pairs, Path(folder, "a.zarr"), **setting),
            "write and seal": lambda: record_activations(net, pairs, Path(folder, "b.json"), **setting),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for repeat in range(repeats + 1):
            for name, work in works.items():
                for old in Path(folder).glob("*.zarr"):
                    shutil.rmtree(old)  # a store that is there would be continued
                spent = seconds(work)
                if repeat:  # the first round warms up
                    times[name].append(spent)
    return {
        name: (statistics.median(wall for wall, _ in spent), statistics.median(cpu for _, cpu in spent))
        for name, spent in times.items()
    }


def time_ratios(repeats: int) -> Table:
    table = Table("recorded", "work", "wall / forward", "processor / forward")
    for title, setting in SETTINGS.items():
        spent = measure(setting, repeats)
        for name in ("write", "write and seal"):
            ratios = (f"{mine / base:.2f}" for mine, base in zip(spent[name], spent["forward"], strict=True))
            table.add_row(title, name, *ratios)
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


def main(repeats: int = 7) -> None:
    torch.set_num_threads(1)
    console = Console()
    console.print(time_ratios(repeats))
    console.print(memory())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--grown-by", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.grown_by is None:
        main(options.repeats)
    else:
        torch.set_num_threads(1)
        print(grown_by(options.grown_by))
