"""Where tokens are and what they may look at: positions, rotary tables, attention masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.errors import ModelError
from compgraph.models.spec import TransformerSpec, Weights


@dataclass
class Context:
    """What all layers share about one batch of tokens.

    Attributes
    ----------
    position_ids
        [batch or 1, time] positions of the tokens among the real ones.
    cos, sin
        Rotary tables [batch or 1, time, 1, rotary_dim], or None.
    allowed
        Window (None: unlimited) -> [batch or 1, 1, time, time] bool, True where a query may look;
        None where plain causality is the whole rule.
    """

    position_ids: Tensor
    cos: Tensor | None
    sin: Tensor | None
    allowed: dict[int | None, Tensor | None]

    def repeat(self, n: int) -> Context:
        """The context of n copies of the batch, one behind the other."""

        def tile(x: Tensor | None) -> Tensor | None:
            return x if x is None or x.shape[0] == 1 else x.repeat(n, *(1,) * (x.dim() - 1))

        position_ids = tile(self.position_ids)
        assert position_ids is not None
        allowed = {window: tile(mask) for window, mask in self.allowed.items()}
        return Context(position_ids, tile(self.cos), tile(self.sin), allowed)

    def at(self, positions: Tensor) -> Context:
        """The context of queries at one position per example [batch] alone, which look at all keys."""
        rows, keys = torch.arange(len(positions), device=positions.device), self.position_ids.shape[1]
        causal = torch.arange(keys, device=positions.device) <= positions[:, None]

        def pick(x: Tensor) -> Tensor:
            return x[rows if x.shape[0] > 1 else torch.zeros_like(rows), positions][:, None]

        allowed: dict[int | None, Tensor | None] = {
            window: causal[:, None, None] if mask is None else pick(mask[:, 0])[:, None]
            for window, mask in self.allowed.items()
        }
        cos, sin = (None if x is None else pick(x) for x in (self.cos, self.sin))
        return Context(pick(self.position_ids), cos, sin, allowed)


def make_context(spec: TransformerSpec, weights: Weights, tokens: Tensor, mask: Tensor | None = None) -> Context:
    """Positions, rotary tables and attention masks of a batch.

    Real tokens are numbered from 0; padded positions look at themselves only, so that nothing is undefined.

    Parameters
    ----------
    tokens
        [batch, time].
    mask
        [batch, time] bool, True for real tokens; None when nothing is padded.

    Raises
    ------
    ModelError
        More real tokens than the model has learned positions for.
    """
    time = tokens.shape[1]
    if mask is None or bool(mask.all()):
        mask = None
        position_ids = torch.arange(time, device=tokens.device)[None]
    else:
        position_ids = (mask.long().cumsum(-1) - 1).clamp_min(0)
    learned = weights.positions
    if learned is not None and time > len(learned) and int(position_ids.max()) >= len(learned):
        raise ModelError(
            f"an input has {int(position_ids.max()) + 1} tokens, but the model's position embedding holds "
            f"{len(learned)}; shorten the input."
        )
    cos, sin = _rotary_tables(spec, weights, position_ids)
    allowed = {window: _allowed(window, time, mask, tokens.device) for window in set(spec.windows)}
    return Context(position_ids, cos, sin, allowed)


def _rotary_tables(
    spec: TransformerSpec, weights: Weights, position_ids: Tensor
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    if weights.inverse_frequencies is None:
        return None, None
    dtype = weights.embedding.dtype
    wide = torch.float64 if dtype == torch.float64 else torch.float32  # half precision cannot hold large angles
    angles = position_ids[..., None].to(wide) * weights.inverse_frequencies.to(wide)
    angles = torch.cat([angles, angles], -1)[:, :, None]
    return (angles.cos() * spec.rotary_scale).to(dtype), (angles.sin() * spec.rotary_scale).to(dtype)


def _allowed(window: int | None, time: int, mask: Tensor | None, device: torch.device) -> Tensor | None:
    if mask is None and (window is None or window >= time):
        return None
    query = torch.arange(time, device=device)[:, None]
    key = torch.arange(time, device=device)[None, :]
    allowed = key <= query
    if window is not None:
        allowed = allowed & (key > query - window)
    allowed = allowed[None, None]
    if mask is not None:
        allowed = (allowed & mask[:, None, None, :]) | (key == query)
    return allowed


def rotate(x: Tensor, cos: Tensor, sin: Tensor, rotary_dim: int) -> Tensor:
    """Rotary position embedding (Su et al. 2021), half-split pairs, on the leading coordinates of each head."""
    head, tail = x[..., :rotary_dim], x[..., rotary_dim:]
    first, second = head.chunk(2, -1)
    head = head * cos + torch.cat([-second, first], -1) * sin
    return head if tail.shape[-1] == 0 else torch.cat([head, tail], -1)
