"""Composition scores: how much of what one node writes another reads, from the weights alone.

For a writer A (maps its input to the stream) and a reader B (maps the stream to what it feeds),

    score = |A P B|_F / (|A P|_F |P B|_F)

between 0 and 1 (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits": Q-, K- and
V-composition of heads). P is the centring of LayerNorm (identity under RMSNorm), so that what the norm removes
counts nowhere; gains of the reader's norm and of post-norms are folded into the weights, biases and the norm's
scale are left out, and rotary rotations too: queries and keys are compared at equal positions.

| node | writer A | reader B |
| --- | --- | --- |
| embed | W_E | |
| head | W_V W_O | q: W_Q W_Kᵀ, k: W_K W_Qᵀ, v: W_V W_O |
| MLP | W_out | [W_in, W_gate] |
| logits | | W_U |

A node of several heads or neurons has the stacked matrices of its members, so that squared norms add up over
them. Matrices of width × width are never formed for heads: |A1 A2 B1 B2|_F = |R A2 B1 Sᵀ|_F with A1 = Q R and
B2ᵀ = Q' S.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compgraph.graph import ComputationalGraph
from compgraph.models.spec import NormWeights
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_heads, check_writes
from compgraph.partition import Partition


@dataclass
class Vectors:
    """Stream-space vectors [n, d_model] of a site, with the part of each (int64 [n]); dead units left out."""

    values: Tensor
    part: Tensor


def compute(net: Transformer, partition: Partition, *, seed: int = 0) -> ComputationalGraph:
    """Composition score of every edge, with q, k and v apart.

    Parameters
    ----------
    net
        A transformer.
    partition
        Attention parts consist of whole heads.
    seed
        Unused: nothing is drawn.

    Returns
    -------
    ComputationalGraph
        Structural; weights in [0, 1]; 0 where a writer or reader is all zeros.

    Raises
    ------
    GraphError
        The partition does not fit the network, or splits heads.
    """
    partition.check_causal(net)
    check_writes(net)
    check_heads(net, partition)
    sites = net.architecture.node_sites
    with torch.no_grad():
        writers = {site.name: _writer(net, partition, site.name) for site in sites[:-1]}
        scores = []
        for site in sites[1:]:
            sources = [writers[name] for name in net.architecture.reads[site.name]]
            counts = [partition.n_parts(name) for name in net.architecture.reads[site.name]]
            channels = [
                _scores(sources, counts, reader, partition.n_parts(site.name))
                for reader in _readers(net, partition, site.name)
            ]
            scores.append(torch.stack(channels, 1).flatten())
    weight = torch.cat(scores).double().cpu().numpy()
    return ComputationalGraph.from_architecture(
        net, partition, weight, split_qkv=True, kind="structural", attributes={"method": "composition"}
    )


def _scores(sources: list[Vectors], counts: list[int], reader: Vectors, n_parts: int) -> Tensor:
    """[parts, sources] of one channel of a site."""
    read = _sum_rows(reader.values.square().sum(1), reader.part, n_parts)
    columns = []
    for source, count in zip(sources, counts, strict=True):
        products = (source.values @ reader.values.T).square()
        rows = _sum_rows(products, source.part, count)
        both = _sum_rows(rows.T, reader.part, n_parts)
        written = _sum_rows(source.values.square().sum(1), source.part, count)
        columns.append((both / (read[:, None] * written[None])).nan_to_num(0.0).sqrt())
    return torch.cat(columns, 1)


def _sum_rows(values: Tensor, part: Tensor, n_parts: int) -> Tensor:
    return values.new_zeros(n_parts, *values.shape[1:]).index_add_(0, part, values)


def _writer(net: Transformer, partition: Partition, name: str) -> Vectors:
    labels = _labels(partition, name)
    if name == "embed":
        factor = _reduced(_wide(net.weights.embedding))
        parts = range(partition.n_parts(name))
        masked = torch.cat([_centred(net, factor * (labels == k)) for k in parts])
        return Vectors(masked, torch.arange(len(parts)).repeat_interleave(len(factor)))
    rows, _, post = net.decoder(name)
    rows = _wide(rows)
    rows = rows if post is None or post.gain is None else rows * _wide(post.gain)
    if name.startswith("attn."):
        block = net.weights.blocks[int(name.split(".")[1])]
        values = _gained(_per_head(net, block.w_v), block.attn_norm)
        rows = (_right_factor(values) @ rows.unflatten(0, (net.spec.n_heads, -1))).flatten(0, 1)
    return _vectors(_centred(net, rows), labels, partition.n_parts(name))


def _readers(net: Transformer, partition: Partition, name: str) -> list[Vectors]:
    """One per channel; the vectors are the columns of B."""
    n_parts = partition.n_parts(name)
    labels = _labels(partition, name)
    if name == "logits":
        rows = _wide(net.weights.unembedding)
        gain = net.weights.final_norm.gain
        rows = _centred(net, rows if gain is None else rows * _wide(gain))
        return [_vectors(rows, labels, n_parts)]
    block = net.weights.blocks[int(name.split(".")[1])]
    if name.startswith("mlp."):
        assert block.w_in is not None and block.mlp_norm is not None
        readers = [block.w_in] if block.w_gate is None else [block.w_in, block.w_gate]
        rows = torch.cat([_centred(net, _gained(reader[None], block.mlp_norm)[0].T) for reader in readers])
        return [_vectors(rows, labels.repeat(len(readers)), n_parts)]
    q, k, v = (_per_head(net, reader) for reader in (block.w_q, block.w_k, block.w_v))
    q, k, v = (_gained(reader, block.attn_norm) for reader in (q, k, v))
    q, k = _head_gain(q, block.q_norm), _head_gain(k, block.k_norm)
    out = _wide(block.w_o).transpose(1, 2)
    pairs = ((q, _right_factor(k)), (k, _right_factor(q)), (v, _right_factor(out)))
    return [
        _vectors(_centred(net, (factor @ reader.transpose(1, 2)).flatten(0, 1)), labels, n_parts)
        for reader, factor in pairs
    ]


def _vectors(rows: Tensor, labels: Tensor, n_parts: int) -> Vectors:
    """Drop dead units; a site that is whole and longer than wide is reduced to its triangular factor."""
    if not bool((labels >= 0).all()):
        rows, labels = rows[labels >= 0], labels[labels >= 0]
    if n_parts == 1 and len(rows) > rows.shape[1]:
        rows = _reduced(rows)
        labels = labels.new_zeros(len(rows))
    return Vectors(rows, labels)


def _labels(partition: Partition, name: str) -> Tensor:
    return torch.from_numpy(np.asarray(partition.labels[name], dtype=np.int64))


def _wide(x: Tensor) -> Tensor:
    """On the CPU, in float32 at least: half precision has no factorisations."""
    return x.detach().cpu().to(torch.float64 if x.dtype == torch.float64 else torch.float32)


def _reduced(rows: Tensor) -> Tensor:
    """A [d, d] matrix with the Gram matrix of `rows` [n, d]."""
    return torch.linalg.qr(rows, mode="r").R if len(rows) > rows.shape[1] else rows


def _right_factor(x: Tensor) -> Tensor:
    """R of x = Q R for a batch of tall matrices [.., n, k] -> [.., k, k]."""
    return torch.linalg.qr(x, mode="r").R


def _per_head(net: Transformer, reader: Tensor) -> Tensor:
    return _wide(reader).repeat_interleave(net.spec.n_heads // reader.shape[0], 0)


def _gained(reader: Tensor, norm: NormWeights) -> Tensor:
    """Fold the gain in front of readers [heads, d_model, k] into their rows."""
    return _wide(reader) if norm.gain is None else _wide(reader) * _wide(norm.gain)[:, None]


def _head_gain(reader: Tensor, norm: NormWeights | None) -> Tensor:
    return reader if norm is None or norm.gain is None else reader * _wide(norm.gain)


def _centred(net: Transformer, rows: Tensor) -> Tensor:
    return rows - rows.mean(-1, keepdim=True) if net.spec.norm == "layer" else rows
