"""What has to be computed to run some circuits of a transformer: worked out once, before any data.

A *version* is the change of one node's write against the baseline run, in one or more circuits. A node has the same
version in two circuits if it reads the same versions of the same sources in both; so whatever circuits share, down to
single nodes, is computed once (a prefix that nested circuits have in common, the inside of circuits that differ in one
edge). A node that no kept path leads on to the logits is not computed, nor, where the baseline run is a run of the
network, one that reads nothing changed.

Versions lie in one buffer, those of a circuit next to each other in the order of sites, so that the streams of a
site's destinations are one product of kept edges with a run of the buffer.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from compgraph.patterns import pattern_of

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Tables = dict[str, Bools]
"""Destination site -> kept edges of one circuit, bool [channels, parts, nodes]."""
OWNER = 1 << 32
"""An identity is owner · OWNER + number among the owner's versions; owner 0 holds the token embedding."""
SPARE = 1.25
"""Unread versions that a product may pass over, as a multiple of those read, before they are gathered instead."""


@dataclass(frozen=True)
class Shape:
    """A site as the plan needs it: `kind` is `heads` (parts of whole heads), `mlp` or `whole` (computed for all parts
    at once); `tied`: a post-norm makes the writes of all parts depend on each other; `narrow`: read at the scored
    positions only."""

    name: str
    kind: str
    nodes: slice
    tied: bool = False
    narrow: bool = False


@dataclass
class Block:
    """Streams that read one run of the buffer, `own`, and single slots beside it, `others`."""

    rows: slice
    own: slice
    own_kept: Bools
    others: Ints
    others_kept: Bools


@dataclass
class SitePlan:
    """What one site computes.

    Attributes
    ----------
    full, narrow
        Streams at all positions, and at the scored ones only.
    parts, streams
        Of every group, that is every distinct computation of one part: its part, and per channel the number of its
        stream ([channels, groups]; -1: the baseline stream). Queries of a narrow site count among `narrow`.
    states
        [states, parts] groups of all parts (-1: baseline), where the site is tied.
    whole
        For sites computed whole, per state: kept edges per (pattern) site, bool [channels, parts, slots], and slots.
    active
        For these, per state: parts that change, bool [parts].
    through
        For these, per state: kept edges from patterns to parts, bool [parts, heads].
    of, part, slots
        Of every version: group or state, part, slot.
    """

    shape: Shape
    full: list[Block] = field(default_factory=list)
    narrow: list[Block] = field(default_factory=list)
    parts: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    streams: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    states: Ints | None = None
    whole: list[dict[str, tuple[Bools, Ints]]] = field(default_factory=list)
    active: list[Bools] = field(default_factory=list)
    through: list[Bools] = field(default_factory=list)
    of: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    part: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    slots: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def n_streams(self) -> tuple[int, int]:
        """How many there are at all and at scored positions."""
        full, narrow = (sum(b.rows.stop - b.rows.start for b in blocks) for blocks in (self.full, self.narrow))
        return full, narrow


@dataclass
class Plan:
    """What some circuits compute; `result[c]` is the stream of `logits` that circuit c ends in (-1: baseline)."""

    sites: list[SitePlan]
    logits: list[Block]
    result: Ints
    n_slots: int


class Planner:
    """Makes the plan of some circuits.

    Parameters
    ----------
    sites
        Attention and MLP sites in order, then `logits`.
    n_nodes
        Of the whole graph, patterns included.
    n_embed
        Parts of the token embedding, the first nodes; they change in every circuit.
    patterns
        Site -> nodes of its patterns, where these are nodes.
    consistent
        Whether nodes that read nothing changed hold their baseline value.
    """

    def __init__(
        self, sites: Sequence[Shape], n_nodes: int, n_embed: int, patterns: dict[str, slice], consistent: bool
    ) -> None:
        self.shapes, self.n_nodes, self.n_embed = list(sites), n_nodes, n_embed
        self.patterns, self.consistent = patterns, consistent

    def plan(self, kept: Sequence[Tables]) -> Plan:
        """The plan of circuits with these kept edges."""
        self.kept = kept
        self.needed = np.stack([self._needed(one) for one in kept])
        self.version = np.full((len(kept), self.n_nodes), -1, np.int64)
        self.version[:, : self.n_embed] = np.arange(self.n_embed)
        self.count = np.zeros(1 + len(kept), np.int64)
        self.count[0] = self.n_embed
        drafts = [self._site(shape) for shape in self.shapes[:-1]]
        rows, result = self._streams([self._rows(c, self.shapes[-1].name)[0] for c in range(len(kept))])
        self.start = np.concatenate([[0], np.cumsum(self.count)])
        sites = [self._finish(*draft) for draft in drafts]
        return Plan(sites, self._blocks(rows), result, int(self.start[-1]))

    # ------------------------------------------------------------ which nodes matter

    def _needed(self, kept: Tables) -> Bools:
        """Nodes with a kept path to the logits."""
        sites = [(shape.name, shape.nodes, shape.tied) for shape in self.shapes]
        return needed_nodes(kept, sites, self.patterns, self.n_nodes)

    def _rows(self, circuit: int, site: str) -> Ints:
        """Versions that each destination reads, int64 [channels, parts, nodes], -1 for none."""
        return np.where(self.kept[circuit][site], self.version[circuit], -1)

    # ------------------------------------------------------------ sites

    def _site(self, shape: Shape) -> tuple[SitePlan, list[Ints], list[Ints], Ints]:
        """A site's draft: plan, streams at all and at scored positions as versions read, identities of versions."""
        out = SitePlan(shape)
        full: list[Ints] = []
        narrow: list[Ints] = []
        if shape.kind == "whole":
            chosen = self._whole(shape, out)
        else:
            chosen = self._groups(shape, out, full, narrow)
        seen: dict[tuple[int, int], int] = {}
        of, part, ids = [], [], []
        for circuit, found in enumerate(chosen):
            for p, key in found:
                if (p, key) not in seen:
                    seen[p, key] = (circuit + 1) * OWNER + int(self.count[circuit + 1])
                    self.count[circuit + 1] += 1
                    of.append(key)
                    part.append(p)
                    ids.append(seen[p, key])
                self.version[circuit, shape.nodes.start + p] = seen[p, key]
        out.of, out.part = np.array(of, np.int64), np.array(part, np.int64)
        return out, full, narrow, np.array(ids, np.int64)

    def _groups(self, shape: Shape, out: SitePlan, full: list[Ints], narrow: list[Ints]) -> list[list[tuple[int, int]]]:
        """Fill in groups, streams and states; per circuit the (part, group or state) of its versions."""
        numbers: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
        groups: dict[Hashable, int] = {}
        states: dict[bytes, int] = {}
        found = []
        for circuit in range(len(self.kept)):
            rows, needed = self._rows(circuit, shape.name), self.needed[circuit, shape.nodes]
            moved = (rows >= 0).any((0, 2)) | (not self.consistent)
            if shape.tied:
                moved = np.full_like(moved, moved.any() and needed.any())
            else:
                moved &= needed
            own = np.full(len(moved), -1, np.int64)
            streams = np.full(rows.shape[:2], -1, np.int64)
            for channel in range(len(rows)):
                late = shape.narrow and (shape.kind == "mlp" or channel == 0)
                for p in np.flatnonzero(moved & (rows[channel] >= 0).any(-1)):
                    streams[channel, p] = _number(rows[channel, p], numbers[late], narrow if late else full)
            for p in np.flatnonzero(moved):
                own[p] = groups.setdefault((int(p), *streams[:, p].tolist()), len(groups))
            if shape.tied and moved.any():
                state = states.setdefault(own.tobytes(), len(states))
                found.append([(int(p), state) for p in np.flatnonzero(needed)])
            else:
                found.append([(int(p), int(own[p])) for p in np.flatnonzero(moved)])
        table = np.array(list(groups), np.int64).reshape(len(groups), 1 + len(self.kept[0][shape.name]))
        out.parts, out.streams = table[:, 0] if len(groups) else out.parts, table[:, 1:].T
        if shape.tied:
            n_parts = shape.nodes.stop - shape.nodes.start
            out.states = np.array([np.frombuffer(key, np.int64) for key in states]).reshape(len(states), n_parts)
        return found

    def _whole(self, shape: Shape, out: SitePlan) -> list[list[tuple[int, int]]]:
        """The same for a site that is computed whole: a state is everything that its parts and patterns read."""
        sites = [shape.name, *([pattern_of(shape.name)] if shape.name in self.patterns else [])]
        states: dict[bytes, int] = {}
        found: list[list[tuple[int, int]]] = []
        for circuit in range(len(self.kept)):
            rows = {site: self._rows(circuit, site) for site in sites}
            needed, active = self.needed[circuit, shape.nodes], self._active(circuit, shape, rows)
            chosen = (needed & active.any()) if shape.tied else (needed & active)
            if not chosen.any():
                found.append([])
                continue
            key = b"".join([self._own(circuit, shape).tobytes(), *(r.tobytes() for r in rows.values())])
            state = states.setdefault(key, len(states))
            if state == len(out.active):
                out.active.append(active)
                out.through.append(self._own(circuit, shape).any(0))
                out.whole.append({site: _dense(r) for site, r in rows.items()})
            found.append([(int(p), state) for p in np.flatnonzero(chosen)])
        return found

    def _own(self, circuit: int, shape: Shape) -> Bools:
        """Kept edges from a site's patterns to its parts."""
        patterns = self.patterns.get(shape.name, slice(0, 0))
        return self.kept[circuit][shape.name][:, :, patterns]

    def _active(self, circuit: int, shape: Shape, rows: dict[str, Ints]) -> Bools:
        """Parts that may change."""
        if not self.consistent:
            return np.ones(shape.nodes.stop - shape.nodes.start, bool)
        active: Bools = (rows[shape.name] >= 0).any((0, 2))
        if shape.name in self.patterns:
            moved = (rows[pattern_of(shape.name)] >= 0).any((0, 2))
            active |= (self._own(circuit, shape) & moved).any((0, 2))
        return active

    # ------------------------------------------------------------ from identities to slots

    @staticmethod
    def _streams(rows: Sequence[Ints]) -> tuple[list[Ints], Ints]:
        """Distinct streams among those of the circuits' logits, and which is whose."""
        out: list[Ints] = []
        numbers: dict[bytes, int] = {}
        return out, np.array([_number(r[0], numbers, out) if (r >= 0).any() else -1 for r in rows], np.int64)

    def _finish(self, out: SitePlan, full: list[Ints], narrow: list[Ints], ids: Ints) -> SitePlan:
        out.full, out.narrow = self._blocks(full), self._blocks(narrow)
        out.slots = self._slot(ids)
        out.whole = [{s: (kept, self._slot(which)) for s, (kept, which) in one.items()} for one in out.whole]
        return out

    def _slot(self, ids: Ints) -> Ints:
        return self.start[ids // OWNER] + ids % OWNER

    def _blocks(self, streams: Sequence[Ints]) -> list[Block]:
        """Neighbouring streams of one owner together; the owner of a stream is that of the last version it reads."""
        blocks, first = [], 0
        while first < len(streams):
            owner, last = streams[first].max() // OWNER, first + 1
            while last < len(streams) and streams[last].max() // OWNER == owner:
                last += 1
            blocks.append(self._block(slice(first, last), streams[first:last], int(owner)))
            first = last
        return blocks

    def _block(self, rows: slice, streams: Sequence[Ints], owner: int) -> Block:
        ids = np.unique(np.concatenate(streams))
        kept = np.zeros((len(streams), len(ids)), bool)
        for row, read in zip(kept, streams, strict=True):
            row[np.searchsorted(ids, read)] = True
        slots, own = self._slot(ids), ids // OWNER == owner
        if slots[-1] + 1 - slots[0] <= SPARE * len(slots):
            own[:] = True
        run = slice(int(slots[own][0]), int(slots[own][-1]) + 1)
        own_kept = np.zeros((len(kept), run.stop - run.start), bool)
        own_kept[:, slots[own] - run.start] = kept[:, own]
        return Block(rows, run, own_kept, slots[~own], kept[:, ~own])


def _number(row: Ints, numbers: dict[bytes, int], rows: list[Ints]) -> int:
    """Number of a stream, which gets one if it is new."""
    read = row[row >= 0]
    key = read.tobytes()
    if key not in numbers:
        numbers[key] = len(rows)
        rows.append(read)
    return numbers[key]


def _dense(rows: Ints) -> tuple[Bools, Ints]:
    """Versions read [channels, parts, nodes] -> kept [channels, parts, versions], and the versions in order."""
    ids = np.unique(rows[rows >= 0])
    kept = np.zeros((*rows.shape[:2], len(ids)), bool)
    where = np.nonzero(rows >= 0)
    kept[where[0], where[1], np.searchsorted(ids, rows[where])] = True
    return kept, ids


def needed_nodes(
    kept: Tables, sites: Sequence[tuple[str, slice, bool]], patterns: dict[str, slice], n_nodes: int
) -> Bools:
    """Nodes with a kept path to the logits, bool [n_nodes].

    Parameters
    ----------
    sites
        (name, nodes, tied) of attention and MLP sites in order, then of `logits`.
    patterns
        Site -> nodes of its patterns, where these are nodes.
    """
    needed = np.zeros(n_nodes, bool)
    needed[sites[-1][1]] = True
    for name, nodes, tied in reversed(sites):
        own = needed[nodes]
        computed = np.full_like(own, own.any()) if tied else own
        needed |= kept[name][:, computed].any((0, 1))
        if name in patterns:
            needed |= kept[pattern_of(name)][:, needed[patterns[name]]].any((0, 1))
    return needed
