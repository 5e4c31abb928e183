"""What is known of a network at one checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compgraph.communities.block_model import BlockModel
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class CommunityFit:
    """Communities of a graph, as far as they are followed.

    Attributes
    ----------
    n
        Number of communities.
    quality, null_mean, null_low, null_high
        Quality of one search, and of the same search in null graphs (mean, central 95 %); NaN where it was not
        compared.
    labels
        Node -> community; -1: none.
    """

    n: int
    quality: float
    null_mean: float
    null_low: float
    null_high: float
    labels: Mapping[str, int]


@dataclass(frozen=True)
class Snapshot:
    """Results of several stages at one checkpoint, each under the name of its series.

    Attributes
    ----------
    step
        Training step.
    graphs
        Graphs by name (`effective.heads`).
    curves
        Tables of faithfulness (`compgraph.faithfulness`), by `runs@graph`.
    blocks, communities, statistics
        Block models, communities and tables of network statistics, by `entry@graph`.
    regions
        Divisions into regions, by entry.
    separability
        Tables of one row (`Separability.to_table`), by `entry@graph`.
    """

    step: int
    graphs: Mapping[str, ComputationalGraph] = field(default_factory=dict)
    curves: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    blocks: Mapping[str, BlockModel] = field(default_factory=dict)
    communities: Mapping[str, CommunityFit] = field(default_factory=dict)
    statistics: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    regions: Mapping[str, Partition] = field(default_factory=dict)
    separability: Mapping[str, pd.DataFrame] = field(default_factory=dict)
