"""A clean forward pass of a transformer, site by site, with the streams that sites read and leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.data.batches import Batch
from compgraph.models.counting import count_forward
from compgraph.models.positions import Context
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer


@dataclass
class Step:
    """One site of a clean pass.

    Attributes
    ----------
    site
        Its name; `logits` comes last.
    stream
        What it reads, before the norm [batch, time, d_model] (`logits`: [batch, d_model], scored positions).
    reading, units
        As the engine makes them, with one key and value per query head; units None at `logits`.
    after, before
        The stream with its write included, and the stream at the start of its block; None at `logits`.
    """

    site: str
    stream: Tensor
    reading: Reading
    units: Tensor | None = None
    after: Tensor | None = None
    before: Tensor | None = None


def walk(net: Transformer, batch: Batch, context: Context) -> Iterator[Step]:
    """Visit the sites behind `embed` in order."""
    count_forward(len(batch))
    x = net.add_positions(net.embed_units(batch.clean), context)
    before = x
    for site in net.steps:
        layer = int(site.split(".")[1])
        if site.startswith("attn"):
            before = stream = x
            reading = net.read_attention(layer, stream)
            reading.pre = {c: net.per_query_head(value) for c, value in reading.pre.items()}
            units = net.attend(layer, reading.pre, context)
        else:
            stream = before if net.spec.parallel else x
            reading = net.read_mlp(layer, stream)
            units = net.mlp_units(layer, reading.pre)
        units = net.represent(site, units)
        x = x + net.write(site, units, reading)
        yield Step(site, stream, reading, units, x, before)
    if batch.positions is not None:
        x = x[torch.arange(len(batch), device=x.device), batch.positions]
    yield Step("logits", x, net.read_logits(x))
