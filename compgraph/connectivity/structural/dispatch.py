"""The public call for structural connectivity."""

from __future__ import annotations

from compgraph.catalogue import STRUCTURAL, load
from compgraph.errors import GraphError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.partition import Partition


def structural_connectivity(
    net: Network, partition: Partition, method: str | None = None, *, seed: int = 0
) -> ComputationalGraph:
    """Structural connectivity: from the weights alone.

    Parameters
    ----------
    net
        Transformer or chain.
    partition
        The nodes.
    method
        A registered method: `composition` (transformers) or `weight-norm` (chains); None takes the first that
        serves this kind of network.
    seed
        For methods that draw.

    Returns
    -------
    ComputationalGraph
        Every edge the architecture allows.

    Raises
    ------
    GraphError, ModelError
        Unknown method, or one that does not serve this kind of network.
    """
    serving = [name for name, entry in STRUCTURAL.items() if net.kind in entry.serves]
    method = method or serving[0]
    if method not in STRUCTURAL:
        raise GraphError(f"structural method {method!r} is not known; valid are {', '.join(STRUCTURAL)}")
    if method not in serving:
        raise ModelError(
            f"structural method {method!r} does not serve {net.kind} networks; valid are {', '.join(serving)}"
        )
    if any(site.n_features for site in net.architecture.sites):
        raise ModelError(f"structural method {method!r} does not serve networks with dictionaries")
    graph: ComputationalGraph = load(STRUCTURAL[method])(net, partition, seed=seed)
    return graph
