"""What has to be computed to run some circuits of a transformer: worked out once, before any data.

A *version* is the change of one node's write against the baseline run, in one or more circuits. A node has the same
version in two circuits if it reads the same versions of the same sources in both; so whatever circuits share, down to
single nodes, is computed once (a prefix that nested circuits have in common, the inside of circuits that differ in one
edge). A node that no kept path leads on to the logits is not computed, nor, where the baseline run is a run of the
network, one that reads nothing changed.

A version is made at all positions, or at the scored ones alone where nothing reads more of it: in the circuits that
have it, all kept paths from it to the logits pass through MLPs and queries only. Those made at all positions lie in one
buffer, those of a circuit next to each other in the order of sites; a second buffer holds the scored positions of all.
How streams are summed from versions is `compgraph.ablation.stream_sums`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compgraph.ablation.stream_sums import Bools as Bools
from compgraph.ablation.stream_sums import Draft, StreamPlan
from compgraph.ablation.stream_sums import Ints as Ints
from compgraph.patterns import pattern_of

Tables = dict[str, Bools]
"""Destination site -> kept edges of one circuit, bool [channels, parts, nodes]."""
OWNER = 1 << 32
"""An identity is owner · OWNER + number among the owner's versions; owner 0 holds the token embedding, 1 … n the
versions of the n circuits, n + 1 … 2 n those of them that are made at scored positions alone."""


@dataclass(frozen=True)
class Shape:
    """A site as the plan needs it: `kind` is `heads` (parts of whole heads), `mlp` or `whole` (computed for all parts
    at once); `tied`: a post-norm makes the writes of all parts depend on each other; `narrow`: computed at the scored
    positions only (set by the planner)."""

    name: str
    kind: str
    nodes: slice
    tied: bool = False
    narrow: bool = False

    def late(self, channel: int) -> bool:
        """Whether what a channel reads is wanted at the scored positions only: an MLP's input, queries."""
        return self.narrow and (self.kind == "mlp" or channel == 0)


@dataclass
class SitePlan:
    """What one site computes at all, or at the scored positions.

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
    added
        Running total -> slots of versions that it takes up when the site is done.
    """

    shape: Shape
    full: StreamPlan = field(default_factory=StreamPlan)
    narrow: StreamPlan = field(default_factory=StreamPlan)
    parts: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    streams: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    states: Ints | None = None
    whole: list[dict[str, tuple[Bools, Ints]]] = field(default_factory=list)
    active: list[Bools] = field(default_factory=list)
    through: list[Bools] = field(default_factory=list)
    of: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    part: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    slots: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    added: list[tuple[int, Ints]] = field(default_factory=list)


@dataclass
class Plan:
    """What some circuits compute.

    Attributes
    ----------
    sites
        In order; a site may occur twice, first for all positions, then for the scored ones.
    logits, result
        Streams of `logits` at the scored positions; `result[c]` is the one that circuit c ends in (-1: baseline).
    n_full, n_slots
        Versions made at all positions, and all of them, those at scored positions alone behind the others.
    n_totals
        Running totals of the versions of a circuit, which begin with all parts of the token embedding.
    """

    sites: list[SitePlan]
    logits: StreamPlan
    result: Ints
    n_full: int
    n_slots: int
    n_totals: int


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
        self.wide = np.stack([self._wide(c) for c in range(len(kept))])
        self.version = np.full((len(kept), self.n_nodes), -1, np.int64)
        self.version[:, : self.n_embed] = np.arange(self.n_embed)
        self.count = np.zeros(1 + 2 * len(kept), np.int64)
        self.count[0] = self.n_embed
        self.totals: dict[int, int] = {}
        drafts = [draft for shape in self.shapes[:-1] for draft in self._site(shape)]
        logits = Draft(None)
        found = [self._rows(c, self.shapes[-1].name)[0, 0] for c in range(len(kept))]
        result = np.array([logits.number(row, 0, row) if (row >= 0).any() else -1 for row in found], np.int64)
        self.start = np.concatenate([[0], np.cumsum(self.count)])
        sites = [self._finish(*draft) for draft in drafts]
        n_full, n_slots = int(self.start[1 + len(kept)]), int(self.start[-1])
        return Plan(sites, logits.plan(self._slot, _owner)[0], result, n_full, n_slots, len(self.totals))

    # ------------------------------------------------------------ which nodes matter

    def _needed(self, kept: Tables) -> Bools:
        """Nodes with a kept path to the logits."""
        sites = [(shape.name, shape.nodes, shape.tied) for shape in self.shapes]
        return needed_nodes(kept, sites, self.patterns, self.n_nodes)

    def _wide(self, circuit: int) -> Bools:
        """Nodes that are needed at more than the scored positions."""
        kept, needed, wide = self.kept[circuit], self.needed[circuit], np.zeros(self.n_nodes, bool)
        for shape in reversed(self.shapes[:-1]):
            own, far, rows = needed[shape.nodes], wide[shape.nodes], kept[shape.name]
            if shape.kind == "whole":
                far = np.full_like(own, own.any())
            if shape.tied:
                own, far = np.full_like(own, own.any()), np.full_like(far, far.any())
            wide |= rows[:, far].any((0, 1))
            if shape.kind == "heads":  # keys and values are read at all positions by any query
                wide |= rows[1:, own].any((0, 1))
            if shape.name in self.patterns:
                wide |= kept[pattern_of(shape.name)].any((0, 1))
        return wide

    def _rows(self, circuit: int, site: str) -> Ints:
        """Versions that each destination reads, int64 [channels, parts, nodes], -1 for none."""
        return np.where(self.kept[circuit][site], self.version[circuit], -1)

    # ------------------------------------------------------------ sites

    def _site(self, shape: Shape) -> list[tuple[SitePlan, Draft, Draft, Ints]]:
        """A site's drafts: plan, streams at all and at scored positions, identities of versions."""
        if shape.kind == "whole":
            out = SitePlan(shape)
            return [self._versions(out, Draft(None), Draft(None), self._whole(shape, out))]
        found = [self._reads(circuit, shape) for circuit in range(len(self.kept))]
        far: set[Hashable] = set()
        for circuit, reads in enumerate(found):
            wide = self.wide[circuit, shape.nodes]
            far |= {state for p, (_, state) in reads.items() if wide.any() if shape.tied or wide[p]}
        drafts = []
        for narrow in (False, True):
            chosen = [{p: read for p, read in reads.items() if (read[1] in far) != narrow} for reads in found]
            if any(chosen):
                drafts.append(self._groups(replace(shape, narrow=narrow), chosen))
        return drafts

    def _reads(self, circuit: int, shape: Shape) -> dict[int, tuple[Ints, Hashable]]:
        """What changing parts of a circuit read [channels, nodes], and a name of all that decides their writes."""
        rows, needed = self._rows(circuit, shape.name), self.needed[circuit, shape.nodes]
        moved = (rows >= 0).any((0, 2)) | (not self.consistent)
        if shape.tied:
            moved = np.full_like(moved, moved.any() and needed.any())
            state = rows.tobytes()
            return {int(p): (rows[:, p], state) for p in np.flatnonzero(moved)}
        return {int(p): (rows[:, p], (int(p), rows[:, p].tobytes())) for p in np.flatnonzero(moved & needed)}

    def _groups(
        self, shape: Shape, reads: Sequence[dict[int, tuple[Ints, Hashable]]]
    ) -> tuple[SitePlan, Draft, Draft, Ints]:
        """A draft of the parts that are computed at the same positions."""
        out, full, late = SitePlan(shape), Draft(self.totals), Draft(None)
        groups: dict[Hashable, int] = {}
        states: dict[bytes, int] = {}
        n_parts = shape.nodes.stop - shape.nodes.start
        chosen: list[list[tuple[int, int]]] = []
        for circuit, found in enumerate(reads):
            known = self._at_all_positions(self.version[circuit])
            own = np.full(n_parts, -1, np.int64)
            streams: list[list[int]] = [[p] for p in found]
            for channel in range(len(self.kept[0][shape.name])):  # so that a channel's streams follow each other
                draft = late if shape.late(channel) else full
                for read, (rows, _) in zip(streams, found.values(), strict=True):
                    row = rows[channel]
                    read.append(draft.number(row, circuit, known) if (row >= 0).any() else -1)
            for p, read in zip(found, streams, strict=True):
                own[p] = groups.setdefault(tuple(read), len(groups))
            if shape.tied and found:
                state = states.setdefault(own.tobytes(), len(states))
                chosen.append([(int(p), state) for p in np.flatnonzero(self.needed[circuit, shape.nodes])])
            else:
                chosen.append([(p, int(own[p])) for p in found])
        table = np.array(list(groups), np.int64).reshape(len(groups), 1 + len(self.kept[0][shape.name]))
        out.parts, out.streams = table[:, 0], table[:, 1:].T.copy()
        if shape.tied:
            out.states = np.array([np.frombuffer(key, np.int64) for key in states]).reshape(len(states), n_parts)
        return self._versions(out, full, late, chosen)

    def _at_all_positions(self, ids: Ints) -> Ints:
        """Identities of versions, -1 for those that are made at scored positions alone."""
        return np.where(ids < (1 + len(self.kept)) * OWNER, ids, -1)

    def _versions(
        self, out: SitePlan, full: Draft, late: Draft, chosen: Sequence[Sequence[tuple[int, int]]]
    ) -> tuple[SitePlan, Draft, Draft, Ints]:
        """Give the (part, group or state) of every circuit's versions their identities."""
        shape, seen = out.shape, dict[tuple[int, int], int]()
        of, part, ids = [], [], []
        for circuit, found in enumerate(chosen):
            owner = 1 + circuit + len(self.kept) * shape.narrow
            for p, key in found:
                if (p, key) not in seen:
                    seen[p, key] = owner * OWNER + int(self.count[owner])
                    self.count[owner] += 1
                    of.append(key)
                    part.append(p)
                    ids.append(seen[p, key])
                self.version[circuit, shape.nodes.start + p] = seen[p, key]
            if not shape.narrow:
                out.added.append((circuit, self._at_all_positions(self.version[circuit, shape.nodes])))
        out.of, out.part = np.array(of, np.int64), np.array(part, np.int64)
        return out, full, late, np.array(ids, np.int64)

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

    def _finish(self, out: SitePlan, full: Draft, late: Draft, ids: Ints) -> SitePlan:
        out.full, place = full.plan(self._slot, _owner)
        out.narrow, _ = late.plan(self._slot, _owner)
        for channel, streams in enumerate(out.streams):
            if not out.shape.late(channel) and len(place):
                out.streams[channel] = np.where(streams >= 0, place[streams], -1)
        out.slots = self._slot(ids)
        out.whole = [{s: (kept, self._slot(which)) for s, (kept, which) in one.items()} for one in out.whole]
        out.added = [
            (self.totals[c], self._slot(new[new >= 0])) for c, new in out.added if c in self.totals and (new >= 0).any()
        ]
        return out

    def _slot(self, ids: Ints) -> Ints:
        return self.start[ids // OWNER] + ids % OWNER


def _owner(ids: Ints) -> Ints:
    return ids // OWNER


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
