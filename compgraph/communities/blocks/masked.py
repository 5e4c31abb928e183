"""Blocks of the presence of edges, given where an architecture allows some and how many each node has.

Pair (u, v) has A_uv edges, Poisson with mean lambda_rs P_uv for u in block r and v in block s. P is what degrees and
the allowed pairs alone make of it (`expected_weights`), and lambda_rs ~ Exp(1). Integrated over lambda, with e_rs
and p_rs the sums of A and P between two blocks, the description is

    sum_rs [(e_rs + 1) ln(p_rs + 1) - ln e_rs!] - sum_uv A_uv ln P_uv + ln n + ln C(n-1, K-1) + ln(n! / prod_r n_r!)

nats long, of which the last three terms tell the partition. One block is the configuration model on the allowed
pairs: depth and degrees are in P, so that neither makes blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import gammaln

from compgraph.communities.agreement import Labels, canonical
from compgraph.communities.modularity import expected_weights
from compgraph.communities.pairs import Floats, Integers, Mask

TIE = 1e-9
"""Descriptions that differ by less (nats) are equally long."""


@dataclass(frozen=True)
class MaskedModel:
    """Edges and expectations of one directed graph.

    Attributes
    ----------
    edges
        A, float64 [n, n], 0 or 1 from row to column.
    expected
        P, float64 [n, n].
    kinds
        Nodes of different kinds are never in one block, int64 [n]; None where all may be.
    """

    edges: Floats
    expected: Floats
    kinds: Integers | None = None

    @classmethod
    def of(cls, source: Integers, target: Integers, allowed: Mask, kinds: Integers | None = None) -> MaskedModel:
        """The model of edges on allowed pairs, bool [n, n]."""
        edges = np.zeros(allowed.shape)
        edges[source, target] = 1.0
        return cls(edges, expected_weights(edges, allowed), kinds)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.edges)

    @cached_property
    def log_factorial(self) -> Floats:
        """ln k! for every number of edges, and as far as sums over blocks paired with themselves reach."""
        table: Floats = gammaln(np.arange(4 * int(self.edges.sum()) + 1) + 1.0)
        return table

    @cached_property
    def located(self) -> float:
        """- sum of A ln P: the part of the description that no partition changes."""
        at = self.edges > 0
        return float(-np.log(self.expected[at]).sum())

    def cells(self, edges: Floats, expected: Floats) -> Floats:
        """(e + 1) ln(p + 1) - ln e! of pairs of blocks."""
        told: Floats = (edges + 1) * np.log1p(expected) - self.log_factorial[np.rint(edges).astype(np.int64)]
        return told

    def counts(self, labels: Labels) -> tuple[Floats, Floats]:
        """Edges and expected edges between blocks, each float64 [K, K]."""
        member = np.eye(int(labels.max(initial=0)) + 1)[labels]
        return member.T @ self.edges @ member, member.T @ self.expected @ member

    def parts(self, labels: Labels) -> dict[str, float]:
        """The description length by what is told, nats: the `partition`, and the `edges` given it."""
        found = canonical(labels)
        return {
            "partition": _partition(np.bincount(found)),
            "edges": float(self.cells(*self.counts(found)).sum()) + self.located,
        }

    def length(self, labels: Labels) -> float:
        """The description length, nats."""
        return sum(self.parts(labels).values())

    def rates(self, labels: Labels) -> Floats:
        """Posterior mean of lambda_rs between the blocks of every pair of nodes, float64 [n, n]."""
        edges, expected = self.counts(canonical(labels))
        found: Floats = ((edges + 1) / (expected + 1))[np.ix_(canonical(labels), canonical(labels))]
        return found


class MaskedState:
    """A partition of the nodes that changes by moves of single nodes and merges of blocks.

    Parameters
    ----------
    model
        What is described.
    labels
        The partition to start from; no block may mix kinds.
    """

    def __init__(self, model: MaskedModel, labels: Labels) -> None:
        self.model = model
        self.labels = canonical(labels)
        self._sizes = np.bincount(self.labels)
        self._sums = np.stack(model.counts(self.labels))  # edges and expected edges between blocks, [2, K, K]

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self._sizes)

    def sweep(self, rng: np.random.Generator, beta: float = 1.0, fixed: bool = False) -> tuple[int, float]:
        """Give every node, in random order, a block drawn with weight exp(-beta * nats) (heat bath).

        Parameters
        ----------
        rng
            Of the order and the draws.
        beta
            Inverse temperature; infinite for the shortest description.
        fixed
            Keep the number of blocks.

        Returns
        -------
        moved
            Number of nodes that changed their block.
        change
            Nats by which the description got longer.
        """
        moved, change = 0, 0.0
        for node in rng.permutation(self.model.n_nodes):
            here = int(self.labels[node])
            if fixed and self._sizes[here] == 1:
                continue
            out, into = self._profile(int(node))
            nats = self._with_node(int(node), out, into, fixed)
            if np.isinf(beta):
                there = here if nats[here] <= nats.min() + TIE else int(nats.argmin())
            else:
                weight = np.exp(-beta * (nats - nats.min())).cumsum()
                there = int(np.searchsorted(weight, rng.random() * weight[-1], side="right"))
            if there != here:
                moved += 1
                change += float(nats[there] - nats[here])
                self._move(int(node), there, out, into)
        return moved, change

    def choose(
        self, node: int, blocks: tuple[int, int], rng: np.random.Generator, wanted: int | None = None
    ) -> float:
        """Give a node one of two blocks, drawn with weight exp(-nats), or that which is wanted.

        Parameters
        ----------
        node
            In one of the two, and not alone.
        blocks
            Their numbers.
        rng
            Of the draw.
        wanted
            0 or 1: the block to be given; None: it is drawn.

        Returns
        -------
        Logarithm of the probability of the block that was given.
        """
        out, into = self._profile(node)
        gap = self._gap(node, blocks, out, into)
        # ln of 1 / (1 + exp(-gap)) and of 1 / (1 + exp(gap)).
        log_chance = -float(np.logaddexp(0, -gap)), -float(np.logaddexp(0, gap))
        at = int(math.log(rng.random()) >= log_chance[0]) if wanted is None else wanted
        if blocks[at] != self.labels[node]:
            self._move(node, blocks[at], out, into)
        return log_chance[at]

    def alike(self, first: int, second: int) -> bool:
        """Whether two nodes may be in one block."""
        kinds = self.model.kinds
        return kinds is None or bool(kinds[first] == kinds[second])

    def copy(self) -> MaskedState:
        """The same partition, to be changed apart from this one."""
        made = MaskedState.__new__(MaskedState)
        made.model, made.labels = self.model, self.labels.copy()
        made._sizes, made._sums = self._sizes.copy(), self._sums.copy()
        return made

    def join(self, first: int, second: int) -> None:
        """Merge two blocks."""
        self._merge(first, second)

    def split_off(self, nodes: Integers) -> int:
        """Move some nodes of a block, not all, to a new one; its number."""
        new = self.n_blocks
        for node in nodes:
            self._move(int(node), new, *self._profile(int(node)))
        return new

    @property
    def length(self) -> float:
        """Description length, nats, from the sums that moves have kept."""
        return float(self.model.cells(*self._sums).sum()) + self.model.located + _partition(self._sizes)

    def merge(self) -> float:
        """Merge blocks as long as that makes the description shorter; nats by which it got longer (at most 0)."""
        change = 0.0
        while self.n_blocks > 1:
            nats = self._merges()
            first, second = np.unravel_index(int(nats.argmin()), nats.shape)
            if nats[first, second] >= -TIE:
                break
            change += float(nats[first, second])
            self._merge(int(first), int(second))
        return change

    def _profile(self, node: int) -> tuple[Floats, Floats]:
        """Edges and expected edges of a node to each block, and from each, float64 [2, K] each."""
        rows = self.model.edges[node], self.model.expected[node]
        columns = self.model.edges[:, node], self.model.expected[:, node]
        return self._by_block(rows), self._by_block(columns)

    def _by_block(self, values: tuple[Floats, Floats]) -> Floats:
        sums = [np.bincount(self.labels, weights=one, minlength=self.n_blocks) for one in values]
        return np.stack(sums).astype(np.float64)

    def _with_node(self, node: int, out: Floats, into: Floats, fixed: bool) -> Floats:
        """Length of the description with the node in each block and in a new one, up to a constant, float64 [K + 1]."""
        cells, k, here = self.model.cells, self.n_blocks, int(self.labels[node])
        rest = np.zeros((2, k + 1, k + 1))
        rest[:, :k, :k] = self._without(here, out, into)
        out, into = _longer(out), _longer(into)
        before = cells(*rest)
        rows = cells(*(rest + out[:, None, :])) - before
        columns = cells(*(rest + into[:, :, None])) - before
        diagonal = cells(*(rest.diagonal(axis1=1, axis2=2) + out + into)) - before.diagonal()
        nats: Floats = rows.sum(axis=1) + columns.sum(axis=0) - rows.diagonal() - columns.diagonal() + diagonal
        sizes = np.append(self._sizes, 0)
        sizes[here] -= 1
        nats += self._with_one_more(sizes)
        nats[~self._open(node, sizes, fixed)] = np.inf
        return nats

    def _without(self, here: int, out: Floats, into: Floats) -> Floats:
        """Edges and expected edges between blocks without a node of one of them, float64 [2, K, K]."""
        rest = self._sums.copy()
        rest[:, here] -= out
        rest[:, :, here] -= into
        np.maximum(rest, 0, out=rest)  # rounding of the expectations
        return rest

    def _gap(self, node: int, blocks: tuple[int, int], out: Floats, into: Floats) -> float:
        """Nats by which the description is longer with the node in the second block than in the first."""
        here = int(self.labels[node])
        rest = self._without(here, out, into)
        both = np.stack([rest, rest], axis=1)
        for k, block in enumerate(blocks):
            both[:, k, block] += out
            both[:, k, :, block] += into
        nats = self.model.cells(*both).sum(axis=(1, 2))
        first, second = (int(self._sizes[block]) - (block == here) for block in blocks)
        return float(nats[1] - nats[0]) + math.log((first + 1) / (second + 1))

    def _with_one_more(self, sizes: Integers) -> Floats:
        """What the partition costs with one more node in each block, up to a constant."""
        n, blocks = self.model.n_nodes, int((sizes > 0).sum()) + (sizes == 0)
        told: Floats = gammaln(n) - gammaln(blocks) - gammaln(n - blocks + 1) - np.log(sizes + 1)
        return told

    def _open(self, node: int, sizes: Integers, fixed: bool) -> Mask:
        """Blocks that the node may be in; of empty ones only one, its own where it was alone."""
        open_to = sizes > 0
        here = int(self.labels[node])
        if sizes[here] == 0:
            open_to[here] = True
        elif not fixed:
            open_to[-1] = True
        if self.model.kinds is not None:
            kind = np.full(len(sizes), self.model.kinds[node])
            kind[self.labels] = self.model.kinds
            open_to &= kind == self.model.kinds[node]
        return open_to

    def _move(self, node: int, there: int, out: Floats, into: Floats) -> None:
        here = int(self.labels[node])
        if there == self.n_blocks:
            self._sums = np.pad(self._sums, ((0, 0), (0, 1), (0, 1)))
            self._sizes = np.append(self._sizes, 0)
            out, into = _longer(out), _longer(into)
        for block, sign in ((here, -1), (there, 1)):
            self._sums[:, block] += sign * out
            self._sums[:, :, block] += sign * into
            self._sizes[block] += sign
        np.maximum(self._sums, 0, out=self._sums)
        self.labels[node] = there
        if self._sizes[here] == 0:
            self._drop(here)

    def _drop(self, block: int) -> None:
        """Take an empty block away; those above it move down by one."""
        self._sums = np.delete(np.delete(self._sums, block, 1), block, 2)
        self._sizes = np.delete(self._sizes, block)
        self.labels[self.labels > block] -= 1

    def _merges(self) -> Floats:
        """Nats by which the description gets longer if two blocks are merged, float64 [K, K]; infinite on and below
        the diagonal, and for blocks of different kinds.
        """
        cells, sums, k = self.model.cells, self._sums, self.n_blocks
        turned = sums.transpose(0, 2, 1)
        told, at = cells(*sums), np.arange(k)
        nats = np.zeros((k, k))
        for view in (sums, turned):
            own = cells(*view)
            both = cells(*(view[:, :, None, :] + view[:, None, :, :])) - own[:, None] - own[None]
            both[at, :, at] = both[:, at, at] = 0  # cells between the two blocks themselves are counted below
            nats += both.sum(axis=2)
        inside = sums.diagonal(axis1=1, axis2=2)
        within = cells(*(inside[:, :, None] + inside[:, None, :] + sums + turned))
        nats += within - told.diagonal()[:, None] - told.diagonal()[None] - told - told.T
        n, sizes = self.model.n_nodes, self._sizes
        nats += gammaln(sizes + 1)[:, None] + gammaln(sizes + 1)[None] - gammaln(sizes[:, None] + sizes[None] + 1)
        nats += _number_of_blocks(n, k - 1) - _number_of_blocks(n, k)
        nats[np.tril_indices(k)] = np.inf
        if self.model.kinds is not None:
            kind = np.zeros(k, np.int64)
            kind[self.labels] = self.model.kinds
            nats[kind[:, None] != kind] = np.inf
        return nats

    def _merge(self, first: int, second: int) -> None:
        for axis in (1, 2):
            view = np.moveaxis(self._sums, axis, 0)
            view[first] += view[second]
            view[second] = 0
        self._sizes[first] += self._sizes[second]
        self._sizes[second] = 0
        self.labels[self.labels == second] = first
        self._drop(second)


def _longer(profile: Floats) -> Floats:
    """Sums by block with a new, empty block."""
    longer = np.zeros((len(profile), profile.shape[1] + 1))
    longer[:, :-1] = profile
    return longer


def _partition(sizes: Integers) -> float:
    """ln n + ln C(n-1, K-1) + ln(n! / prod of n_r!)."""
    n = int(sizes.sum())
    ways = float(gammaln(n + 1) - gammaln(sizes + 1).sum())
    return (math.log(n) if n else 0.0) + _number_of_blocks(n, len(sizes)) + ways


def _number_of_blocks(n: int, k: int) -> float:
    """ln C(n-1, k-1)."""
    return float(gammaln(n) - gammaln(k) - gammaln(n - k + 1)) if n else 0.0
