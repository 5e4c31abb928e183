"""The null that moves no edge and only the names of nodes."""

from __future__ import annotations

import numpy as np

from compgraph.statistics.nulls.sampling import Sampler, edge_weights
from compgraph.statistics.view import View


def node_permutation(view: View, seed: int = 0) -> Sampler:
    """Permute the nodes of each site among themselves (without an architecture: all nodes).

    Keeps the whole graph but for which node is which. It is for associations between two graphs, or of a graph with
    what else is known of its nodes: a measure of one graph alone cannot change.
    """
    group = view.allowed.group
    signed = edge_weights(view)

    def sample(rng: np.random.Generator) -> View:
        place = np.empty(view.n_nodes, dtype=np.int64)
        place[np.argsort(group, kind="stable")] = np.lexsort((rng.random(view.n_nodes), group))
        return view.with_edges(place[view.source], place[view.target], signed)

    return sample
