"""What the benchmarks of effective methods share: shapes, ratios within one run, peak memory."""

from __future__ import annotations

import ctypes
import gc
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from compgraph.data.prompts import PromptPairs
from compgraph.models.parameters import from_transformers
from compgraph.models.transformer import Transformer

SMALL, GPT2 = "4 layers, 8 heads, width 256, 64 pairs x 16 tokens", "GPT-2 small's shape, 4 pairs x 16 tokens"
SHAPES = {
    SMALL: ({"n_layer": 4, "n_head": 8, "n_embd": 256}, 64, 16),
    GPT2: ({"n_layer": 12, "n_head": 12, "n_embd": 768}, 4, 16),
}


@dataclass
class Subject:
    """A random network twice, as `transformers` and as the engine have it (one memory), and pairs of prompts."""

    model: GPT2LMHeadModel
    net: Transformer
    pairs: PromptPairs
    tokens: torch.Tensor

    def forward(self) -> None:
        """A plain forward pass of the clean prompts."""
        with torch.no_grad():
            self.model(self.tokens, use_cache=False)

    def forward_and_backward(self) -> None:
        """A plain forward pass and a backward pass through activations (no gradients of weights)."""
        embedded = self.model.transformer.wte(self.tokens).detach().requires_grad_()
        logits = self.model(inputs_embeds=embedded, use_cache=False).logits[:, -1]
        rows = torch.arange(len(logits))
        answers, distractors = (torch.from_numpy(x[:, 0]) for x in (self.pairs.answers, self.pairs.distractors))
        (logits[rows, answers] - logits[rows, distractors]).sum().backward()


def subject(shape: str) -> Subject:
    """The subject of one of `SHAPES`."""
    fields, n, t = SHAPES[shape]
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**fields)).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    clean, corrupted = rng.integers(0, 50257, (2, n, t))
    pairs = PromptPairs(clean, corrupted, rng.integers(0, 20000, (n, 1)), rng.integers(20001, 50000, (n, 1)))
    return Subject(model, Transformer(*from_transformers(model)), pairs, torch.from_numpy(clean))


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Duration of one call."""
    start = clock()
    call()
    return clock() - start


def ratios(
    base: Callable[[], object],
    calls: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, dict[str, tuple[float, float]]]:
    """Cost of calls in units of a base call, which runs in turn with them so that other work cancels.

    Returns
    -------
    The base's median duration [s]; per call the ratio of the smallest durations and the median of a round's ratios.
    """
    for call in (base, *calls.values()):
        call()
    rounds = [{name: seconds(call, clock) for name, call in {"": base, **calls}.items()} for _ in range(repeats)]
    least = {name: min(one[name] for one in rounds) for name in ("", *calls)}
    found = {
        name: (least[name] / least[""], statistics.median(one[name] / one[""] for one in rounds)) for name in calls
    }
    return statistics.median(one[""] for one in rounds), found


def peak_bytes(call: Callable[[], object]) -> int:
    """Largest resident memory during a call beyond that before it, sampled every 0.2 ms (Linux)."""
    statm, page = Path("/proc/self/statm"), 4096

    def resident() -> int:
        return int(statm.read_text().split()[1]) * page

    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier calls left behind would be used without being seen
    start, peak, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.0002):
            peak = max(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    done.set()
    watcher.join()
    return max(peak, resident()) - start
