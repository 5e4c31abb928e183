"""Static token-to-token maps of a transformer, summarised without ever being formed.

With E the embedding, U the unembedding and γ the gains (Elhage et al. 2021, "A Mathematical Framework for Transformer
Circuits"), maps of vocabulary × vocabulary are

    direct path   E P γ Uᵀ          OV circuit   E P γ W_V W_O P γ Uᵀ          QK circuit   E P γ W_Q W_Kᵀ γ P Eᵀ

The copying score of a map is the sum of its eigenvalues' real parts over the sum of their absolute values: 1 where
every token raises itself (OV, direct path) or attends to itself (QK, then called matching), -1 where it does the
opposite. A product X Y has the eigenvalues of Y X beside zeros, so that those of a head are those of a matrix of
d_head × d_head, made from UᵀE and EᵀE, which are formed once.

Where a head looks by position alone is seen from a stream of the mean embedding and the learned positions (or rotary
rotations), normed as the model norms it, read by the head without anything in between: `previous_token` is the mean
attention of positions from 1 on to the position before, `current_token` that to themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compgraph.connectivity.structural import composition
from compgraph.connectivity.structural.edges import with_columns
from compgraph.connectivity.structural.null import Array, Draws, rotations
from compgraph.connectivity.structural.vectors import Ends
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.errors import GraphError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.models.positions import Context
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.progress import track

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("ov_copying", "ov_copying_z", "qk_matching", "qk_matching_z", "previous_token", "current_token")
TOKENS = 2**14
"""Rows of embedding and unembedding that are multiplied at a time."""


def virtual_circuits(net: Transformer, *, positions: int = 64, rotated: int = 20, seed: int = 0) -> pd.DataFrame:
    """Scores of every head's static circuits.

    Parameters
    ----------
    net
        A transformer.
    positions
        Length of the sequence for the attention by position; at most as many as the model has.
    rotated
        Draws of the null, for `…_z`: the output of a head (of the OV circuit) or its keys (QK) turned at random in the
        stream; 0 for none.
    seed
        Of the draws.

    Returns
    -------
    DataFrame
        A row per head, and a last one for the direct path (`site` "embed", `head` -1): site, head, ov_copying,
        ov_copying_z, qk_matching, qk_matching_z, previous_token, current_token. Scores in [-1, 1], attention in
        [0, 1]; NaN where a score does not apply.

    Raises
    ------
    ModelError
        A network that is not a transformer.
    GraphError
        Fewer than 2 positions, or than 0 rotations, or a single one.
    """
    import pandas as pd

    rows = _rows(net, positions, rotated, seed)
    rows.append({"site": "embed", "head": -1, "ov_copying": _direct(net)})
    return pd.DataFrame(rows, columns=["site", "head", *SCORES])


def compute(
    net: Transformer, partition: Partition, *, positions: int = 64, rotated: int = 20, seed: int = 0
) -> ComputationalGraph:
    """The edges of static circuits, out of the embedding and into the logits, and the scores of heads as node columns.

    Parameters
    ----------
    net, positions, rotated, seed
        As for `virtual_circuits`.
    partition
        The parts of attention sites are single heads (`Partition.heads`).

    Returns
    -------
    ComputationalGraph
        Composition scores (`composition`) of these edges with their null; node columns as of `virtual_circuits`, NaN
        for other nodes; attribute `direct_copying`.

    Raises
    ------
    GraphError, ModelError, DataError
        As `virtual_circuits` and `composition`; a part that is not a single head.
    """
    _check(net, positions, rotated)
    partition.check_causal(net)
    _check_heads(net, partition)
    composed = composition.compute(net, partition)
    site, labels = composed.node_columns["site"], composed.node_columns["label"]
    heads = {(row["site"], row["head"]): row for row in _rows(net, positions, rotated, seed)}
    found = [heads.get((name, int(k)), {}) for name, k in zip(site, labels, strict=True)]
    ends = np.zeros(composed.n_nodes, bool)
    ends[np.concatenate([composed.inputs, composed.outputs])] = True
    keep = ends[composed.source] | ends[composed.target]
    columns = {name: values[keep] for name, values in composed.columns.items() if name != "p_adjusted"}
    return with_columns(
        composed.subgraph(keep),
        {"weight": composed.weight[keep], **columns},
        {"method": "virtual-circuits", "direct_copying": _direct(net)},
        {name: np.array([row.get(name, np.nan) for row in found]) for name in SCORES},
    )


def _check(net: Transformer, positions: int, rotated: int) -> None:
    if not isinstance(net, Transformer):
        raise ModelError(f"virtual-circuits is for transformers, not for a {net.kind}")
    if positions < 2:
        raise GraphError(f"virtual-circuits: positions is {positions}; it must be at least 2")
    if rotated < 0 or rotated == 1:
        raise GraphError(f"virtual-circuits: rotated is {rotated}; it must be 0, or at least 2 for a variance")


def _check_heads(net: Transformer, partition: Partition) -> None:
    for site in net.architecture.node_sites:
        heads = np.repeat(np.arange(site.n_heads), site.n_units // max(1, site.n_heads))
        if site.kind == "attn" and not np.array_equal(partition.labels[site.name], heads):
            raise GraphError(f"virtual-circuits: the parts of {site.name} must be its heads (partition heads)")


def _rows(net: Transformer, positions: int, rotated: int, seed: int) -> list[dict[str, Any]]:
    """A row of scores for every head."""
    _check(net, positions, rotated)
    ends = _ends(net)
    with torch.no_grad():
        outward, gram = _shared(net)
        turns = rotations(ends.dimension, rotated, seed, centred=net.spec.norm == "layer")
        stream, context = _by_position(net, positions)
        out: list[dict[str, Any]] = []
        for layer in track(range(net.spec.n_layers), "virtual-circuits"):
            maps = ends.head_maps(layer)
            q, k, v, o = (maps[name].double() for name in ("q", "k", "v", "o"))
            pattern = _pattern(net, layer, stream, context)
            columns = (
                *_with_null(o, outward @ v.mT, turns),
                *_with_null(k, gram @ q.mT, turns),
                pattern.diagonal(-1, 1, 2).mean(1).numpy(),
                pattern.diagonal(0, 1, 2)[:, 1:].mean(1).numpy(),
            )
            for head, values in enumerate(zip(*columns, strict=True)):
                scores = dict(zip(SCORES, map(float, values), strict=True))
                out.append({"site": f"attn.{layer}", "head": head} | scores)
    return out


def _ends(net: Transformer) -> Ends:
    inner = net.inner if isinstance(net, FeatureTransformer) else net
    return Ends(inner, Partition.heads(inner))


def _shared(net: Transformer) -> tuple[Tensor, Tensor]:
    """UᵀE behind the final norm, and EᵀE, both float64 [d_model, d_model]."""
    outward = torch.zeros(net.spec.d_model, net.spec.d_model, dtype=torch.float64)
    gram = torch.zeros_like(outward)
    with torch.no_grad():
        embedding, read = net.weights.embedding.detach().cpu(), _ends(net).unembedding()
        for written, rows in zip(embedding.split(TOKENS), read.split(TOKENS), strict=True):
            outward += rows.double().T @ written.double()
            gram += written.double().T @ written.double()
    return outward, gram


def _direct(net: Transformer) -> float:
    """Copying score of the direct path."""
    return float(_copying(_shared(net)[0]))


def _copying(maps: Tensor) -> Tensor:
    """Sum of real parts over sum of absolute values of the eigenvalues of [.., k, k]; NaN for zeros."""
    values = torch.linalg.eigvals(maps)
    return values.real.sum(-1) / values.abs().sum(-1)


def _with_null(writers: Tensor, through: Tensor, turns: list[Tensor]) -> tuple[Array, Array]:
    """Scores of heads [heads, k, d_model] whose writes go `through` [heads, d_model, k], and z under turned writes."""
    found = _copying(writers @ through).numpy()
    if not turns:
        return found, np.full_like(found, np.nan)
    draws = Draws(found)
    for turn in turns:
        draws.add(_copying(writers @ turn @ through).numpy())
    return found, draws.moments().z(found)


def _by_position(net: Transformer, positions: int) -> tuple[Tensor, Context]:
    """The stream [1, positions, d_model] of the mean embedding at every position."""
    if net.weights.positions is not None:
        positions = min(positions, len(net.weights.positions))
    tokens = torch.zeros(1, positions, dtype=torch.int64, device=net.device)
    context = net.context(tokens)
    mean = net.weights.embedding.double().mean(0).to(net.dtype) * net.spec.embed_scale
    return net.add_positions(mean.expand(1, positions, -1), context), context


def _pattern(net: Transformer, layer: int, stream: Tensor, context: Context) -> Tensor:
    """What a layer's heads attend to if they read the stream [heads, positions, positions]."""
    q, k, _ = net.rotated(layer, net.read_attention(layer, stream).pre, context)
    return net.pattern(layer, q, k, context)[0].double().cpu()
