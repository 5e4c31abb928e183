"""Single features of a dictionary from what its site computes, where a product gives them."""

from __future__ import annotations

import torch
from torch import Tensor

from compgraph.ablation.plan import Ints
from compgraph.dictionaries.attached import FeatureTransformer


class FeatureEncoder:
    """Features as columns of one product with the coordinates that a site computes (neurons, outputs of heads).

    Attributes
    ----------
    direct
        Whether there is such a product: not for `topk`, where the other features decide, and not in space `write`
        behind a post-norm.
    """

    def __init__(self, net: FeatureTransformer, name: str) -> None:
        self.one = net.dictionaries[name]
        self.rows, self.bias, post = net.inner.decoder(name)
        self.direct = self.one.activation != "topk" and (self.one.space == "hidden" or post is None)

    def serves(self, columns: Ints) -> bool:
        """Whether these units are features alone, each given by the product."""
        return self.direct and bool((columns < self.one.n_features).all())

    def matrix(self, columns: Ints) -> Tensor:
        """[features, coordinates], one behind the other in memory."""
        chosen = self.one.encoder[:, self._index(columns)]
        return (self.rows @ chosen if self.one.space == "write" else chosen).T.contiguous()

    def constant(self, columns: Ints) -> Tensor:
        """What is added to the product [features]."""
        index, one = self._index(columns), self.one
        out = one.encoder.new_zeros(len(index)) if one.encoder_bias is None else one.encoder_bias[index]
        return out + self.bias @ one.encoder[:, index] if one.space == "write" and self.bias is not None else out

    def units(self, pre: Tensor, columns: Ints | Tensor) -> Tensor:
        """Features [.., features] from their pre-activations."""
        if self.one.activation == "linear":
            return pre
        active = pre > 0
        if self.one.threshold is not None:
            active &= pre > self.one.threshold[self._index(columns)]
        return pre * active

    def _index(self, columns: Ints | Tensor) -> Tensor:
        index = columns if isinstance(columns, Tensor) else torch.from_numpy(columns)
        return index.to(self.one.encoder.device)
