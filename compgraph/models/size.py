"""How large a network is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.spec import BlockWeights
from compgraph.models.transformer import Transformer
from compgraph.patterns import pattern_of


def n_parameters(net: Network) -> int:
    """Trainable numbers of a loaded network: all weights and biases, embeddings included, shared tensors once.

    Raises
    ------
    TypeError
        For a network of another kind.
    """
    if isinstance(net, Transformer):
        found = [one for name, one in _tensors(net.weights) if name != "inverse_frequencies"]
    elif isinstance(net, Sequential):
        found = list(net.weights.values())
    else:
        raise TypeError(f"the size of a {type(net).__name__} is not known")
    return sum({(one.data_ptr(), one.shape): one.numel() for one in found}.values())


def site_parameters(net: Network, sites: Collection[str]) -> dict[str, int]:
    """Trainable numbers that the units of each site read and write with; every unit of a site holds as many.

    Attention: W_Q, W_K, W_V, W_O and the biases of the readers; where the patterns are a site of their own, W_Q and
    W_K are its. Keys and values that several heads share count for each of these in equal parts. MLP: W_in, W_gate,
    W_out and the biases of the readers. Chains: weight and bias of the layer that computes the units, logits included;
    the positions of a channel have its filter in equal parts, and the features of a dictionary, with its error, the
    layer that they describe. Embeddings and unembedding of a transformer, which nearly every circuit needs whole, count
    for none, nor do norms and output biases, which are no node's.

    Parameters
    ----------
    sites
        Names of the node sites, pattern sites (`compgraph.patterns`) among them.

    Raises
    ------
    TypeError
        For a network of another kind.
    """
    found = dict.fromkeys(sites, 0)
    if isinstance(net, Transformer):
        for layer, block in enumerate(net.weights.blocks):
            attn, mlp = f"attn.{layer}", f"mlp.{layer}"
            patterns = pattern_of(attn) if pattern_of(attn) in found else attn
            for site, names in ((patterns, _QUERY_KEY), (attn, _VALUE_OUT), (mlp, _MLP)):
                if site in found:
                    found[site] += _numbers(block, names)
    elif isinstance(net, Sequential):
        for name, value in net.weights.items():
            found[name.rpartition(".")[0]] += value.numel()
    else:
        raise TypeError(f"the size of a {type(net).__name__} is not known")
    return found


_QUERY_KEY = ("w_q", "b_q", "w_k", "b_k")
_VALUE_OUT = ("w_v", "b_v", "w_o")
_MLP = ("w_in", "b_in", "w_gate", "b_gate", "w_out")


def _numbers(block: BlockWeights, names: Collection[str]) -> int:
    values = (getattr(block, name) for name in names)
    return sum(value.numel() for value in values if value is not None)


def depth(net: Network) -> int:
    """Blocks of a transformer; layers with weights of a chain."""
    return net.spec.n_layers if isinstance(net, Transformer) else len(net.architecture.sites) - 1


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, list):
        for item in value:
            yield from _tensors(item, name)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name), field.name)
