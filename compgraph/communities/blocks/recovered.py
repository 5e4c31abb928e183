"""What a block model and a search for communities find in graphs whose structure is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from compgraph.communities.agreement import adjusted_rand
from compgraph.communities.blocks.generated import KINDS
from compgraph.communities.find import find_communities
from compgraph.communities.sbm import fit_sbm

if TYPE_CHECKING:
    from compgraph.communities.block_model import BlockModel

COMMUNITIES = "leiden"
"""The search for communities: modularity, of directed graphs that of Leicht & Newman (2008)."""


@dataclass(frozen=True)
class Structures:
    """Generated graphs, and what is found in them.

    Attributes
    ----------
    graphs
        One row a graph: graph, directed, n_groups (planted), n_blocks, pattern, blocks_ari (adjusted Rand index of
        blocks with groups), n_communities, n_beyond_chance (0 where their modularity is no more than chance gives),
        p, communities_ari.
    nodes
        One row a graph and node: graph, node, group, block, community (-1: none).
    edges
        One row a graph and edge: graph, source, target (numbers of nodes).
    models
        One row a graph and candidate, by its shortest fit: graph, model, description_length (nats), above (nats over
        the shortest), kept, comparable, reason.
    """

    graphs: pd.DataFrame
    nodes: pd.DataFrame
    edges: pd.DataFrame
    models: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name."""
        return {"graphs": self.graphs, "nodes": self.nodes, "edges": self.edges, "models": self.models}


def find_structures(n: int = 120, seed: int = 0, n_nulls: int = 99) -> Structures:
    """Fit every kind of `generated.KINDS`: blocks of presence, of whichever structure is shortest; and communities.

    Parameters
    ----------
    n
        Nodes of each graph.
    seed
        Of the graphs, the fits and the searches.
    n_nulls
        Null graphs that communities are compared with.

    Raises
    ------
    ConfigError
        If graph-tool is not installed.
    """
    graphs, nodes, edges, models = [], [], [], []
    for kind, make in KINDS.items():
        graph, groups = make(n, seed)
        fit = fit_sbm(graph, weights=None, structure="select", n_runs=1, seed=seed)
        found = find_communities(graph, COMMUNITIES, seed, n_nulls=n_nulls)
        graphs.append(
            {
                "graph": kind,
                "directed": graph.directed,
                "n_groups": len(set(groups.tolist())),
                "n_blocks": fit.n_blocks,
                "pattern": fit.pattern,
                "blocks_ari": adjusted_rand(fit.labels, groups),
                "n_communities": found.n,
                "n_beyond_chance": found.n_beyond_chance,
                "p": found.p,
                "communities_ari": adjusted_rand(found.labels, groups),
            }
        )
        columns = {"group": groups, "block": fit.labels, "community": found.labels}
        nodes.append(pd.DataFrame({"graph": kind, "node": list(graph.node_names), **columns}))
        edges.append(pd.DataFrame({"graph": kind, "source": graph.source, "target": graph.target}))
        models.append(_candidates(fit).assign(graph=kind))
    order = ["graph", "model", "description_length", "above", "kept", "comparable", "reason"]
    joined = pd.concat(models, ignore_index=True)[order]
    return Structures(
        pd.DataFrame(graphs), pd.concat(nodes, ignore_index=True), pd.concat(edges, ignore_index=True), joined
    )


def _candidates(fit: BlockModel) -> pd.DataFrame:
    """The shortest description by each kind of model, beside the one that was kept."""
    rows = fit.models.sort_values("description_length", kind="stable").drop_duplicates("model").sort_index()
    above = rows["description_length"] - fit.description_length
    # Models of one block cost the same whatever they are called: the simplest counts as kept.
    kept = np.arange(len(rows)) == int(np.argmax(above.abs().to_numpy() <= 1e-6))
    return rows.assign(above=above, kept=kept)[
        ["model", "description_length", "above", "kept", "comparable", "reason"]
    ]
