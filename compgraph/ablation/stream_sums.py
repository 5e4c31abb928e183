"""How the streams of a plan are summed from versions of nodes: which slots each adds, and what it starts from.

A stream is the baseline's plus the changes that it reads. Where these are few they are added one by one; where they are
nearly all that there are, the rest is taken away from the running total of the circuit; else neighbouring streams are
one product of a dense mask with a run of the buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
FEW = 0.25
"""Changes are added or taken away one by one where they are at most this share of all."""


def _none() -> Ints:
    return np.zeros(0, np.int64)


@dataclass
class Block:
    """Streams that read one run of the buffer, `own`, and single slots beside it, `others`."""

    rows: slice
    own: slice
    own_kept: Bools
    others: Ints
    others_kept: Bools


@dataclass
class StreamPlan:
    """The streams of a site.

    Attributes
    ----------
    n
        How many there are.
    first, slots
        Of the streams that are summed one by one, which come first: where their slots begin in `slots`.
    totals
        Of these, the running total that slots are taken away from; -1: they are added to the baseline stream.
    blocks
        The others.
    """

    n: int = 0
    first: Ints = field(default_factory=_none)
    slots: Ints = field(default_factory=_none)
    totals: Ints = field(default_factory=_none)
    blocks: list[Block] = field(default_factory=list)

    @property
    def gathered(self) -> int:
        """Slots that are copied at most at a time."""
        return max((len(block.others) for block in self.blocks), default=0)


class Draft:
    """Distinct streams, as identities of the versions that they read, while slots are not known yet.

    Parameters
    ----------
    totals
        Circuit -> number of its running total, filled when a stream needs one; None: all are summed one by one.
    """

    def __init__(self, totals: dict[int, int] | None) -> None:
        self.totals = totals
        self.numbers: dict[bytes, int] = {}
        self.read: list[Ints] = []
        self.total: list[int] = []
        self.dense: list[bool] = []

    def number(self, row: Ints, circuit: int, known: Ints) -> int:
        """Number of a stream, which gets one if it is new.

        Parameters
        ----------
        row
            Identities read from every node, -1 for none.
        known
            Of every node the identity that the circuit's running total holds by now, -1 for none.
        """
        read = row[row >= 0]
        key = read.tobytes()
        if key in self.numbers:
            return self.numbers[key]
        total, dense = -1, False
        if self.totals is not None:
            left = known[(known >= 0) & (row < 0)]
            dense = min(len(left), len(read)) > FEW * (len(left) + len(read))
            if not dense and len(left) < len(read):
                total = self.totals.setdefault(circuit, len(self.totals))
                read = left
        self.numbers[key] = len(self.read)
        self.read.append(read)
        self.total.append(total)
        self.dense.append(dense)
        return self.numbers[key]

    def plan(self, slot: Callable[[Ints], Ints], owner_of: Callable[[Ints], Ints]) -> tuple[StreamPlan, Ints]:
        """The plan, and the place of every stream in it."""
        dense = np.array(self.dense, bool)
        order = np.argsort(dense, kind="stable")
        single = [self.read[k] for k in order if not dense[k]]
        sizes = np.array([len(read) for read in single], np.int64)
        out = StreamPlan(
            len(self.read),
            np.cumsum(sizes) - sizes,
            slot(np.concatenate([_none(), *single])),
            np.array(self.total, np.int64)[~dense],
            _blocks([self.read[k] for k in order if dense[k]], len(single), slot, owner_of),
        )
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return out, place


def _blocks(
    streams: list[Ints], row: int, slot: Callable[[Ints], Ints], owner_of: Callable[[Ints], Ints]
) -> list[Block]:
    """Neighbouring streams of one owner together; the owner of a stream is that of the last version it reads."""
    blocks, first = [], 0
    while first < len(streams):
        owner, last = owner_of(streams[first].max()), first + 1
        while last < len(streams) and owner_of(streams[last].max()) == owner:
            last += 1
        ids = np.unique(np.concatenate(streams[first:last]))
        kept = np.zeros((last - first, len(ids)), bool)
        for one, read in zip(kept, streams[first:last], strict=True):
            one[np.searchsorted(ids, read)] = True
        # Of another owner's run a part may not be written yet: only slots that are read may be touched.
        slots, own = slot(ids), owner_of(ids) == owner
        run = slice(int(slots[own][0]), int(slots[own][-1]) + 1)
        own_kept = np.zeros((len(kept), run.stop - run.start), bool)
        own_kept[:, slots[own] - run.start] = kept[:, own]
        blocks.append(Block(slice(row + first, row + last), run, own_kept, slots[~own], kept[:, ~own]))
        first = last
    return blocks
