"""Everything that can be named in a config file, and the module that holds it.

Adding a task, a method, a metric, a figure or a stage is one file and one entry here. The tables are plain data
so that the config, the Snakefile and ``compgraph --help`` can read them without importing the libraries behind them.
"""

from __future__ import annotations

from compgraph.catalogue.circuits import SELECTIONS, SPARSIFICATIONS, TESTS
from compgraph.catalogue.effective import EFFECTIVE
from compgraph.catalogue.entries import (
    BOTH,
    COSTS,
    SEQUENTIAL,
    TRANSFORMER,
    Entry,
    Option,
    Table,
    load,
    load_cost,
    missing,
    only_clean,
    settings_of,
)
from compgraph.catalogue.graphs import ATTRIBUTIONS, FUNCTIONAL, STRUCTURAL
from compgraph.catalogue.inputs import BASELINES, FAMILIES, METRICS, TASKS
from compgraph.catalogue.stages import FIGURES, SECTIONS, STAGES
from compgraph.catalogue.structure import COMMUNITIES, NULLS, STATISTICS
from compgraph.catalogue.units import DICTIONARIES, ROIS

__all__ = [
    "ATTRIBUTIONS",
    "BASELINES",
    "BOTH",
    "COMMUNITIES",
    "COSTS",
    "DICTIONARIES",
    "EFFECTIVE",
    "FAMILIES",
    "FIGURES",
    "FUNCTIONAL",
    "METRICS",
    "NULLS",
    "ROIS",
    "SECTIONS",
    "SELECTIONS",
    "SEQUENTIAL",
    "SPARSIFICATIONS",
    "STAGES",
    "STATISTICS",
    "STRUCTURAL",
    "TASKS",
    "TESTS",
    "TRANSFORMER",
    "Entry",
    "Option",
    "Table",
    "load",
    "load_cost",
    "missing",
    "only_clean",
    "settings_of",
]
