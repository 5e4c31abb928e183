"""Integrated gradients of nodes: the effect of every node, handed on to the edges that feed it.

Two steps, as in sparse feature circuits (Marks et al. 2024, arXiv 2403.19647; read in the authors' code [C]):

1. *Nodes.* For each site in turn its units are replaced by clean + (k / m) (baseline - clean), k = 0 … m - 1, the rest
   of the network free to follow, and the gradient of the metric at these units is averaged: h. The effect of a node is
   the sum over its units of h · (baseline - clean).
2. *Edges.* With a_d the units of node d and h_d held constant,

       score(u -> d) = < D_u, Jᵀ h_d >,      J the Jacobian of a_d with respect to the stream that d reads

   in the clean run (`edge_steps` = 1, as in the reference), or averaged over streams clean + (j / n) (sum of all D_u),
   j = 0 … n - 1. The edge is direct: J goes through d alone, and what happens behind d is in h_d.

The activation of `logits` is the metric itself, with h = 1. As the steps grow, the effects of a site's nodes sum to the
change of the metric when the site takes its baseline value, and the scores of all edges into a node sum to h_d times
the change of a_d when d reads the baseline stream: under the counterfactual baseline, the effect of d. So an edge's
score is the share of d's effect that comes through it, and scores into d and out of d are two accounts of one thing.
(Not under the zero baseline in a network with norms: on the way to an empty stream a norm undoes the shrinking, up to a
jump at its very end that no number of steps resolves.)

With dictionaries nodes are features and errors, as in the paper: the features and the error of a site go to their
baseline together, the effect of the error is one number, its sum over the coordinates, and J of a feature goes
through the encoder at the set of features that are active at the point. The error's J is that of x less that of its
reconstruction, so that effects, edges out and, without a threshold, edges into features and error sum to those of x
on the same path; behind a post-norm the straight path of a write is not that of the units. (In the reference edges
from errors may vanish: its edge pass zeroes their gradient.) Completeness over edges does not reach across jumps: a
`topk` or `jumprelu` feature that switches on along the path starts at its threshold, and no gradient sees that step;
a feature that is silent in the clean run reads nothing there, so that with `edge_steps` = 1 it gets no edges.

Where it departs from the reference: interpolation is the reference's, left Riemann, but nodes are those of the
partition, in the residual stream of all sites (the reference cuts the stream at residual nodes, so that only neighbours
have edges); integration along the edge is ours [D]. `node_threshold` cuts as the reference does, an example and
position of a node at a time: effects that are small everywhere but add up are lost.

Cost: a forward and backward pass; for every site m - 1 of them from that site on; and for each of `edge_steps` a local
forward and backward step per site, with the products of `eap`.
"""

from __future__ import annotations

from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.eap import clean_gradient
from compgraph.connectivity.effective.node_ig_chains import NodeChainScorer
from compgraph.connectivity.effective.node_ig_streams import NodeStreamScorer
from compgraph.connectivity.effective.setting import Setting
from compgraph.errors import DataError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer


def compute(
    setting: Setting, *, steps: int = 10, edge_steps: int = 1, node_threshold: float = 0.0
) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    steps
        m, at least 1.
    edge_steps
        Points on the path of the stream that a node reads; 1 is the clean run.
    node_threshold
        Edges into a node get nothing from an example and position where its effect is smaller in absolute value.

    Returns
    -------
    ComputationalGraph
        With the node column `effect`: the mean effect of every node. That of `logits` is the change of the metric
        when they read the baseline stream (in a chain: integrated, node by node).

    Raises
    ------
    DataError
        No steps, or a negative threshold.
    """
    _check(steps, edge_steps, node_threshold)
    scorer = scorer_of_nodes(setting, steps, edge_steps, node_threshold)
    used = {"steps": steps, "edge_steps": edge_steps, "node_threshold": node_threshold}
    graph = attribute(setting, clean_gradient, method="node-ig", scorer=scorer, attributes=used)
    return ComputationalGraph.from_architecture(
        setting.net,
        setting.partition,
        graph.weight,
        split_qkv=setting.split_qkv,
        kind=graph.kind,
        attributes=graph.attributes,
        columns=graph.columns,
        node_columns={"effect": scorer.effects.totals() / setting.pairs.n},
    )


def scorer_of_nodes(
    setting: Setting, steps: int, edge_steps: int, node_threshold: float
) -> NodeStreamScorer | NodeChainScorer:
    """The scorer that hands on effects of nodes."""
    if isinstance(setting.net, Transformer):
        return NodeStreamScorer(setting, steps, edge_steps, node_threshold)
    if isinstance(setting.net, Sequential):
        return NodeChainScorer(setting, steps, edge_steps, node_threshold)
    raise ModelError(f"node-ig has no scorer for {type(setting.net).__name__}")


def _check(steps: int, edge_steps: int, node_threshold: float) -> None:
    for name, value in (("steps", steps), ("edge_steps", edge_steps)):
        if value < 1:
            raise DataError(f"node-ig: {name} is {value}; it must be at least 1")
    if not 0 <= node_threshold < float("inf"):
        raise DataError(f"node-ig: node_threshold is {node_threshold}; it must be a number of at least 0")
