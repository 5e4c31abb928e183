"""Correlations of more nodes than a square of them fits into memory: two sites at a time, only the strongest kept."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from compgraph.connectivity.blockwise.block import Block
from compgraph.connectivity.blockwise.score_matrix import MatrixPlan, MatrixWriter, ScoreMatrix, array_name
from compgraph.connectivity.functional.moments import SILENT, row_sums
from compgraph.connectivity.functional.pairs import graph_of_pairs, judged
from compgraph.connectivity.functional.setting import Prepared, Setting, check_two
from compgraph.connectivity.functional.signals import Matrix
from compgraph.connectivity.functional.significance import effective_number, fisher
from compgraph.connectivity.functional.site_blocks import site_products
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.provenance import Provenance, code_digest

CHUNK = 4_000_000
"""Correlations of a chunk of the file."""


def strongest_pairs(setting: Setting, keep: int, matrix: str | Path | ScoreMatrix | None = None) -> ComputationalGraph:
    """The `keep` strongest correlations of every node.

    Parameters
    ----------
    keep
        Edges of a node; an edge is kept if it is among the strongest of either end.
    matrix
        Manifest of a result that takes all correlations (`blockwise.score_matrix`), each pair of sites in the order of
        computation; NaN where a node has no signal.

    Returns
    -------
    ComputationalGraph
        As that of all pairs, without the others; p-values are adjusted for all pairs.

    Raises
    ------
    DataError
        Two sites' products do not fit into memory; part `between`.
    """
    if setting.part == "between":
        raise DataError("functional: keep goes through all rows; part 'between' has none")
    prepared = setting.prepare()
    signals = prepared.signals
    mean, variance, rho, at_lag = row_sums(prepared)
    varies = variance > SILENT * signals.scale**2
    check_two(signals.nodes[varies], prepared.sites, "signals")
    scale = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1.0) * signals.n_rows), 0.0)
    best = Best(len(signals.nodes), keep)
    first = np.cumsum([0, *(len(plan.nodes) for plan in signals.plans.values())])
    place = dict(zip(signals.plans, first[:-1].tolist(), strict=True))
    with _matrix(matrix, prepared) as writer:
        for a, b, r in site_products(prepared, mean):
            at, to = place[a], place[b]
            r *= scale[at : at + r.shape[0], None]
            r *= scale[to : to + r.shape[1]]
            np.clip(r, -1, 1, out=r)
            if writer is not None:
                writer.add(_block(prepared, a, b, r))
            best.add(r, at, to)
    source, target, weight = best.edges(varies)
    columns: dict[str, Matrix] = {}
    about: dict[str, Any] = {"keep": keep, "pairs": int(varies.sum() * (varies.sum() - 1) // 2)}
    if setting.samples != "none":
        effective = effective_number(signals.n_rows, rho, at_lag, source, target)
        z, p = fisher(weight, effective, prepared.removed)
        adjusted, found = judged(setting, p, about["pairs"])
        columns = {"z": z, "p": p, "p_adjusted": adjusted, "effective_n": effective}
        about |= found
    number = np.cumsum(varies) - 1
    return graph_of_pairs(
        prepared, "pearson", signals.nodes[varies], number[source], number[target], weight, columns, about
    )


class Best:
    """The strongest partners of every node, while blocks of correlations go by.

    Parameters
    ----------
    n, keep
        Nodes, and partners of each.
    """

    def __init__(self, n: int, keep: int) -> None:
        self.keep = keep
        self.value = np.zeros((n, keep))
        self.partner = np.full((n, keep), -1, np.int64)

    def add(self, r: Matrix, at: int, to: int) -> None:
        """Add correlations of nodes at … with nodes to …."""
        if at == to:
            np.fill_diagonal(r, 0.0)
        self._take(r, at, to)
        if at != to:
            self._take(r.T, to, at)

    def _take(self, r: Matrix, rows: int, columns: int) -> None:
        k = min(self.keep, r.shape[1])
        top = np.argpartition(-np.abs(r), k - 1, axis=1)[:, :k]
        own = slice(rows, rows + len(r))
        value = np.concatenate([self.value[own], np.take_along_axis(r, top, axis=1)], axis=1)
        partner = np.concatenate([self.partner[own], top + columns], axis=1)
        order = np.argsort(-np.abs(value), axis=1, kind="stable")[:, : self.keep]
        self.value[own] = np.take_along_axis(value, order, axis=1)
        self.partner[own] = np.take_along_axis(partner, order, axis=1)

    def edges(self, varies: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Matrix]:
        """Pairs of nodes that vary, each once, in ascending order: source, target, weight."""
        n = len(self.value)
        node = np.repeat(np.arange(n), self.keep)
        partner, value = self.partner.ravel(), self.value.ravel()
        real = (partner >= 0) & varies[node] & varies[partner] & (partner != node)
        low, high = np.minimum(node, partner)[real], np.maximum(node, partner)[real]
        key, first = np.unique(low * n + high, return_index=True)
        return key // n, key % n, value[real][first]


def _matrix(path: str | Path | ScoreMatrix | None, prepared: Prepared) -> AbstractContextManager[MatrixWriter | None]:
    """The file of all correlations, if one is asked for."""
    if path is None:
        return nullcontext()
    request = path if isinstance(path, ScoreMatrix) else ScoreMatrix(path)
    partition = prepared.partition
    about = prepared.attributes("pearson") | {"partition": prepared.setting.partition.digest, "dtype": request.dtype}
    sizes = {site: partition.n_parts(site) for site in prepared.signals.plans}
    arrays = {
        array_name(a, "", b): ((sizes[a], sizes[b]), (max(1, min(sizes[a], CHUNK // sizes[b])), sizes[b]))
        for a, b in combinations_with_replacement(sizes, 2)
    }
    made = Provenance("functional", about, None, {}, code_digest([__name__]))
    return request.sealed(MatrixPlan(partition, ("",), arrays), made)


def _block(prepared: Prepared, a: str, b: str, r: Matrix) -> Block:
    """Correlations between all nodes of two sites, NaN where one has no signal."""
    partition, plans = prepared.partition, prepared.signals.plans
    whole = np.full((partition.n_parts(a), partition.n_parts(b)), np.nan)
    own = (plans[site].nodes - prepared.setting.partition.node_slice(site).start for site in (a, b))
    whole[np.ix_(*own)] = r
    return Block(a, "", 0, b, 0, torch.from_numpy(whole))
