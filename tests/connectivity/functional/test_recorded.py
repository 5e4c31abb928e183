"""From a network over a sealed buffer on disk to a saved graph."""

from __future__ import annotations

import numpy as np
import torch

from compgraph.connectivity.functional import functional_connectivity
from compgraph.data.buffer_writer import record_activations
from compgraph.data.buffers import open_buffer
from compgraph.data.images import ImagePairs
from compgraph.graph import ComputationalGraph
from compgraph.models.modules import build_module, from_module
from compgraph.partition import Partition

LAYERS = [
    {"type": "conv", "channels": 3, "kernel": 3, "padding": 1},
    {"type": "relu"},
    {"type": "max-pool", "kernel": 2},
    {"type": "flatten"},
    {"type": "linear", "features": 8},
    {"type": "relu"},
    {"type": "linear", "features": 4},
]


def test_recorded_network(tmp_path) -> None:
    torch.manual_seed(0)
    net = from_module(build_module(LAYERS, (1, 6, 6)), (1, 6, 6))
    images = ImagePairs(np.random.default_rng(0).normal(size=(150, 1, 6, 6)).astype(np.float32))
    record_activations(
        net, images, tmp_path / "b.json", sites=["conv.0", "linear.0"], dtype="float32", chunk_bytes=4000
    )
    buffer = open_buffer(tmp_path / "b.json")
    assert buffer.n_chunks > 2

    graph = functional_connectivity(buffer, Partition.channels(net))
    assert graph.attributes["sites_not_recorded"] == ["input", "logits"]
    assert graph.attributes["rows"] == 150

    conv, linear = buffer.read("conv.0").astype(np.float64), buffer.read("linear.0").astype(np.float64)
    z = (conv - conv.mean(axis=0)) / conv.std(axis=0)
    signals = {f"conv.0/channel.{k}": z[:, 9 * k : 9 * k + 9].mean(axis=1) for k in range(3)}
    signals |= {f"linear.0/neuron.{k}": linear[:, k] for k in range(8) if linear[:, k].std() > 0}
    assert graph.node_names == tuple(signals)
    wanted = np.corrcoef(np.array(list(signals.values())))[np.triu_indices(len(signals), 1)]
    np.testing.assert_allclose(graph.weight, wanted, rtol=0, atol=1e-10)
    assert graph.nodes["level"].unique().tolist() == [1, 2]

    graph.save(tmp_path / "graph")
    again = ComputationalGraph.load(tmp_path / "graph")
    assert again.edges.equals(graph.edges) and again.attributes == graph.attributes
