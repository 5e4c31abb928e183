"""The other null of chains: the weights of every layer, as they are, put into other places.

The rotations of `chain_null` keep singular values and let the entries become what they like: close to normal. Where the
entries of a network are spread otherwise, the squares of few of them are too. Uniform entries, torch's default, have
squares of variance 4/5 instead of 2 (in squares of their mean), none above 3 times the mean, so that hardly any passes
for a large one of normal entries. Here the entries of each layer are permuted instead, and everything is computed anew
from the input on: whatever their distribution, weights that only chance has arranged give the nominal share.

Which entries are alike depends on the scales of hidden units, which are free (`chains`): permuted are those of the
network of the same function in which every hidden channel has a mean squared scale of 1. The last layer's rows keep
theirs.

Permuted networks do not know one hidden channel from another, so that edges between parts that look the same but for
their channels have one distribution, and their draws are counted together: p = (1 + draws at least as large) / (1 +
draws).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.connectivity.structural.edges import Columns
from compgraph.connectivity.structural.null import FLAT, Array
from compgraph.connectivity.structural.squared_stage import SquaredStage
from compgraph.partition import DEAD, Partition

Integers = npt.NDArray[np.int64]
Squares = Callable[[Sequence[SquaredStage]], Mapping[str, Array]]
"""Site -> squared weights of the edges into it [targets, sources]."""


def permutation_null(
    stages: Sequence[SquaredStage], squares: Squares, partition: Partition, draws: int, seed: int
) -> dict[str, Columns]:
    """Weights, z and p by permuted networks.

    Parameters
    ----------
    stages
        Of the network, from the input on.
    squares
        The squared weights of a network's edges, by its stages.
    draws, seed
        Permutations.

    Returns
    -------
    dict
        Site -> `weight`, `z` of the squared weight, and `p`; NaN where permutations change nothing.
    """
    observed, balanced = squares(stages), balanced_squares(stages)
    tallies, read = {}, _input_channels(stages[0])
    for one in stages:
        site, channels = one.stage.site, len(one.reader.weight)
        if site in observed:
            targets = _kinds(partition, site, channels, one.reader.groups)
            sources = _kinds(partition, one.stage.source, read, one.reader.groups)
            tallies[site] = _Tally(observed[site], targets, sources)
        read = channels
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        found = squares(permuted(stages, balanced, rng))
        for site, tally in tallies.items():
            tally.add(found[site])
    return {site: tally.columns() for site, tally in tallies.items()}


def balanced_squares(stages: Sequence[SquaredStage]) -> list[Tensor]:
    """Squared weights, layer by layer, of the same network with mean squared scales of 1 in its hidden channels."""
    below, found = torch.ones(1, dtype=torch.float64), []
    for number, one in enumerate(stages):
        weight = one.reader.weight
        own = one.total.reshape(len(weight), -1).mean(1)
        own = torch.where(own > 0, own, 1.0)
        if number == len(stages) - 1:
            own = torch.ones_like(own)
        found.append(weight * _columns(one, below) / own.reshape(-1, *[1] * (weight.dim() - 1)))
        below = own
    return found


def permuted(stages: Sequence[SquaredStage], squares: Sequence[Tensor], rng: np.random.Generator) -> list[SquaredStage]:
    """A network of the same architecture: the squared weights of each layer in random places."""
    scale, found = stages[0].scale, []
    for one, values in zip(stages, squares, strict=True):
        order = torch.from_numpy(rng.permutation(values.numel()))
        reader = replace(one.reader, weight=values.flatten()[order].reshape(values.shape))
        found.append(replace(one, reader=reader, scale=scale))
        scale = found[-1].total
    return found


class _Tally:
    """Draws of all edges into a site, those of edges that are alike together.

    Parameters
    ----------
    observed
        Squared weights [targets, sources].
    targets, sources
        Kind of each part: edges between parts of one pair of kinds are alike.
    """

    def __init__(self, observed: Array, targets: Integers, sources: Integers) -> None:
        self.observed = observed
        kind = targets[:, None] * (int(sources.max(initial=0)) + 1) + sources
        self.members = [np.flatnonzero(kind.ravel() == one) for one in np.unique(kind)]
        self.above = np.zeros(observed.size, np.int64)
        self.sums = np.zeros((2, len(self.members)))  # of draws less the mean of what was observed, and their squares
        self.draws = 0

    def add(self, squares: Array) -> None:
        """One more draw of all edges."""
        drawn, observed = squares.ravel(), self.observed.ravel()
        for number, alike in enumerate(self.members):
            values = np.sort(drawn[alike])
            self.above[alike] += len(alike) - np.searchsorted(values, observed[alike] * (1 - 1e-12))
            off = values - observed[alike].mean()
            self.sums[:, number] += off.sum(), (off**2).sum()
        self.draws += 1

    def columns(self) -> Columns:
        """What the observed weights are worth."""
        z, p = np.full((2, self.observed.size), np.nan)
        observed = self.observed.ravel()
        for number, alike in enumerate(self.members):
            n = len(alike) * self.draws
            off, square = self.sums[:, number] / n
            centre = observed[alike].mean()
            variance = square - off**2
            if variance > FLAT * (centre + off) ** 2:
                z[alike] = (observed[alike] - centre - off) / variance**0.5
                p[alike] = (1 + self.above[alike]) / (1 + n)
        shape = self.observed.shape
        return {"weight": np.sqrt(self.observed), "z": z.reshape(shape), "p": p.reshape(shape)}


def _columns(one: SquaredStage, below: Tensor) -> Tensor:
    """Squared scales of channels that are read, in a shape that multiplies the weight."""
    reader = one.reader
    if reader.kind == "linear":
        return below.repeat_interleave(len(one.scale) // len(below))
    channels = below.expand(reader.in_shape[0]).reshape(reader.groups, -1, 1, 1)
    return channels.repeat_interleave(len(reader.weight) // reader.groups, 0)


def _input_channels(first: SquaredStage) -> int:
    """Channels of the input; single features are each one."""
    return first.reader.in_shape[0] if first.reader.kind == "conv" else len(first.scale)


def _kinds(partition: Partition, site: str, channels: int, groups: int) -> Integers:
    """A number per part, the same for parts that take the same places of as many channels of the same groups."""
    labels = partition.labels[site]
    size, width = len(labels) // channels, channels // groups
    places: list[dict[int, list[int]]] = [{} for _ in range(partition.n_parts(site))]
    for unit in np.flatnonzero(labels != DEAD).tolist():
        channel, place = divmod(unit, size)
        places[labels[unit]].setdefault(channel, []).append(place)
    looks = [tuple(sorted((channel // width, *taken) for channel, taken in part.items())) for part in places]
    known = {look: number for number, look in enumerate(dict.fromkeys(looks))}
    return np.array([known[look] for look in looks], dtype=np.int64)
