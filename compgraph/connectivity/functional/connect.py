"""The library call for functional graphs of any method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from compgraph import catalogue
from compgraph.connectivity.functional.recordings import Recording
from compgraph.connectivity.functional.setting import Setting
from compgraph.errors import ConfigError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition

SHARED = tuple(field.name for field in fields(Setting) if field.name not in ("buffers", "partition"))
"""Options of every method."""


def functional_connectivity(
    buffers: Recording | Sequence[Recording], partition: Partition, method: str = "pearson", **options: Any
) -> ComputationalGraph:
    """Undirected graph of what varies together in recorded activations or attributions.

    Parameters
    ----------
    buffers
        A buffer (`compgraph.open_buffer`, `compgraph.node_attributions`), or several of one network, pooled.
    partition
        The nodes; sites that were not recorded have none.
    method
        A name of `compgraph.catalogue.FUNCTIONAL`.
    options
        Of all methods: `sites`, `positions`, `confounds`, `part`, `by`, `winsorise`, `samples`, `level`, `correction`,
        `threshold`, `max_lag` (`compgraph.connectivity.functional.setting.Setting`). And those of the method.

    Returns
    -------
    ComputationalGraph
        Undirected, kind `functional`; pairs i < j row by row. Methods with a test add the columns `z`, `p`,
        `p_adjusted` and `effective_n` (`significance`). Attributes: `method`, `rows` (samples behind every weight),
        `sites`, `sites_not_recorded`, `constant_units` (site -> how many units do not vary; they are dead in the
        graph's partition), `heavy_tailed_units`, `excluded_nodes` (names of nodes without a varying signal), the level,
        the number of edges significant at it and the density that they have; what was regressed out, clipped or ranked.

    Raises
    ------
    ConfigError
        If there is no such method or option.
    GraphError
        If partition and buffer are of different models.
    DataError
        If sites were not recorded, buffers disagree, there are too few rows, fewer than two nodes vary, values are not
        finite, a choice is out of range, or the result does not fit into memory.
    """
    if method not in catalogue.FUNCTIONAL:
        raise ConfigError(f"functional method {method!r} is not known; valid are {', '.join(catalogue.FUNCTIONAL)}")
    entry = catalogue.FUNCTIONAL[method]
    own = [*(option.name for option in entry.options), *entry.arguments]
    for name in options:
        if name not in (*own, *SHARED):
            raise ConfigError(
                f"functional method {method!r} has no option {name!r}; valid are {', '.join([*own, *SHARED])}"
            )
    setting = Setting(buffers, partition, **{name: options[name] for name in SHARED if name in options})
    chosen = {name: options[name] for name in own if name in options}
    graph: ComputationalGraph = catalogue.load(entry)(setting, **chosen)
    return graph
