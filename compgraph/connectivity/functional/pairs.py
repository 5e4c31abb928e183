"""From a matrix over signals to a graph: all pairs once, with what the tests say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.moments import Moments
from compgraph.connectivity.functional.setting import Prepared, Setting
from compgraph.connectivity.functional.signals import Matrix
from compgraph.connectivity.functional.significance import effective_samples, fisher
from compgraph.graph import ComputationalGraph
from compgraph.multiple_testing import adjust


def upper(n: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """All pairs i < j of n, row by row."""
    number = np.arange(n, dtype=np.int32)
    every = np.broadcast_to(number, (n, n))
    return np.repeat(number, n - 1 - number), every[_above(n)]


def upper_values(matrix: Matrix) -> Matrix:
    """Entries of a square matrix at the pairs of `upper`."""
    values: Matrix = matrix[_above(len(matrix))]
    return values


def _above(n: int) -> npt.NDArray[np.bool_]:
    """Entries above the diagonal of a square, by a mask: half the time of their indices."""
    return np.triu(np.ones((n, n), dtype=bool), 1)


def graph_of_moments(
    moments: Moments,
    method: str,
    weight: Matrix,
    *,
    r: Matrix | None = None,
    controlled: int = 0,
    attributes: Mapping[str, Any] | None = None,
) -> ComputationalGraph:
    """Graph of a matrix over the signals that vary.

    Parameters
    ----------
    weight
        float64 [m, m], symmetric.
    r
        Correlations behind the weights, for the tests; None for no tests.
    controlled
        Degrees of freedom that each correlation has lost, beyond those of the confounds.
    attributes
        What the method has to say.
    """
    about = {"heavy_tailed_units": moments.heavy} | dict(attributes or {})
    source, target = upper(len(weight))
    values = upper_values(weight)
    columns: dict[str, Matrix] = {}
    if r is not None and moments.prepared.setting.samples != "none":
        correlations = values if r is weight else upper_values(r)
        columns, tests = _tests(moments, correlations, source, target, controlled)
        about |= tests
    return graph_of_pairs(moments.prepared, method, moments.nodes, source, target, values, columns, about)


def graph_of_matrix(
    prepared: Prepared,
    method: str,
    weight: Matrix,
    nodes: npt.NDArray[np.int64],
    attributes: Mapping[str, Any],
) -> ComputationalGraph:
    """Graph of a matrix [m, m] over nodes of the partition, without tests."""
    source, target = upper(len(nodes))
    return graph_of_pairs(prepared, method, nodes, source, target, upper_values(weight), {}, attributes)


def graph_of_pairs(
    prepared: Prepared,
    method: str,
    nodes: npt.NDArray[np.int64],
    source: npt.NDArray[Any],
    target: npt.NDArray[Any],
    weight: Matrix,
    columns: Mapping[str, npt.NDArray[Any]],
    attributes: Mapping[str, Any],
) -> ComputationalGraph:
    """Graph over some nodes of the partition, from edges numbered among them, of which those under the threshold go."""
    threshold = prepared.setting.threshold
    if threshold is not None:
        kept = np.abs(weight) >= threshold
        source, target, weight = source[kept], target[kept], weight[kept]
        columns = {name: values[kept] for name, values in columns.items()}
    partition = prepared.setting.partition
    names, present = partition.node_names, set(nodes.tolist())
    every = (k for site in prepared.sites for k in range(partition.n_nodes)[partition.node_slice(site)])
    about = prepared.attributes(method) | dict(attributes)
    about["excluded_nodes"] = [names[k] for k in every if k not in present]
    architecture = prepared.signals.pool.architecture
    return ComputationalGraph(
        {name: values[nodes] for name, values in partition.nodes(architecture).items()},
        source.astype(np.int32),
        target.astype(np.int32),
        None,
        weight,
        directed=False,
        kind="functional",
        attributes=about,
        columns=columns,
        partition=prepared.partition,
        architecture=architecture,
    )


def _tests(
    moments: Moments, r: Matrix, source: npt.NDArray[Any], target: npt.NDArray[Any], controlled: int
) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """Columns z, p, p_adjusted and effective_n, and how dense the graph is at the level."""
    setting = moments.prepared.setting
    effective = effective_samples(moments, source, target)
    z, p = fisher(r, effective, moments.prepared.removed + controlled)
    adjusted, about = judged(setting, p)
    return {"z": z, "p": p, "p_adjusted": adjusted, "effective_n": effective}, about


def judged(setting: Setting, p: Matrix, n_tests: int | None = None) -> tuple[Matrix, dict[str, Any]]:
    """Adjusted p-values, and how dense the graph is at the level; tests that are not listed count as p = 1."""
    adjusted = adjust(p, setting.correction, n_tests)
    found = int((adjusted <= setting.level).sum())
    return adjusted, {
        "samples": setting.samples,
        "level": setting.level,
        "correction": setting.correction,
        "significant_edges": found,
        "density": found / max(n_tests or len(p), 1),
    }
