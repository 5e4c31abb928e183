"""The public call for structural connectivity."""

from __future__ import annotations

from typing import Any

from compgraph.catalogue import STRUCTURAL, load
from compgraph.errors import GraphError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.partition import Partition


def structural_connectivity(
    net: Network, partition: Partition, method: str | None = None, *, seed: int = 0, **options: Any
) -> ComputationalGraph:
    """Structural connectivity: from the weights alone.

    Parameters
    ----------
    net
        Transformer (dictionaries attached or not) or chain.
    partition
        The nodes.
    method
        A registered method (`compgraph.catalogue.STRUCTURAL`): `composition`, `subspace`, `input-output` or
        `virtual-circuits` of transformers, `weight-norm` or `path-norm` of chains; None takes the first that serves
        this kind of network.
    seed
        For methods that draw, if only their null.
    options
        Of the method.

    Returns
    -------
    ComputationalGraph
        Every edge the architecture allows (of `virtual-circuits` those from the input or to the output; fewer too
        where only the strongest are kept), with the columns `z` (of the score under the method's null), `p` (a score
        at least as large) and `p_adjusted` (Benjamini & Hochberg 1995). Where there is no null they are NaN.

    Raises
    ------
    GraphError, ModelError
        Unknown method or option, or one that does not serve this kind of network; what the method says.
    """
    serving = [name for name, entry in STRUCTURAL.items() if net.kind in entry.serves]
    method = method or serving[0]
    if method not in STRUCTURAL:
        raise GraphError(f"structural method {method!r} is not known; valid are {', '.join(STRUCTURAL)}")
    if method not in serving:
        raise ModelError(
            f"structural method {method!r} does not serve {net.kind} networks; valid are {', '.join(serving)}"
        )
    entry = STRUCTURAL[method]
    valid = [*(option.name for option in entry.options), *entry.arguments]
    if unknown := sorted(set(options) - set(valid)):
        raise GraphError(f"structural method {method!r} has no option {unknown[0]!r}; its options: {', '.join(valid)}")
    graph: ComputationalGraph = load(entry)(net, partition, seed=seed, **options)
    return graph
