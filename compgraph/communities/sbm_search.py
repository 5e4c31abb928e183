"""Search for the partition of shortest description, with graph-tool as the judge.

On graphs where most pairs have an edge graph-tool's proposals are blind: left alone it returns one block where
three are hundreds of nats shorter. So searches start from informed partitions, and "one block" means that
none of them led to anything better. graph-tool's agglomeration (`multilevel_mcmc_sweep`, and all that
`minimize_*_dl` do) is not used at all: on such graphs it sometimes does not return, in compiled code that
cannot be interrupted. What is used is sweeps in bounded numbers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import canonical, n_parts
from compgraph.communities.pairs import Floats, Integers
from compgraph.errors import MissingDependency

Labels = npt.NDArray[np.int32]

NO_TOPOLOGY = {"adjacency": False, "degree_dl": False, "edges_dl": False}
"""Terms of the description length that are about which edges exist."""

LARGE = 10_000
"""Graphs with more nodes are searched from one spectral start alone, in few sweeps."""

LARGE_VECTORS, LARGE_BLOCKS = 32, (30, 100, 300)

SAME = 1e-6
"""Descriptions that differ by less (nats) are equally long."""

INSTALL = (
    "stochastic block models need graph-tool, which is not installed (it is not on the Python package index): "
    "`apt install python3-graph-tool` on Debian, for the system's Python, or "
    "`conda install -c conda-forge graph-tool`"
)


@dataclass(frozen=True)
class Fit:
    """One partition and the length of its description.

    Attributes
    ----------
    levels
        Labels of the nodes, finest first; one level for a flat model.
    length
        graph-tool's entropy, nats.
    nested, degree_corrected
        Which model it is.
    start
        Where the search started.
    """

    levels: tuple[Labels, ...]
    length: float
    nested: bool
    degree_corrected: bool
    start: str

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the finest level."""
        return n_parts(self.levels[0])


def load_graph_tool() -> Any:
    """graph-tool, with its inference module.

    Raises
    ------
    MissingDependency
        If it is not installed; the message says how to get it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import graph_tool
            import graph_tool.inference
    except ImportError as error:
        raise MissingDependency(INSTALL) from error
    return graph_tool


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed graph-tool and hold it to one thread; the number of threads is restored."""
    gt = load_graph_tool()
    threads = gt.openmp_get_num_threads()
    gt.openmp_set_num_threads(1)
    gt.seed_rng(seed % (2**31 - 1) + 1)  # 0 would mean a seed from the clock
    try:
        yield
    finally:
        gt.openmp_set_num_threads(threads)


class Search:
    """Starts and refinements on one graph.

    Parameters
    ----------
    n_nodes, source, target
        The graph: each pair once.
    value
        Modelled value of each pair, or None.
    rec_type
        graph-tool's name of the weight model, or None.
    directed
        Whether pairs are ordered.
    topology
        Whether the presence of edges is explained too.
    levels
        Level of each node, int [n]: one of the starts.
    effort
        Multiplies sweeps and informed starts.
    """

    def __init__(
        self,
        n_nodes: int,
        source: Integers,
        target: Integers,
        value: Floats | None,
        rec_type: str | None,
        *,
        directed: bool,
        topology: bool,
        levels: npt.ArrayLike,
        effort: int,
    ) -> None:
        self._gt = load_graph_tool()
        self._source, self._target, self._value = source, target, value
        self._directed, self._topology, self._effort = directed, topology, effort
        self._node_levels = np.asarray(levels)
        self._graph = self._gt.Graph(directed=directed)
        self._graph.add_vertex(n_nodes)
        self._graph.add_edge_list(np.stack([source, target], axis=1))
        self._model: dict[str, Any] = {}
        if value is not None:
            recs = [self._graph.new_edge_property("double", vals=value)]
            self._model = {"recs": recs, "rec_types": [rec_type]}
        self.n_nodes = n_nodes

    # ---- description lengths -----------------------------------------------------------------------------

    @property
    def _flat_terms(self) -> dict[str, Any]:
        return {} if self._topology else dict(NO_TOPOLOGY)

    @property
    def _nested_terms(self) -> dict[str, Any]:
        if self._topology:
            return {}
        return {**NO_TOPOLOGY, "hentropy_args": NO_TOPOLOGY, "hentropy_args_top": NO_TOPOLOGY}

    def flat_state(self, labels: npt.ArrayLike, degree_corrected: bool) -> Any:
        """graph-tool's state of a flat model."""
        blocks = self._graph.new_vertex_property("int", vals=canonical(labels))
        return self._gt.inference.BlockState(self._graph, b=blocks, deg_corr=degree_corrected, **self._model)

    def nested_state(self, levels: tuple[Labels, ...] | list[Labels], degree_corrected: bool) -> Any:
        """graph-tool's state of a nested model: `levels` label nodes, each level coarser than the one below."""
        return self._gt.inference.NestedBlockState(
            self._graph,
            bs=hierarchy(levels),
            state_args={"deg_corr": degree_corrected, **self._model},
        )

    def flat_length(self, labels: npt.ArrayLike, degree_corrected: bool) -> float:
        """Description length of a flat model, nats."""
        return float(self.flat_state(labels, degree_corrected).entropy(**self._flat_terms))

    def nested_length(self, levels: tuple[Labels, ...] | list[Labels], degree_corrected: bool) -> float:
        """Description length of a nested model, nats."""
        return float(self.nested_state(levels, degree_corrected).entropy(**self._nested_terms))

    # ---- starts ------------------------------------------------------------------------------------------

    def starts(self, seed: int, n_blocks: int | None) -> dict[str, Labels]:
        """Partitions from which to search: one block, the levels, and spectral ones of several sizes."""
        ladder = [n_blocks] if n_blocks else self._ladder()
        found = {f"spectral {k}": self._spectral(k, seed) for k in ladder if k < self.n_nodes}
        if n_blocks:
            # Equal shares along the leading eigenvector: k-means may find fewer distinct groups than asked for.
            shares = np.empty(self.n_nodes, np.int32)
            order = np.argsort(self._embedding[:, 0], kind="stable")
            shares[order] = np.arange(self.n_nodes) * n_blocks // self.n_nodes
            full = {name: labels for name, labels in found.items() if n_parts(labels) == n_blocks}
            return full | {"equal shares": canonical(shares)}
        plain = {"one block": np.zeros(self.n_nodes, np.int32)}
        if 1 < n_parts(self._node_levels) < self.n_nodes:
            plain["levels"] = canonical(self._node_levels)
        return plain | found

    def _spectral(self, n_blocks: int, seed: int) -> Labels:
        """k-means on the leading eigenvectors of the values, or of the excess of edges where there are none."""
        from sklearn.cluster import KMeans

        vectors = self._embedding[:, :n_blocks]
        repeats, rounds = (1, 20) if self._large else (5, 300)
        means = KMeans(n_blocks, n_init=repeats, max_iter=rounds, random_state=seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer distinct points than clusters: fewer blocks, no harm
            return canonical(means.fit_predict(vectors))

    @property
    def _large(self) -> bool:
        return self.n_nodes > LARGE

    def _ladder(self) -> list[int]:
        return list(LARGE_BLOCKS) if self._large else _ladder(self.n_nodes)

    @cached_property
    def _embedding(self) -> Floats:
        if self._large:
            return sparse_embedding(self.n_nodes, self._source, self._target)
        matrix = np.zeros((self.n_nodes, self.n_nodes))
        matrix[self._source, self._target] = 1.0 if self._value is None else self._value
        matrix = matrix + matrix.T
        if self._value is None:
            degree = matrix.sum(axis=0)
            matrix -= np.outer(degree, degree) / max(degree.sum(), 1)
        size, vectors = np.linalg.eigh(matrix)
        order = np.argsort(-np.abs(size), kind="stable")
        # A fixed sign, so that k-means sees the same points whatever the linear algebra library.
        vectors = vectors[:, order]
        vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(self.n_nodes)])
        embedding: Floats = vectors * np.abs(size[order])
        return embedding

    # ---- searches ----------------------------------------------------------------------------------------

    def flat(self, degree_corrected: bool, seed: int) -> list[Fit]:
        """Refined flat fits from every start (of large graphs: from the best one), shortest first."""
        starts = self.starts(seed, None)
        lengths = {name: self.flat_length(labels, degree_corrected) for name, labels in starts.items()}
        spectral = sorted((name for name in starts if name.startswith("spectral")), key=lengths.__getitem__)
        tried = [name for name in starts if name not in spectral] + spectral[: 2 + self._effort]
        if self._large:
            tried = spectral[:1]
        states = {name: self.flat_state(starts[name], degree_corrected) for name in tried}
        if not self._large:
            states["sampling"] = self._sampled(degree_corrected, seed)
        fits: dict[bytes, Fit] = {}
        seen: set[bytes] = set()
        for name, state in states.items():
            self._single_moves(state, self._flat_terms, np.inf)
            if (reached := canonical(state.b.a).tobytes()) in seen:
                continue  # another start came here: its merges and splits have been tried
            seen.add(reached)
            self._merges_and_splits(state, self._flat_terms, np.inf)
            labels = canonical(state.b.a)
            if labels.tobytes() not in fits:
                length = self.flat_length(labels, degree_corrected)
                fits[labels.tobytes()] = Fit((labels,), length, False, degree_corrected, name)
        return _shortest_first(list(fits.values()))

    def fixed(self, degree_corrected: bool, seed: int, n_blocks: int) -> list[Fit]:
        """Flat fits of a given number of blocks, shortest first."""
        states = {
            name: self.flat_state(labels, degree_corrected) for name, labels in self.starts(seed, n_blocks).items()
        }
        fits = []
        for name, state in states.items():
            self._single_moves(state, self._flat_terms, np.inf, d=0, allow_vacate=False)
            labels = canonical(state.b.a)
            length = self.flat_length(labels, degree_corrected)
            fits.append(Fit((labels,), length, False, degree_corrected, name))
        return _shortest_first(fits)

    def refined(self, start: Fit, fixed: bool) -> Fit:
        """A flat fit found elsewhere, after downhill moves (and merges and splits, unless the number is fixed)."""
        state = self.flat_state(start.levels[0], start.degree_corrected)
        if fixed:
            self._single_moves(state, self._flat_terms, np.inf, d=0, allow_vacate=False)
        else:
            self._single_moves(state, self._flat_terms, np.inf)
            self._merges_and_splits(state, self._flat_terms, np.inf)
        # Of this state, not of a new one: at thousands of nodes a second state would be the peak of memory.
        length = float(state.entropy(**self._flat_terms))
        return replace(start, levels=(canonical(state.b.a),), length=length)

    def nested(self, starts: list[Fit]) -> list[Fit]:
        """Nested fits, refined from flat ones, shortest first."""
        fits = []
        for start in starts:
            whole = np.zeros(self.n_nodes, np.int32)
            levels = [start.levels[0], whole, whole, whole]
            state = self.nested_state(levels, start.degree_corrected)
            blind = [np.inf] * len(state.levels)
            self._single_moves(state, self._nested_terms, blind, ls_shuffle=False)
            self._merges_and_splits(state, self._nested_terms, blind, ls_shuffle=False)
            found = node_levels(state.get_bs())
            length = self.nested_length(found, start.degree_corrected)
            fits.append(Fit(found, length, True, start.degree_corrected, start.start))
        return _shortest_first(fits)

    def _sampled(self, degree_corrected: bool, seed: int) -> Any:
        """A state from graph-tool's sampler (merges, splits, single moves at temperature 1)."""
        rng = np.random.default_rng(seed)
        n_blocks = max(2, math.isqrt(self.n_nodes))
        state = self.flat_state(rng.integers(n_blocks, size=self.n_nodes), degree_corrected)
        state.multiflip_mcmc_sweep(niter=10 * self._effort, beta=1.0, entropy_args=self._flat_terms)
        return state

    def _single_moves(self, state: Any, terms: Mapping[str, Any], c: Any, **options: Any) -> None:
        """Move nodes one by one, downhill only, until nothing gets shorter."""
        common = {"beta": np.inf, "c": c, "entropy_args": dict(terms), **options}
        self._sweeps(lambda: state.mcmc_sweep(niter=5, **common)[0])

    def _merges_and_splits(self, state: Any, terms: Mapping[str, Any], c: Any, **options: Any) -> None:
        """Merge and split blocks between single moves, downhill only, until nothing gets shorter."""
        common = {"beta": np.inf, "entropy_args": dict(terms), **options}

        def sweep() -> float:
            change: float = state.multiflip_mcmc_sweep(niter=2, **common)[0]
            return change + float(state.mcmc_sweep(niter=2, c=c, **common)[0])

        self._sweeps(sweep)

    def _sweeps(self, sweep: Callable[[], float]) -> None:
        """Repeat until twice in a row nothing changes, but not for ever."""
        idle = 0
        for _ in range((5 if self._large else 10) * self._effort):
            idle = idle + 1 if abs(sweep()) < SAME else 0
            if idle == 2:
                return


def hierarchy(levels: tuple[Labels, ...] | list[Labels]) -> list[npt.NDArray[np.int64]]:
    """graph-tool's form of a hierarchy: labels of nodes, then of the blocks below each level."""
    found = [canonical(levels[0]).astype(np.int64)]
    for below, above in pairwise(levels):
        lower, upper = canonical(below), canonical(above)
        blocks = np.zeros(n_parts(lower), np.int64)
        blocks[lower] = upper
        found.append(blocks)
    if n_parts(levels[-1]) > 1:
        found.append(np.zeros(n_parts(levels[-1]), np.int64))
    return found


def node_levels(blocks: list[npt.NDArray[np.int64]]) -> tuple[Labels, ...]:
    """Labels of the nodes at each level, down to the last level with more than one block.

    A level that is the same partition as the one below says nothing and is left out.
    """
    levels = [canonical(blocks[0])]
    labels = np.asarray(blocks[0])
    for above in blocks[1:]:
        labels = np.asarray(above)[labels]
        level = canonical(labels)
        if n_parts(level) == 1:
            break
        if n_parts(level) < n_parts(levels[-1]):
            levels.append(level)
    return tuple(levels)


def sparse_embedding(n_nodes: int, source: Integers, target: Integers) -> Floats:
    """Nodes in the leading eigenvectors of the normalised adjacency matrix, each row of length 1, float64 [n, d].

    Source: Ng, Jordan & Weiss, NIPS 2001; without a matrix of all pairs.
    """
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import eigsh

    ones = np.ones(2 * len(source))
    ends = np.concatenate([source, target]), np.concatenate([target, source])
    matrix = coo_matrix((ones, ends), shape=(n_nodes, n_nodes)).tocsr()
    scale = diags(1 / np.sqrt(np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1)))
    wanted = min(LARGE_VECTORS, n_nodes - 2)
    start = np.random.default_rng(0).normal(size=n_nodes)
    _, vectors = eigsh(scale @ matrix @ scale, k=wanted, v0=start, tol=1e-2)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    embedding: Floats = vectors / np.where(length > 0, length, 1)
    return embedding


def _ladder(n_nodes: int) -> list[int]:
    """Numbers of blocks worth a spectral start."""
    sizes = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    return [k for k in sizes if k <= max(2, n_nodes // 3) and k < n_nodes]


def _shortest_first(fits: list[Fit]) -> list[Fit]:
    """Shortest description first; of equally long ones the one with fewer blocks, then the earlier."""
    return sorted(fits, key=lambda fit: (round(fit.length / SAME), fit.n_blocks))
