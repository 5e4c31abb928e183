"""The best connected circuit of a given size, as an integer programme."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.circuits.choice import Choice, Mask, check_share, share_of
from compgraph.circuits.greedy import greedy
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import Order, on_path, strength

if TYPE_CHECKING:
    from scipy.optimize import LinearConstraint

Values = npt.NDArray[np.float64]


def ilp(
    graph: ComputationalGraph,
    n_edges: int,
    *,
    by: Order = "abs",
    share: float = 0.0,
    support: Order = "negative",
    time_limit: float = 60.0,
) -> Choice:
    """At most n edges of the largest total strength among those circuits in which every node is on a path.

    With x_e = 1 for a kept edge and y_v = 1 for a used node (inputs and outputs always are):

        maximise Σ strength_e x_e    with  Σ x_e <= n,  x_e <= y_source(e),  x_e <= y_target(e),
        a used node has a kept edge into it (unless it is an input) and one out of it (unless it is an output),

    and, with `share`, at least min(floor(share · n), number of supporting edges) supporting edges. (Nikankin et al.
    2025, arXiv 2510.25786, who solve it by CBC; here it is HiGHS through `scipy.optimize.milp`.) Graphs have no cycles,
    so the circuit is as `prune` would leave it.

    Parameters
    ----------
    by
        What counts as strength. With `signed` or `negative` edges of the wrong sign are only used to connect.
    share
        In [0, 1]; 0 asks for no supporting edges.
    support
        Which sign supports: `negative` for scores of a metric that is high where the model does well, else `signed`.
    time_limit
        Seconds, above 0. The result is the same on every machine if the solver ends before.

    Returns
    -------
    Choice
        The record holds `objective`, `bound` (no circuit of this size has more), `gap`, their relative difference, and
        `status`: `optimal` (to within 1e-6 of the largest strength, HiGHS's tolerance), `time-limit`, or `greedy` where
        the solver found nothing as good in its time as the greedy and pruned circuit, which is returned then.

    Raises
    ------
    GraphError
        An edge that does not go up in level, no architecture, a share that no connected circuit of this size can have.
    """
    check_share("share", share)
    if not time_limit > 0:
        raise GraphError(f"time_limit {time_limit} is out of range; it is a number of seconds above 0")
    programme = _Programme(graph, n_edges, by, share, support)
    if n_edges == 0:
        return Choice(np.zeros(graph.n_edges, dtype=bool), _report(0.0, 0.0, "optimal"))
    return programme.solve(time_limit)


@dataclass(frozen=True)
class _Answer:
    """A solver's outcome: the edges (None: nothing found), an upper bound in units of the largest strength, whether the
    solver ran to its end, and whether it kept parts of edges."""

    edges: Mask | None
    bound: float
    ended: bool
    split: bool = False


class _Programme:
    """Objective and constraints over the variables (x of every edge, y of every node)."""

    def __init__(self, graph: ComputationalGraph, n_edges: int, by: Order, share: float, support: Order) -> None:
        self.graph, self.n, self.by = graph, n_edges, by
        levels = graph.node_columns["level"]
        if (flat := levels[graph.source] >= levels[graph.target]).any():
            at, names = int(flat.argmax()), graph.node_names
            ends = f"{names[graph.source[at]]} -> {names[graph.target[at]]}"
            raise GraphError(f"selection 'ilp' needs edges that go up in level; {ends} does not")
        self.gain = np.asarray(strength(graph.weight, by), dtype=np.float64)
        self.unit = float(np.abs(self.gain).max(initial=0)) or 1.0
        self.supporting = strength(graph.weight, support) > 0
        self.needed = min(share_of(n_edges, share), int(self.supporting.sum()))
        self.free = np.ones(graph.n_nodes, dtype=bool)
        self.free[graph.inputs] = False
        self.free[graph.outputs] = False

    def solve(self, time_limit: float) -> Choice:
        """The best circuit known when the solver ends."""
        start = time.monotonic()
        # For given nodes the best edges are a flow from out-ends to in-ends, whose vertices are whole numbers; only
        # nodes then need branching, which is about 30 times faster. Supporting edges break the flow.
        answer = self._run(time_limit, whole_edges=False)
        bound = answer.bound
        if answer.split:
            answer = self._run(max(time_limit - (time.monotonic() - start), 0.1), whole_edges=True)
            bound = min(bound, answer.bound)
        found = [edges for edges in (answer.edges, self._grown()) if edges is not None and self._valid(edges)]
        if not found:
            if answer.ended:
                raise GraphError(
                    f"selection 'ilp': no connected circuit of at most {self.n} edges has {self.needed} supporting ones"
                )
            raise GraphError("selection 'ilp' found no circuit within its time_limit; allow it more seconds")
        best = max(found, key=self._value)
        status = "optimal" if answer.ended else "time-limit" if best is answer.edges else "greedy"
        return Choice(best, _report(self._value(best), bound * self.unit, status))

    def _value(self, edges: Mask) -> float:
        return float(self.gain[edges].sum())

    def _valid(self, edges: Mask) -> bool:
        """Whether the edges are a circuit that the programme allows."""
        graph = self.graph
        source, target = graph.source[edges], graph.target[edges]
        alive = on_path(source, target, graph.n_nodes, graph.inputs, graph.outputs)
        connected = bool((alive[source] & alive[target]).all())
        return connected and len(source) <= self.n and int(self.supporting[edges].sum()) >= self.needed

    def _grown(self) -> Mask:
        """A circuit to fall back on: the greedy one, pruned."""
        graph, edges = self.graph, greedy(self.graph, self.n, by=self.by).edges
        alive = on_path(graph.source[edges], graph.target[edges], graph.n_nodes, graph.inputs, graph.outputs)
        pruned: Mask = edges & alive[graph.source] & alive[graph.target]
        return pruned

    def _run(self, time_limit: float, whole_edges: bool) -> _Answer:
        from scipy.optimize import Bounds, milp

        e, v = self.graph.n_edges, self.graph.n_nodes
        lower = np.concatenate([np.zeros(e), ~self.free])
        result = milp(
            -np.concatenate([self.gain / self.unit, np.zeros(v)]),
            integrality=np.concatenate([np.full(e, int(whole_edges)), np.ones(v)]),
            bounds=Bounds(lower, 1),
            constraints=self._constraints(),
            options={"time_limit": time_limit, "mip_rel_gap": 0.0},
        )
        ended = result.status in (0, 2)  # solved, or proven to have no solution
        bound = -result.mip_dual_bound if result.mip_dual_bound is not None else np.inf
        if result.x is None:
            return _Answer(None, float(bound), ended)
        x = result.x[:e]
        split = bool(np.abs(x - np.rint(x)).max(initial=0) > 1e-5)
        return _Answer(None if split else x > 0.5, float(bound), ended, split)

    def _constraints(self) -> list[LinearConstraint]:
        from scipy import sparse
        from scipy.optimize import LinearConstraint

        graph, e, v = self.graph, self.graph.n_edges, self.graph.n_nodes
        edge, one = np.arange(e), np.ones(e)

        def rows(values: Any, row: Any, column: Any, n_rows: int) -> Any:
            return sparse.csr_matrix((values, (row, column)), shape=(n_rows, e + v))

        found = [LinearConstraint(rows(one, np.zeros(e, int), edge, 1), -np.inf, self.n)]
        chosen = np.flatnonzero(self.free)
        number = np.cumsum(self.free) - 1
        for end in (graph.source, graph.target):
            own = self.free[end]
            used, node = edge[own], end[own]
            k = len(used)
            # x_e <= y_v
            pairs = np.concatenate([used, e + node])
            signs = np.concatenate([np.ones(k), -np.ones(k)])
            found.append(LinearConstraint(rows(signs, np.tile(np.arange(k), 2), pairs, k), -np.inf, 0))
            # y_v <= sum of x_e at v
            row = np.concatenate([number[node], np.arange(len(chosen))])
            column = np.concatenate([used, e + chosen])
            signs = np.concatenate([np.ones(k), -np.ones(len(chosen))])
            found.append(LinearConstraint(rows(signs, row, column, len(chosen)), 0, np.inf))
        if self.needed:
            support = np.flatnonzero(self.supporting)
            row = rows(np.ones(len(support)), np.zeros(len(support), int), support, 1)
            found.append(LinearConstraint(row, self.needed, np.inf))
        return [constraint for constraint in found if constraint.A.shape[0]]


def _report(objective: float, bound: float, status: str) -> dict[str, Any]:
    """The solver's bound is None where its time ended before it had one."""
    known = bool(np.isfinite(bound))
    gap = max(bound - objective, 0.0) / (abs(objective) or 1.0) if known else None
    return {"objective": objective, "bound": bound if known else None, "gap": gap, "status": status}
