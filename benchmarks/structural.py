"""Structural graphs of a network of GPT-2 small's shape: seconds and peak memory; how often chance is significant.

    python -m benchmarks.structural             # all, each in a process of its own
    python -m benchmarks.structural units       # one of them

Random weights, one thread. `products` is the time that the bare matrix products between all units would take at the
speed that this machine shows for a product of 2048 x 1024 x 4096 numbers.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.neurons import KEEP, KEEP_OVERALL, gflops, peak_memory
from compgraph.connectivity.structural import structural_connectivity
from compgraph.connectivity.structural.virtual_circuits import virtual_circuits
from compgraph.models.modules import build_module, from_module
from compgraph.models.parameters import from_transformers
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition

HEADS = {
    "frobenius": ("composition", {"norm": "frobenius"}),
    "top": ("composition", {"norm": "top"}),
    "spectral": ("composition", {"norm": "spectral", "rotated": 0}),
    "subspace": ("subspace", {}),
}
CHAIN = [
    {"type": "conv", "channels": 6, "kernel": 3, "padding": 1},
    {"type": "relu"},
    {"type": "max-pool", "kernel": 2},
    {"type": "conv", "channels": 8, "kernel": 3},
    {"type": "relu"},
    {"type": "flatten"},
    {"type": "linear", "features": 16},
    {"type": "relu"},
    {"type": "linear", "features": 10},
]


def network() -> Transformer:
    torch.manual_seed(0)
    return Transformer(*from_transformers(GPT2LMHeadModel(GPT2Config()).eval()))


def measure_heads(name: str) -> None:
    """Print the cost of a method over heads."""
    net, (method, options) = network(), HEADS[name]
    partition, loaded, start = Partition.heads(net), peak_memory(), time.perf_counter()
    graph = structural_connectivity(net, partition, method, **options)
    took, share = time.perf_counter() - start, ""
    if "p" in graph.columns:
        p = graph.columns["p"]
        share = f", p < 0.05 for {(p[p == p] < 0.05).mean():.1%} of them"
    print(
        f"{name}: {graph.n_edges:,} edges between heads in {took:.0f} s{share}; peak memory {peak_memory():.2f} GB, "
        f"{loaded:.2f} GB of it before",
        flush=True,
    )


def measure_units() -> None:
    """Print the cost of input-output weights between all units."""
    net = network()
    partition, loaded, speed = Partition.units(net), peak_memory(), gflops()
    start = time.perf_counter()
    graph = structural_connectivity(net, partition, "input-output", keep=KEEP, keep_overall=KEEP_OVERALL)
    took, scored = time.perf_counter() - start, graph.attributes["n_edges_scored"]
    products = 2 * scored * net.spec.d_model / speed / 1e9
    print(
        f"units: {scored:,} edges between {graph.n_nodes:,} nodes scored in {took:.0f} s (products of single vectors: "
        f"{products:.0f} s at {speed:.0f} Gflop/s), {graph.n_edges:,} kept; peak memory {peak_memory():.2f} GB "
        f"(goal: 4), {loaded:.2f} GB of it before",
        flush=True,
    )


def measure_circuits() -> None:
    """Print the cost of virtual circuits."""
    net = network()
    start = time.perf_counter()
    table = virtual_circuits(net)
    print(f"virtual circuits: {len(table) - 1} heads in {time.perf_counter() - start:.0f} s", flush=True)


def random_chain(seed: int, entries: str) -> Sequential:
    """A narrow CNN whose weights only chance has made."""
    torch.manual_seed(seed)
    module = build_module(CHAIN, (2, 10, 10))
    for weight in module.parameters():
        if weight.dim() > 1 and entries != "uniform":
            drawn = torch.distributions.StudentT(3.0) if entries == "t" else torch.distributions.Normal(0.0, 1.0)
            weight.data = drawn.sample(weight.shape)
    return from_module(module, (2, 10, 10))


def measure_rates() -> None:
    """Print the share of edges below 0.05 in random chains, by both nulls."""
    for entries in ("normal", "uniform", "t"):
        nets = [random_chain(seed, entries) for seed in range(20)]
        for method in ("weight-norm", "path-norm"):
            for permuted in (0, 20):
                p = np.concatenate(
                    [
                        structural_connectivity(net, Partition.channels(net), method, permuted=permuted).columns["p"]
                        for net in nets
                    ]
                )
                share = (p[~np.isnan(p)] < 0.05).mean()
                print(
                    f"rates: {entries} entries, {method}, permuted {permuted}: {100 * share:.1f} % below 0.05",
                    flush=True,
                )


def main(names: list[str]) -> None:
    if len(names) == 1:
        name = names[0]
        if name in HEADS:
            measure_heads(name)
        else:
            {"units": measure_units, "circuits": measure_circuits, "rates": measure_rates}[name]()
        return
    for name in names:
        subprocess.run([sys.executable, "-m", "benchmarks.structural", name], check=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:] or [*HEADS, "units", "circuits", "rates"])
