"""A graph as dense matrices, and what it holds between nodes and blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from compgraph.communities.dense.weight_terms import WeightTerms
from compgraph.communities.pairs import Floats, Integers

Labels = npt.NDArray[np.int32]
Matrix = npt.NDArray[np.floating]

SINGLE_FROM = 1500
"""Graphs with as many nodes are kept in float32; sums over blocks are float64 all the same."""


@dataclass(frozen=True)
class DenseGraph:
    """One value per pair of nodes, each pair once, no loops.

    Attributes
    ----------
    n_nodes
        Number of nodes n.
    directed
        Whether pairs are ordered.
    present
        1 where a pair has an edge, [n, n]; None: every pair has one.
    values
        The value of each pair, 0 where there is none, [n, n]; symmetric where pairs are not ordered. None:
        edges without values.
    out_degree, in_degree
        Edges of each node, int64 [n]; without direction both are all its edges, and only the first counts.
    whole
        Sum of all values, each pair once.
    pairs
        The list that the matrices were made of: source, target, value (or None).
    terms
        The weight model.
    """

    n_nodes: int
    directed: bool
    present: Matrix | None
    values: Matrix | None
    out_degree: Integers
    in_degree: Integers
    whole: float
    pairs: tuple[Integers, Integers, Floats | None]
    terms: WeightTerms

    @classmethod
    def of(
        cls,
        n_nodes: int,
        source: Integers,
        target: Integers,
        value: Floats | None,
        model: str | None,
        *,
        directed: bool,
        topology: bool,
    ) -> DenseGraph:
        """From a list of pairs, each once, without loops.

        Raises
        ------
        GraphError
            If a value is not one that the weight model can describe.
        """
        dtype = np.float32 if n_nodes >= SINGLE_FROM else np.float64
        terms = WeightTerms.of(model, value, topology)
        complete = len(source) == n_nodes * (n_nodes - 1) // (1 if directed else 2)
        present = None if complete else _matrix(n_nodes, source, target, np.ones(1), directed, dtype)
        values = None
        if terms.model is not None and value is not None:
            values = _matrix(n_nodes, source, target, value, directed, dtype)
        out_degree = np.bincount(source, minlength=n_nodes)
        in_degree = np.bincount(target, minlength=n_nodes)
        if not directed:
            out_degree = in_degree = out_degree + in_degree
        whole = 0.0 if value is None else float(value.sum())
        return cls(n_nodes, directed, present, values, out_degree, in_degree, whole, (source, target, value), terms)

    def without_matrices(self) -> DenseGraph:
        """What `between` needs, and no more: matrices of thousands of nodes take memory that others want."""
        return replace(self, present=None, values=None)

    @property
    def n_edges(self) -> int:
        """Number of pairs that have an edge."""
        return int(self.out_degree.sum()) // (1 if self.directed else 2)

    @property
    def total_degree(self) -> Integers:
        """Edges of each node, in and out, int64 [n]."""
        return self.out_degree + self.in_degree if self.directed else self.out_degree

    @cached_property
    def _squares(self) -> Matrix:
        assert self.values is not None
        return self.values * self.values

    def matrices(self) -> list[Matrix | None]:
        """One matrix a plane: presence (None: all pairs), values, squares."""
        planes: list[Matrix | None] = [self.present, self.values, self._squares if self.terms.n_planes > 2 else None]
        return planes[: self.terms.n_planes]

    def between(self, labels: Labels, n_blocks: int) -> Floats:
        """What each pair of blocks has, each pair of nodes once, float64 [n_planes, K, K], from the list of pairs."""
        source, target, value = self.pairs
        cells = labels[source].astype(np.int64) * n_blocks + labels[target]
        planes = np.empty((self.terms.n_planes, n_blocks, n_blocks))
        for power, plane in enumerate(planes):
            weights = None if power == 0 or value is None else value**power
            plane[:] = np.bincount(cells, weights, minlength=n_blocks * n_blocks).reshape(n_blocks, n_blocks)
        if self.directed:
            return planes
        both = planes + planes.transpose(0, 2, 1)
        diagonal = np.arange(n_blocks)
        both[:, diagonal, diagonal] /= 2
        return both

    def incidence(self, memberships: Floats) -> Floats:
        """What each node has to each column of a matrix, by one product a plane and direction.

        Parameters
        ----------
        memberships
            [n, K]; the one-hot partition, or several side by side, or changes of one.

        Returns
        -------
        float64 [directions, n_planes, n, K]
            From the node; then, if pairs are ordered, to it.
        """
        columns: Matrix = memberships.astype(np.float32 if self.n_nodes >= SINGLE_FROM else np.float64)
        ways = 2 if self.directed else 1
        result = np.empty((ways, self.terms.n_planes, *memberships.shape))
        for plane, matrix in enumerate(self.matrices()):
            if matrix is None:
                result[:, plane] = memberships.sum(axis=0) - memberships
                continue
            result[0, plane] = matrix @ columns
            if self.directed:
                result[1, plane] = matrix.T @ columns
        return result


def one_hot(labels: Labels, n_blocks: int) -> Floats:
    """Partition as a matrix, float64 [n, n_blocks]."""
    matrix = np.zeros((len(labels), n_blocks))
    matrix[np.arange(len(labels)), labels] = 1
    return matrix


def _matrix(n: int, source: Integers, target: Integers, value: Floats, directed: bool, dtype: npt.DTypeLike) -> Matrix:
    matrix = np.zeros((n, n), dtype)
    matrix[source, target] = value
    if not directed:
        matrix[target, source] = value
    return matrix
