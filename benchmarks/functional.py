"""Functional connectivity against the bare float32 product on the same chunks plus reading them, and other libraries.

    python -m benchmarks.functional

One thread, CPU seconds. The buffer is a sealed one on disk, read anew by both sides; every figure is a ratio
within this run.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import resource  # noqa: E402 (the thread counts must be set before numpy is loaded)
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from nilearn.connectome import ConnectivityMeasure  # noqa: E402
from sklearn.covariance import ledoit_wolf  # noqa: E402

from compgraph.architecture import transformer_architecture  # noqa: E402
from compgraph.connectivity.functional import functional_connectivity  # noqa: E402
from compgraph.data.buffer_writer import record_activations  # noqa: E402
from compgraph.data.buffers import ActivationBuffer, open_buffer  # noqa: E402
from compgraph.data.images import ImagePairs  # noqa: E402
from compgraph.models.modules import build_module, from_module  # noqa: E402
from compgraph.models.sequential import Sequential  # noqa: E402
from compgraph.partition import Partition  # noqa: E402

ROWS, UNITS = 16_384, 2048
FEW_ROWS, FEW_UNITS = 4096, 256
"""A size at which all libraries end."""


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Best CPU time."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def network(units: int = UNITS) -> Sequential:
    """One wide hidden layer of random weights, so that units are correlated."""
    torch.manual_seed(0)
    hidden = [{"type": "linear", "features": units}, {"type": "tanh"}]
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


class Repeated:
    """A recording of GPT-2 small's shape whose chunks are the same rows again and again: nothing is read."""

    def __init__(self, n_chunks: int = 49, rows: int = 2048) -> None:
        self.architecture = transformer_architecture(
            "gpt2", n_layers=12, n_heads=12, d_head=64, d_model=768, d_mlp=3072, vocabulary=50257
        )
        rng = np.random.default_rng(0)
        names = [site for site in self.architecture.sites if site.kind in ("attn", "mlp")]
        self.data = {site.name: rng.standard_normal((rows, site.n_units), np.float32) for site in names}
        self.sites = pd.DataFrame({"site": list(self.data)})
        self.n_chunks, self.n_rows = n_chunks, n_chunks * rows
        number = np.arange(self.n_rows)
        self.items = pd.DataFrame({"item": number // 64, "position": number % 64})

    def chunks(self, sites: Iterable[str]) -> Iterator[dict[str, np.ndarray]]:
        for _ in range(self.n_chunks):
            yield {site: self.data[site] for site in sites}

    def mean(self, site: str) -> np.ndarray:
        return self.data[site].mean(axis=0, dtype=np.float64)

    def variance(self, site: str) -> np.ndarray:
        return self.data[site].var(axis=0, dtype=np.float64)


class Texts:
    """A buffer whose rows are said to be those of texts of 64 positions, so that they have autocorrelations."""

    def __init__(self, buffer: ActivationBuffer) -> None:
        self._buffer, number = buffer, np.arange(buffer.n_rows)
        self.items = buffer.items.assign(item=number // 64, position=number % 64)

    def __getattr__(self, name: str) -> object:
        return getattr(self._buffer, name)


def imaging(kind: str, values: np.ndarray) -> np.ndarray:
    """By nilearn, with its default estimator (Ledoit-Wolf)."""
    found: np.ndarray = ConnectivityMeasure(kind=kind).fit_transform([values])[0]
    return found


def libraries() -> None:
    """The same correlations by other libraries, all in memory but ours."""
    rng = np.random.default_rng(0)
    net = network(FEW_UNITS)
    with tempfile.TemporaryDirectory() as name:
        manifest = Path(name) / "buffer.json"
        images = ImagePairs(rng.normal(size=(FEW_ROWS, 1, 8, 8)).astype(np.float32))
        record_activations(net, images, manifest, sites=["linear.0"], dtype="float32", batch_size=1024)
        buffer = open_buffer(manifest)
        values, part = buffer.read("linear.0"), Partition.units(net)
        base = seconds(lambda: np.corrcoef(values.T))
        print(f"{FEW_ROWS:,} rows x {FEW_UNITS:,} units; numpy.corrcoef {base:.3f} s")
        wide = values.astype(np.float64)
        for title, call in {
            "pearson, from disk, with tests": lambda: functional_connectivity(buffer, part),
            "partial, Ledoit-Wolf, from disk": lambda: functional_connectivity(buffer, part, "partial"),
            "scikit-learn ledoit_wolf, inverse": lambda: np.linalg.inv(ledoit_wolf(wide)[0]),
            "nilearn correlation": lambda: imaging("correlation", values),
            "nilearn partial correlation": lambda: imaging("partial correlation", values),
        }.items():
            print(f"{title:36} {seconds(call, repeats=2) / base:.1f}")


def layer() -> None:
    """All pairs of units of one layer."""
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
        print(f"{ROWS:,} rows x {UNITS:,} units, {UNITS * (UNITS - 1) // 2:,} pairs")
        print(f"{'read and float32 product':32} {base:6.2f} s   1.00   (reading alone {read / base:.2f})")
        graph = functional_connectivity(buffer, units)
        for title, call in {
            "pearson, without tests": lambda: functional_connectivity(buffer, units, samples="none"),
            "pearson, with z, p, adjusted p": lambda: functional_connectivity(buffer, units),
            "the same, texts of 64 positions": lambda: functional_connectivity(Texts(buffer), units),
            "pearson, 32 groups of units": lambda: functional_connectivity(buffer, groups),
            "spearman": lambda: functional_connectivity(buffer, units, "spearman", samples="none"),
            "partial, Ledoit-Wolf": lambda: functional_connectivity(buffer, units, "partial"),
        }.items():
            spent = seconds(call, repeats=2)
            print(f"{title:32} {spent:6.2f} s   {spent / base:.2f}")
        values = buffer.read("linear.0")
        whole = seconds(lambda: np.corrcoef(values.T), repeats=1)
        shrunk = seconds(lambda: np.linalg.inv(ledoit_wolf(values.astype(np.float64))[0]), repeats=1)
        exact = np.corrcoef(values.T.astype(np.float64))[np.triu_indices(UNITS, 1)]
    print(f"{'numpy.corrcoef in memory':32} {whole:6.2f} s   {whole / base:.2f}")
    print(f"{'scikit-learn ledoit_wolf, inverse':32} {shrunk:6.2f} s   {shrunk / base:.2f}")
    print(f"largest difference from numpy.corrcoef in float64: {np.abs(graph.weight - exact).max():.1e}")


def large() -> None:
    """Modules, heads and regions of GPT-2 small's shape: 46,080 units, 100,352 rows."""
    buffer, rng = Repeated(), np.random.default_rng(1)
    regions = {site: rng.integers(0, 20, values.shape[1]) for site, values in buffer.data.items()}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, partition in {
        "modules": Partition.modules(buffer),
        "heads": Partition.heads(buffer),
        "regions": Partition.from_labels(regions),
    }.items():
        start = time.process_time()
        graph = functional_connectivity(buffer, partition, sites=["attn.*", "mlp.*"])
        spent = time.process_time() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"{buffer.n_rows:,} rows x 46,080 units by {name}: {graph.n_nodes} nodes, {spent:.1f} s, +{grown:.0f} MB")


def main() -> None:
    torch.set_num_threads(1)
    libraries()
    layer()
    large()


if __name__ == "__main__":
    main()
