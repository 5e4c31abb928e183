"""What node ablation and edge ablation really run, on a network that is small enough to be drawn.

A circuit is a set of edges. Node ablation can only say which nodes stay, so it runs every edge between them; edge
ablation runs the circuit. Nothing here takes that from the definitions: an edge counts as used if changing its weight
in the network changes the logits of a run.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compgraph.ablation.run import run_graph
from compgraph.connectivity.effective.attribution import effective_connectivity
from compgraph.data.images import ImagePairs
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.models.modules import from_module
from compgraph.partition import Partition

if TYPE_CHECKING:
    import pandas as pd

WIDTHS = (4, 6, 6, 3)
EXAMPLES = 256
STEPS = 150
BUMP = 0.5
"""Added to a weight; large enough that a ReLU lets the change through in some example."""
NETWORKS = ("model", "circuit", "node ablation", "edge ablation")


@dataclass(frozen=True)
class Wiring:
    """The networks that run.

    Attributes
    ----------
    edges
        One row a network (`NETWORKS`) and edge of the architecture: `network`, `source`, `target`, `weight` (of the
        model), `used` (whether its weight matters to that network's logits; of `circuit`: whether it is in it),
        `chosen` (whether it is in the circuit).
    networks
        One row a network that runs: `network`, `n_edges` (used), `n_nodes` (with a used edge), `accuracy`, `kl` (mean
        Kullback-Leibler divergence of the model's class distribution from the network's, nats).
    """

    edges: pd.DataFrame
    networks: pd.DataFrame


def find_wiring(n_edges: int = 32, seed: int = 0) -> Wiring:
    """Train a three-layer perceptron, choose a circuit in it, and find the edges that each kind of ablation runs.

    Parameters
    ----------
    n_edges
        Strongest edges under `eap` with baseline zero that are kept before pruning.
    seed
        Of the data, the initial weights and the order of training.

    Raises
    ------
    DataError
        If no path of so few edges leads from the input to the output.
    """
    import pandas as pd

    module, pairs = _trained(seed)
    net = from_module(module, (1, 1, WIDTHS[0]))
    partition = Partition.units(net)
    graph = effective_connectivity(net, pairs, partition, "eap", metric="logit_difference", baseline="zero")
    circuit = graph.top(n_edges).prune()
    if circuit.n_edges == 0:
        raise DataError(f"wiring: the {n_edges} strongest edges hold no path from the input to the output")
    chosen = graph.mask_of(circuit)
    used = {
        "model": np.ones(graph.n_edges, dtype=bool),
        "circuit": chosen,
        "node ablation": _used(module, graph, circuit, pairs, "node"),
        "edge ablation": _used(module, graph, circuit, pairs, "edge"),
    }
    weight = _weights(module)[_place(graph)]
    names = np.array(graph.node_names, dtype=object)
    shared = {"source": names[graph.source], "target": names[graph.target], "weight": weight, "chosen": chosen}
    edges = [pd.DataFrame({"network": name, **shared, "used": mask}) for name, mask in used.items()]
    logits = {
        "model": _logits(module, graph, pairs, "edge"),
        "node ablation": _logits(module, circuit, pairs, "node"),
        "edge ablation": _logits(module, circuit, pairs, "edge"),
    }
    rows = [{"network": name, **_said(graph, used[name], logits[name], logits["model"], pairs)} for name in logits]
    return Wiring(pd.concat(edges, ignore_index=True), pd.DataFrame(rows))


def _trained(seed: int) -> tuple[nn.Sequential, ImagePairs]:
    """A perceptron in float64 that tells three classes apart: the largest of three sums of input pairs."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(EXAMPLES, 1, 1, WIDTHS[0]))
    flat = images[:, 0, 0]
    answers = np.argmax(np.stack([flat[:, 0] + flat[:, 1], flat[:, 1] * flat[:, 2], flat[:, 3]], 1), 1)
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for number, (wide, out) in enumerate(itertools.pairwise(WIDTHS)):
        linear = nn.Linear(wide, out, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.randn(out, wide, generator=generator, dtype=torch.float64) / wide**0.5)
            linear.bias.zero_()
        layers += [linear] if number == len(WIDTHS) - 2 else [linear, nn.ReLU()]
    module = nn.Sequential(*layers)
    inputs, targets = torch.from_numpy(images), torch.from_numpy(answers)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(STEPS):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(inputs), targets).backward()
        optimiser.step()
    others = (answers + 1) % WIDTHS[-1]
    return module.requires_grad_(False), ImagePairs(images, None, answers, others)


def _linears(module: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in module if isinstance(layer, nn.Linear)]


def _weights(module: nn.Sequential) -> NDArray[np.float64]:
    """All weights in one array, layer by layer, [target, source] inside each."""
    return np.concatenate([layer.weight.numpy().ravel() for layer in _linears(module)])


def _place(graph: ComputationalGraph) -> NDArray[np.int64]:
    """Where in `_weights` the weight of each edge is."""
    level, label = (np.asarray(graph.node_columns[name], dtype=np.int64) for name in ("level", "label"))
    sizes = np.array([wide * out for wide, out in itertools.pairwise(WIDTHS)])
    start = np.concatenate([[0], np.cumsum(sizes)])
    layer = level[graph.source]
    return np.asarray(start[layer] + label[graph.target] * np.array(WIDTHS)[layer] + label[graph.source])


def _logits(module: nn.Sequential, circuit: ComputationalGraph, pairs: ImagePairs, ablation: str) -> Tensor:
    net = from_module(module, (1, 1, WIDTHS[0]))
    return run_graph(net, circuit, pairs, ablation=ablation, baseline="zero")


def _used(
    module: nn.Sequential, graph: ComputationalGraph, circuit: ComputationalGraph, pairs: ImagePairs, ablation: str
) -> NDArray[np.bool_]:
    """Edges whose weight, when it is changed, changes the logits of the run; bool [E] in the order of the graph."""
    before = _logits(module, circuit, pairs, ablation)
    used = np.zeros(graph.n_edges, dtype=bool)
    layers = _linears(module)
    sizes = np.cumsum([layer.weight.numel() for layer in layers])
    for edge, place in enumerate(_place(graph)):
        number = int(np.searchsorted(sizes, place, side="right"))
        weight = layers[number].weight.view(-1)
        within = int(place - (sizes[number] - len(weight)))
        kept = float(weight[within])
        for bump in (BUMP, -BUMP):
            weight[within] = kept + bump
            used[edge] |= bool((_logits(module, circuit, pairs, ablation) != before).any())
        weight[within] = kept
    return used


def _said(
    graph: ComputationalGraph, used: NDArray[np.bool_], logits: Tensor, model: Tensor, pairs: ImagePairs
) -> dict[str, float]:
    ends = np.unique(np.concatenate([graph.source[used], graph.target[used]]))
    given, run = torch.log_softmax(model, 1), torch.log_softmax(logits, 1)
    answers = np.ravel(np.asarray(pairs.answers))
    return {
        "n_edges": int(used.sum()),
        "n_nodes": len(ends),
        "accuracy": float((logits.argmax(1).numpy() == answers).mean()),
        "kl": max(0.0, float((given.exp() * (given - run)).sum(1).mean())),
    }
