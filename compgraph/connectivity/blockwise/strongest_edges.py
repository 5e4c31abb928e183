"""The strongest edges of every target and of the whole, found while scores go by in blocks.

Strength is the absolute score; of equal ones the edge that comes first in the canonical order (by target, channel,
source) is kept, whatever the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.graph_select import strongest


@dataclass
class Edges:
    """Some edges as columns: number in the canonical order and score.

    The number is (target · channels + channel) · nodes + source.
    """

    number: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    score: npt.NDArray[np.floating] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.number)

    @classmethod
    def joined(cls, pieces: list[Edges]) -> Edges:
        """All edges of some pieces in canonical order; those listed twice once."""
        if not pieces:
            return cls()
        number, first = np.unique(np.concatenate([piece.number for piece in pieces]), return_index=True)
        return cls(number, np.concatenate([piece.score for piece in pieces])[first])

    def strongest(self, k: int) -> Edges:
        """The k strongest, in the same order."""
        mask = strongest(np.abs(self.score), k)
        return Edges(self.number[mask], self.score[mask])


class EdgeNumbers:
    """Numbers of edges in the canonical order.

    Parameters
    ----------
    n_nodes, n_channels
        Of the graph.
    """

    def __init__(self, n_nodes: int, n_channels: int) -> None:
        self.n_nodes, self.n_channels = n_nodes, n_channels

    def __call__(
        self, target: npt.NDArray[np.int64], channel: int, source: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        return (target * self.n_channels + channel) * self.n_nodes + source

    def columns(
        self, number: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Source, target and channel of edges."""
        target_channel, source = np.divmod(number, self.n_nodes)
        target, channel = np.divmod(target_channel, self.n_channels)
        return source, target, channel


class StrongestPerTarget:
    """The k strongest edges of every target node, over all of its channels.

    Blocks of one channel are added in ascending order of sources, with the same rows every time; `restart` begins
    with other blocks into the same targets, `close` ends the targets.
    """

    def __init__(self, k: int, numbers: EdgeNumbers) -> None:
        self.k, self.numbers = k, numbers
        self.best: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}  # (first target, channel) -> scores, sources
        self.open: list[Edges] = []
        self.pieces: list[Edges] = []

    def add(self, scores: Tensor, absolute: Tensor, target: int, channel: int, source: int) -> None:
        """Add a block [targets, sources] whose first nodes have these numbers; entries whose absolute value is given
        as -1 are no edges."""
        at = strongest_columns(absolute, self.k)
        values, sources = scores.gather(1, at), at + source
        sources[absolute.gather(1, at) < 0] = -1
        if (target, channel) in self.best:
            before, where = self.best[target, channel]
            values, sources = torch.cat([before, values], 1), torch.cat([where, sources], 1)
            at = strongest_columns(torch.where(sources < 0, -1, values.abs()), self.k)
            values, sources = values.gather(1, at), sources.gather(1, at)
        self.best[target, channel] = values, sources

    def restart(self) -> None:
        """What comes next may begin with the first source again."""
        for (first, channel), (values, sources) in self.best.items():
            score, source = values.cpu().numpy(), sources.cpu().numpy()
            target = np.arange(first, first + len(score))[:, None]
            real = source >= 0
            self.open.append(Edges(self.numbers(target, channel, source)[real], score[real]))
        self.best.clear()

    def close(self) -> None:
        """The targets so far get no more edges."""
        self.restart()
        if self.open:
            self.pieces.append(self._strongest_of_each(Edges.joined(self.open)))
        self.open.clear()

    def _strongest_of_each(self, edges: Edges) -> Edges:
        """The k strongest of every target among edges in canonical order."""
        target = self.numbers.columns(edges.number)[1]
        order = np.lexsort((edges.number, -np.abs(edges.score), target))
        first = np.searchsorted(target[order], target[order])  # where the target's edges begin
        keep = np.sort(order[np.arange(len(order)) - first < self.k])
        return Edges(edges.number[keep], edges.score[keep])


class StrongestOverall:
    """The k strongest edges of all: a running threshold keeps what is looked at twice small."""

    def __init__(self, k: int, numbers: EdgeNumbers) -> None:
        self.k, self.numbers = k, numbers
        self.bar = 0.0
        self.pieces: list[Edges] = []
        self.waiting = 0

    def add(self, scores: Tensor, absolute: Tensor, target: int, channel: int, source: int) -> None:
        """As of `StrongestPerTarget`, in any order."""
        if not absolute.numel() or float(absolute.max()) < self.bar:
            return
        hits = (absolute >= self.bar).nonzero()
        score = scores[hits[:, 0], hits[:, 1]].cpu().numpy()
        rows, columns = hits.cpu().numpy().T
        edges = Edges(self.numbers(rows + target, channel, columns + source), score)
        self.pieces.append(edges.strongest(self.k))
        self.waiting += len(self.pieces[-1])
        if self.waiting > 2 * self.k:
            self._shrink()

    def _shrink(self) -> None:
        edges = Edges.joined(self.pieces).strongest(self.k)
        self.pieces, self.waiting = [edges], len(edges)
        if len(edges) == self.k:
            self.bar = float(np.abs(edges.score).min())

    def edges(self) -> Edges:
        """The k strongest so far, in canonical order."""
        self._shrink()
        return self.pieces[0]


def strongest_columns(absolute: Tensor, k: int) -> Tensor:
    """Columns of the k largest entries of every row, ascending, of equal ones the first: int64 [rows, min(k, n)]."""
    rows, n = absolute.shape
    if k >= n:
        return torch.arange(n, device=absolute.device).expand(rows, n).contiguous()
    values, at = absolute.topk(k, dim=1)
    bar = values[:, -1:]
    tied = ((absolute >= bar).sum(1) > k).nonzero()[:, 0]
    if len(tied):
        some, least = absolute[tied], bar[tied]
        above, equal = some > least, some == least
        room = k - above.sum(1, keepdim=True)
        at[tied] = (above | (equal & (equal.cumsum(1) <= room))).nonzero()[:, 1].reshape(len(tied), k)
    return at.sort(dim=1).values
