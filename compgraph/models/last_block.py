"""The last block of a transformer where only the scored positions are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compgraph.models.counting import count_forward
from compgraph.models.positions import Context

if TYPE_CHECKING:
    from compgraph.models.transformer import Transformer


def last_block(
    net: Transformer, x: Tensor, before: Tensor, steps: Sequence[str], context: Context, positions: Tensor
) -> Tensor:
    """Stream behind the last block at the scored positions, which needs keys and values alone of the others.

    Parameters
    ----------
    x
        Stream [batch, time, d_model] in front of `steps`.
    before
        The stream at the block's start, where `steps` begin inside it.
    steps
        Sites of the last block that are left to run; none, one or two.
    positions
        [batch] scored positions.

    Returns
    -------
    Tensor
        [batch, d_model].
    """
    count_forward(len(x), len(steps) / len(net.steps))
    rows, layer = torch.arange(len(x), device=x.device), net.spec.n_layers - 1
    here = x[rows, positions][:, None]
    inside = len(steps) > 0 and steps[0].startswith("mlp")
    start = before[rows, positions][:, None] if inside else here
    for site in steps:
        if site.startswith("attn"):
            block = net.weights.blocks[layer]
            y, at = net.gain(net.normalise(x)[0], block.attn_norm), context.at(positions)
            queries = net.project(y[rows, positions][:, None], block.w_q)
            q = net.finish_head(queries, block.b_q, block.q_norm, at, None)
            k = net.finish_head(net.project(y, block.w_k), block.b_k, block.k_norm, context, None)
            pattern = net.pattern(layer, q, net.per_query_head(k), at)
            units = net.mix(pattern, net.values(layer, net.project(y, block.w_v)))
        else:
            units = net.mlp_units(layer, net.read_mlp(layer, start if net.spec.parallel else here).pre)
        here = here + net.write(site, net.represent(site, units))
    return here[:, 0]
