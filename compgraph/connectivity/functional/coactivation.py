"""Which sparse features fire together: counts of single and joint activity, in sparse arithmetic.

With n rows, n_i active ones of node i and n_ij joint ones:

    phi  = (n n_ij - n_i n_j) / sqrt(n_i (n - n_i) n_j (n - n_j)),  the correlation of the two indicators
    lift = n n_ij / (n_i n_j),  pmi = log lift  (nats)

Only pairs that are active together at least once are edges; the others count as tests all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compgraph.connectivity.functional.memory import BYTES_PER_EDGE, check_bytes
from compgraph.connectivity.functional.pairs import graph_of_pairs, judged
from compgraph.connectivity.functional.setting import Prepared, Setting
from compgraph.connectivity.functional.signals import Matrix
from compgraph.connectivity.functional.significance import effective_number, fisher
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.partition import DEAD

UNSERVED = {"confounds": (), "winsorise": 0.0, "part": "total"}
"""Choices that would make numbers of what is either on or off."""

ADVICE = "use a larger `active_above`, a coarser partition, or fewer sites at a time (`sites`)"


def compute(
    setting: Setting, *, measure: str = "phi", active_above: float = 0.0, min_count: int = 1
) -> ComputationalGraph:
    """Co-activation of every pair of nodes that are active together.

    Parameters
    ----------
    measure
        The weight: `phi`, `pmi` or `lift`.
    active_above
        A node is active in a row where a unit of it exceeds this.
    min_count
        Fewest joint rows of an edge.

    Returns
    -------
    ComputationalGraph
        Columns `count` (joint rows), and those of the test of phi. `samples: rows` counts every row, `autocorrelation`
        corrects for runs of activity.

    Raises
    ------
    DataError
        Choices that have no meaning here; fewer than two nodes that are sometimes active and sometimes not; more pairs
        that are active together than fit into memory.
    """
    for name, plain in UNSERVED.items():
        if getattr(setting, name) not in (plain, list(plain) if isinstance(plain, tuple) else plain):
            raise DataError(f"functional: coactivation counts rows and takes no {name!r}; leave it out")
    prepared = setting.prepare(standardise=False)
    counts = Counts(prepared, active_above)
    varies = np.flatnonzero((counts.single > 0) & (counts.single < counts.n))
    if len(varies) < 2:
        raise DataError(
            f"functional: {len(varies)} nodes are active (above {active_above}) in some rows and not in others; at "
            "least 2 are needed"
        )
    joint = counts.joint[varies][:, varies].tocoo()
    kept = (joint.row < joint.col) & (joint.data >= min_count)
    order = np.lexsort((joint.col[kept], joint.row[kept]))
    source, target, both = (values[kept][order] for values in (joint.row, joint.col, joint.data))
    single = counts.single[varies].astype(np.float64)
    a, b, n = single[source], single[target], float(counts.n)
    phi = (n * both - a * b) / np.sqrt(a * (n - a) * b * (n - b))
    lift = n * both / (a * b)
    weight = {"phi": phi, "lift": lift, "pmi": np.log(lift)}[measure]
    columns: dict[str, Any] = {"count": both.astype(np.int64)}
    about: dict[str, Any] = {
        "measure": measure, "active_above": active_above, "min_count": min_count,
    }  # fmt: skip
    if setting.samples != "none":
        tests = len(varies) * (len(varies) - 1) // 2
        rho = counts.autocorrelation(varies)
        effective = effective_number(counts.n, rho, counts.pairs, source, target)
        z, p = fisher(np.clip(phi, -1, 1), effective)
        adjusted, found = judged(setting, p, tests)
        columns |= {"z": z, "p": p, "p_adjusted": adjusted, "effective_n": effective}
        about |= found
    return graph_of_pairs(
        prepared, "coactivation", prepared.signals.nodes[varies], source, target, weight, columns, about
    )


class Counts:
    """Active rows of every signal's node, alone, jointly, and along the positions of an item; one pass.

    Attributes
    ----------
    n
        Rows.
    single
        int64 [nodes].
    joint
        Sparse int64 [nodes, nodes].
    """

    def __init__(self, prepared: Prepared, above: float) -> None:
        from scipy.sparse import csr_array, vstack

        signals = prepared.signals
        self.n, m = signals.n_rows, len(signals.nodes)
        self.single, self.joint = np.zeros(m, np.int64), csr_array((m, m), dtype=np.int64)
        correct = prepared.setting.samples == "autocorrelation"
        item, position = prepared.item, prepared.position
        longest = int(np.unique(item, return_counts=True)[1].max())
        lags = min(longest - 1, prepared.setting.max_lag) if correct else 0
        self.pairs = np.zeros(lags, np.int64)
        self.ends, self.runs = np.zeros((lags, m)), np.zeros((lags, m))
        held, done = csr_array((0, m), dtype=np.int64), 0
        for chunk in self._active(prepared, above):
            self.single += np.asarray(chunk.sum(axis=0)).ravel()
            self.joint = self.joint + chunk.T @ chunk
            pairs = int(self.joint.nnz) // 2
            check_bytes(pairs * BYTES_PER_EDGE, f"{pairs:,} pairs of nodes that are active together need", ADVICE)
            first = done - held.shape[0]
            done += chunk.shape[0]
            if lags:
                held = vstack([held, chunk], format="csr")
                self._add_runs(held, chunk.shape[0], item[first:done], position[first:done])
                held = held[max(held.shape[0] - lags, 0) :]

    def _active(self, prepared: Prepared, above: float) -> Iterator[Any]:
        """Activity of nodes, sparse [rows, nodes] of 0 and 1, chunk by chunk."""
        from scipy.sparse import csr_array, hstack

        signals, done = prepared.signals, 0
        for chunk in signals.pool.chunks(list(signals.plans)):
            n = len(next(iter(chunk.values())))
            keep = signals.kept(done, n)
            done += n
            parts = []
            for site, plan in signals.plans.items():
                values = chunk[site] if keep is None else chunk[site][keep]
                units = csr_array(values > above, dtype=np.int64)
                labels = prepared.setting.partition.labels[site]
                live = np.flatnonzero((labels != DEAD) & np.isin(labels, plan.nodes - self._first(prepared, site)))
                to = np.searchsorted(plan.nodes, labels[live] + self._first(prepared, site))
                owner = csr_array((np.ones(len(live), np.int64), (live, to)), shape=(len(labels), len(plan.nodes)))
                active = units @ owner
                active.data[:] = 1
                parts.append(active)
            yield hstack(parts, format="csr")

    @staticmethod
    def _first(prepared: Prepared, site: str) -> int:
        return prepared.setting.partition.node_slice(site).start

    def _add_runs(self, rows: Any, new: int, item: np.ndarray, position: np.ndarray) -> None:
        old = rows.shape[0] - new
        for k in range(1, min(len(self.pairs), rows.shape[0] - 1) + 1):
            begin = max(old - k, 0)
            near, far = np.arange(begin, rows.shape[0] - k), np.arange(begin + k, rows.shape[0])
            paired = (item[near] == item[far]) & (position[far] - position[near] == k)
            a, b = rows[near[paired]], rows[far[paired]]
            self.pairs[k - 1] += int(paired.sum())
            self.ends[k - 1] += np.asarray(a.sum(axis=0)).ravel() + np.asarray(b.sum(axis=0)).ravel()
            self.runs[k - 1] += np.asarray(a.multiply(b).sum(axis=0)).ravel()

    def autocorrelation(self, varies: np.ndarray) -> Matrix:
        """Of the nodes' activity at each lag, float64 [lags, nodes that vary]; 0 where no pair of rows was seen."""
        share = self.single[varies] / self.n
        count = np.maximum(self.pairs, 1)[:, None]
        covariance = (self.runs[:, varies] - share * self.ends[:, varies]) / count + share**2
        return np.where(self.pairs[:, None] > 0, covariance / (share * (1 - share)), 0.0)
