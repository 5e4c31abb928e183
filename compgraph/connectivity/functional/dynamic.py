"""Dynamic connectivity: how much the correlation of two nodes changes along the positions of the text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.memory import check_memory
from compgraph.connectivity.functional.moments import Moments, moments_of
from compgraph.connectivity.functional.pairs import graph_of_pairs, judged, upper
from compgraph.connectivity.functional.recordings import Pool
from compgraph.connectivity.functional.setting import Setting, check_two
from compgraph.connectivity.functional.signals import Matrix
from compgraph.connectivity.functional.significance import ALMOST_ONE, effective_samples
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph

Window = tuple[int, int]


def compute(setting: Setting, *, window: int = 16, step: int = 0) -> ComputationalGraph:
    """Standard deviation over windows of positions of the correlation, as Fisher's z; a pass for each window.

    Parameters
    ----------
    window
        Positions of a window.
    step
        Positions from one window to the next; 0 for windows that follow each other without overlap.

    Returns
    -------
    ComputationalGraph
        Nodes with a signal in every window. Columns `r_mean` (mean correlation) and `r_<first position>` (of each
        window). Windows that do not overlap are tested for one correlation in all: with n_e the effective samples of
        each, sum of (n_e - 3)(z - mean z)² is chi-squared with a degree of freedom less than there are windows.
        Attribute `windows`.

    Raises
    ------
    DataError
        Fewer than two windows; part `between`; what `functional_connectivity` refuses.
    """
    if setting.part == "between":
        raise DataError("functional: windows are of positions of single rows; part 'between' has none")
    windows = _windows(setting, window, step)
    check_memory(int(setting.partition.n_nodes * np.ceil(np.sqrt(1 + len(windows) / 8))))
    seen = [moments_of(replace(setting, positions=one)) for one in windows]
    prepared = seen[0].prepared
    varies = np.logical_and.reduce([moments.varies for moments in seen])
    nodes = prepared.signals.nodes[varies]
    check_two(nodes, prepared.sites, "signals in every window")
    source, target = upper(len(nodes))
    r = np.stack([_correlations(moments, varies)[source, target] for moments in seen])
    z = np.arctanh(np.clip(r, -ALMOST_ONE, ALMOST_ONE))
    columns: dict[str, npt.NDArray[Any]] = {"r_mean": r.mean(axis=0)}
    columns |= {f"r_{first}": own for (first, _), own in zip(windows, r, strict=True)}
    about: dict[str, Any] = {"windows": [list(one) for one in windows], "positions": setting.positions}
    if setting.samples != "none" and (step == 0 or step >= window):
        tests, found = _tests(setting, seen, varies, z, (source, target))
        columns |= tests
        about |= found
    whole = replace(prepared, setting=setting)
    return graph_of_pairs(whole, "dynamic", nodes, source, target, z.std(axis=0), columns, about)


def _windows(setting: Setting, window: int, step: int) -> list[Window]:
    """All whole windows of the positions that count."""
    if window < 1 or step < 0:
        raise DataError(f"functional: window is {window} and step {step}; they must be at least 1 and 0")
    position = Pool.of(setting.buffers).column("position")
    first, stop = setting.positions or (int(position.min()), int(position.max()) + 1)
    found = [(at, at + window) for at in range(first, stop - window + 1, step or window)]
    if len(found) < 2:
        raise DataError(
            f"functional: positions {first} to {stop - 1} hold {len(found)} windows of {window}; at least 2 are "
            "needed: take a shorter window or step, or record `activations.positions: all`"
        )
    return found


def _correlations(moments: Moments, varies: npt.NDArray[np.bool_]) -> Matrix:
    """Correlation matrix of the signals that vary in every window."""
    own = varies[moments.varies]
    found: Matrix = moments.correlation()[np.ix_(own, own)]
    return found


def _tests(
    setting: Setting,
    seen: list[Moments],
    varies: npt.NDArray[np.bool_],
    z: Matrix,
    pairs: tuple[npt.NDArray[Any], npt.NDArray[Any]],
) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """p of one correlation in all windows."""
    from scipy.special import chdtrc

    freedom = np.empty_like(z)
    for row, moments in zip(freedom, seen, strict=True):
        own = np.flatnonzero(varies[moments.varies])
        row[:] = effective_samples(moments, own[pairs[0]], own[pairs[1]]) - 3 - moments.prepared.removed
    np.maximum(freedom, 0.0, out=freedom)
    total = freedom.sum(axis=0)
    mean = (freedom * z).sum(axis=0) / np.where(total > 0, total, 1.0)
    p = chdtrc(len(z) - 1, (freedom * (z - mean) ** 2).sum(axis=0))
    adjusted, about = judged(setting, p)
    return {"p": p, "p_adjusted": adjusted}, about
