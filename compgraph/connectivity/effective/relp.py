"""Relevance patching (RelP): gradients replaced by the rules of layer-wise relevance propagation.

Like `eap`, with the backward pass of the clean run changed (Rezaei Jafari et al. 2025, arXiv 2508.21258):

- **LN-rule**: every LayerNorm and RMSNorm (those of queries, keys and outputs too) divides by a scale held constant;
  centring, gain and bias as usual.
- **Identity-rule**: an activation is x~ · constant(act(x) / x~), x~ being x moved 1e-6 away from 0. A plain ReLU is
  left alone, for which the rule says the same.
- **Half-rule**: the product of a gated MLP is y / 2 + constant(y / 2), with the Identity-rule on the gate.

Linear maps, the softmax and the product of pattern and values keep their ordinary gradient, soft-caps too. The
encoder of a dictionary is a linear map and an activation, to which the Identity-rule would give constant(f / pre) = 1
where a feature is active, else 0: its derivative at a fixed set of active features, which is taken. So features and
error sum to the whole site here too (the paper has no dictionaries: [D]). With
`attention_rule` (AH-rule, not among the defaults) patterns are held constant as well, and every score into a query or
key is 0.

Read in source [C]: the rules in the authors' fork of TransformerLens (`lrp_utils`, `layer_norm`, `gated_mlp`,
`activation_functions`), whose README however sets the flag after the activations are chosen, so that its
Identity-rule is off. Checked here against autograd on the rules written out with `detach`.

Values are those of the ordinary forward pass; only the backward pass differs. Cost: as `eap`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.blocking import blocked
from compgraph.connectivity.effective.eap import clean_gradient
from compgraph.connectivity.effective.endpoints import Projection
from compgraph.connectivity.effective.feature_jacobians import Jacobian
from compgraph.connectivity.effective.features import FeatureScorer
from compgraph.connectivity.effective.setting import Setting
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.models.positions import Context
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer

STABILISER = 1e-6


def compute(setting: Setting, *, attention_rule: bool = False) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    attention_rule
        Hold attention patterns constant too.
    """
    relevance = relevance_network(setting.net, attention_rule)
    scorer = RelevanceScorer(relevance, setting.partition, setting.split_qkv, setting.recompute)
    return attribute(setting, clean_gradient, method="relp", scorer=scorer)


def relevance_network(net: Network, attention_rule: bool = False) -> Transformer:
    """The same network, with its dictionaries, whose backward pass follows the rules."""
    assert isinstance(net, Transformer)
    if isinstance(net, FeatureTransformer):
        inner = relevance_network(net.inner, attention_rule)
        relevance: RelevanceNetwork = RelevanceFeatures(inner, net.dictionaries)
    else:
        relevance = RelevanceNetwork(net.spec, net.weights, net.digest)
    relevance.attention_rule = attention_rule
    return relevance


class RelevanceNetwork(Transformer):
    """A network whose backward pass follows the rules; its values are the ordinary ones."""

    attention_rule = False

    def inverse_scale(self, x: Tensor) -> Tensor:
        """LN-rule."""
        return super().inverse_scale(x.detach())

    def activation(self, x: Tensor) -> Tensor:
        """Identity-rule."""
        if self.spec.activation == "relu":
            return super().activation(x)
        moved = x + torch.where(x < 0, -STABILISER, STABILISER).to(x.dtype)
        return moved * (super().activation(x) / moved).detach()

    def gated(self, gate: Tensor, up: Tensor) -> Tensor:
        """Half-rule."""
        half = super().gated(gate, up) / 2
        return half + half.detach()

    def pattern(self, layer: int, q: Tensor, k: Tensor, context: Context) -> Tensor:
        """AH-rule, if asked for."""
        pattern = super().pattern(layer, q, k, context)
        return blocked(pattern) if self.attention_rule else pattern


class RelevanceFeatures(RelevanceNetwork, FeatureTransformer):
    """The same with dictionaries."""


class RelevanceScorer(FeatureScorer):
    """Pulls gradients back through norms whose scale is constant: centring alone is left of their projection."""

    def _jacobian(self, net: FeatureTransformer, site: str, reading: Reading, pattern: Tensor | None) -> Jacobian:
        found = super()._jacobian(net, site, reading, pattern)
        found.output = replace(found.output, xhat=None)
        return found

    def _projection(self, reading: Reading) -> Projection:
        return Projection(None, self.net.spec.norm == "layer")
