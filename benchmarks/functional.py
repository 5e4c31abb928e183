"""Pearson over all pairs of units, against the bare float32 product on the same chunks plus reading them.

    python -m benchmarks.functional

One thread, CPU seconds. The buffer is a sealed one on disk, read anew by both sides; every figure is a ratio
within this run.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import tempfile  # noqa: E402 (the thread counts must be set before numpy is loaded)
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

from compgraph.connectivity.functional import functional_connectivity  # noqa: E402
from compgraph.data.buffer_writer import record_activations  # noqa: E402
from compgraph.data.buffers import ActivationBuffer, open_buffer  # noqa: E402
from compgraph.data.images import ImagePairs  # noqa: E402
from compgraph.models.modules import build_module, from_module  # noqa: E402
from compgraph.models.sequential import Sequential  # noqa: E402
from compgraph.partition import Partition  # noqa: E402

ROWS, UNITS = 16_384, 2048


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Best CPU time."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def network() -> Sequential:
    """One wide hidden layer of random weights, so that units are correlated."""
    torch.manual_seed(0)
    hidden = [{"type": "linear", "features": UNITS}, {"type": "tanh"}]
    layers = [{"type": "flatten"}, *hidden, {"type": "linear", "features": 2}]
    return from_module(build_module(layers, (1, 8, 8)), (1, 8, 8))


def bare_product(buffer: ActivationBuffer) -> np.ndarray:
    """Read, and a full float32 product per chunk; not centred, no better than float32."""
    total = np.zeros((UNITS, UNITS), np.float32)
    for chunk in buffer.chunks(["linear.0"]):
        values = chunk["linear.0"]
        # Another array, or numpy would notice the symmetry and compute half.
        total += values.T @ values.copy()
    return total


def main() -> None:
    torch.set_num_threads(1)
    net = network()
    images = ImagePairs(np.random.default_rng(0).normal(size=(ROWS, 1, 8, 8)).astype(np.float32))
    with tempfile.TemporaryDirectory() as name:
        manifest = Path(name) / "buffer.json"
        record_activations(net, images, manifest, sites=["linear.0"], dtype="float32", batch_size=1024)
        buffer = open_buffer(manifest)
        units = Partition.units(net)
        groups = Partition.from_labels({"linear.0": np.arange(UNITS) % 32})
        base = seconds(lambda: bare_product(buffer))
        read = seconds(lambda: [None for _ in buffer.chunks(["linear.0"])])
        graph = functional_connectivity(buffer, units)
        fine = seconds(lambda: functional_connectivity(buffer, units))
        coarse = seconds(lambda: functional_connectivity(buffer, groups))
        values = buffer.read("linear.0")
        whole = seconds(lambda: np.corrcoef(values.T), repeats=1)
        exact = np.corrcoef(values.T.astype(np.float64))[np.triu_indices(UNITS, 1)]
    print(f"{ROWS:,} rows x {UNITS:,} units, {graph.n_edges:,} pairs")
    print(f"read and float32 product    {base:6.2f} s   1.00   (reading alone {read / base:.2f})")
    print(f"pearson, units              {fine:6.2f} s   {fine / base:.2f}")
    print(f"pearson, 32 groups of units {coarse:6.2f} s   {coarse / base:.2f}")
    print(f"numpy.corrcoef in memory    {whole:6.2f} s   {whole / base:.2f}")
    print(f"largest difference from numpy.corrcoef in float64: {np.abs(graph.weight - exact).max():.1e}")


if __name__ == "__main__":
    main()
