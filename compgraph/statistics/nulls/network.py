"""The strongest null: graphs of randomised networks, made as the graph was."""

from __future__ import annotations

from collections.abc import Callable

from compgraph.communities.optimise import run_seeds
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.models.randomised import How, randomised
from compgraph.progress import track


def network(
    net: Network,
    make: Callable[[Network], ComputationalGraph],
    n_nulls: int,
    how: How = "shuffled",
    seed: int = 0,
) -> list[ComputationalGraph]:
    """Graphs of randomised networks, for the `null_graphs` of `network_statistics`.

    Parameters
    ----------
    net
        The network of the graph.
    make
        What made the graph, network -> graph: the same method, data and partition, cut to the same size and pruned
        alike.
    n_nulls
        Networks to draw. Each costs as much as the graph, so there will be few of them: the smallest two-sided p is
        2 / (n_nulls + 1).
    how
        What the networks keep; see `compgraph.models.randomised`.
    seed
        Network k is the same however many there are.

    Notes
    -----
    Scores of random networks may be smaller by orders of magnitude. No measure of `catalogue.STATISTICS` changes when
    all weights are multiplied by one number.
    """
    return [make(randomised(net, how, one)) for one in track(run_seeds(seed, n_nulls), "random networks")]
