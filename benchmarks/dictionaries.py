"""Training sparse autoencoders, in units of the bare matrix products of their steps.

    python -m benchmarks.dictionaries

A site 64 wide, 256 features, a million rows from memory, one thread, CPU seconds; the products run before and after
each training, and the smaller time counts. The products are those of a step (five; seven for `gated`) over the same
rows, in blocks of the same size, and nothing else. Everything of a training is counted: reading, shuffling, means,
selection, optimiser, records.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import time  # noqa: E402 (the thread counts must be set before torch is loaded)
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402, F401 (its import is no part of a training)
import torch  # noqa: E402
from transformers import GPT2Config, GPT2LMHeadModel  # noqa: E402

from compgraph.dictionaries import SaeSettings, SiteRows, train_sae  # noqa: E402
from compgraph.dictionaries.objectives import OBJECTIVES  # noqa: E402
from compgraph.models.parameters import from_transformers  # noqa: E402
from compgraph.models.transformer import Transformer  # noqa: E402

WIDTH, FEATURES, ROWS, K = 64, 256, 1_000_000, 8
BLOCK = 384
"""Rows of a product, of which the matrices between products stay in a core's cache."""


def seconds(call: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def products(pairs: int) -> Callable[[], None]:
    """The products of a step: `pairs` of them between rows and features, the rest gradients of the weights."""
    x, weights = torch.randn(BLOCK, WIDTH), torch.randn(FEATURES, WIDTH)
    features, by_feature = torch.zeros(2, FEATURES, BLOCK).unbind()
    error, gradient = torch.empty(WIDTH, BLOCK), torch.zeros_like(weights)

    def run() -> None:
        for _ in range(ROWS // BLOCK):
            torch.mm(weights, x.T, out=features)
            for _ in range(pairs):
                torch.mm(weights.T, features, out=error)
                torch.mm(weights, error, out=by_feature)
            gradient.addmm_(features, error.T)
            gradient.addmm_(by_feature, x)

    return run


def main() -> None:
    torch.set_num_threads(1)
    config = GPT2Config(n_layer=1, n_head=4, n_embd=WIDTH, n_inner=WIDTH, vocab_size=32, n_positions=8)
    net = Transformer(*from_transformers(GPT2LMHeadModel(config).eval()))
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(200, WIDTH)).astype(np.float32)
    parts = []
    for _ in range(10):
        active = rng.random((ROWS // 10, 200), np.float32) < 0.03
        parts.append((active * rng.standard_exponential(active.shape, np.float32)) @ directions)
    rows = SiteRows(np.concatenate(parts), net, "mlp.0")
    print(f"{ROWS:,} rows x {WIDTH}, {FEATURES} features, k = {K}")
    for activation in OBJECTIVES:
        settings = SaeSettings(activation, FEATURES, k=K, n_rows=ROWS)
        bare = products(2 if activation == "gated" else 1)
        before = seconds(bare)
        cost = seconds(lambda settings=settings: train_sae(rows, settings))
        base = min(before, seconds(bare))
        print(f"{activation:<12}{cost:6.2f} s   products {base:5.2f} s   ratio {cost / base:.2f}", flush=True)


if __name__ == "__main__":
    main()
