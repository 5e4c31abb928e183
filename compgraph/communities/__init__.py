"""Structure of graphs: communities by modularity, blocks by stochastic block models, agreement of partitions.

Importing this package needs neither graph-tool nor igraph; each is imported where it is used.
"""

from compgraph.communities.agreement import (
    adjusted_mutual_information,
    adjusted_rand,
    compare_partitions,
    element_centric,
    variation_of_information,
)
from compgraph.communities.block_model import BlockModel
from compgraph.communities.blocks.predict import EdgePrediction, predict_edges
from compgraph.communities.blocks.sample import BlockSample, sample_blocks
from compgraph.communities.find import find_communities
from compgraph.communities.over_time import CommunitiesOverTime, communities_over_time
from compgraph.communities.result import Communities
from compgraph.communities.sbm import fit_sbm
from compgraph.communities.sweep import resolution_sweep

__all__ = [
    "BlockModel",
    "BlockSample",
    "Communities",
    "CommunitiesOverTime",
    "EdgePrediction",
    "adjusted_mutual_information",
    "adjusted_rand",
    "communities_over_time",
    "compare_partitions",
    "element_centric",
    "find_communities",
    "fit_sbm",
    "predict_edges",
    "resolution_sweep",
    "sample_blocks",
    "variation_of_information",
]
