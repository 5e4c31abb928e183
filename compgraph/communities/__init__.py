"""Structure of graphs: communities by modularity, blocks by stochastic block models, agreement of partitions.

Importing this package needs neither graph-tool nor igraph; each is imported where it is used.
"""

from compgraph.communities.agreement import (
    adjusted_mutual_information,
    adjusted_rand,
    variation_of_information,
)
from compgraph.communities.block_model import BlockModel
from compgraph.communities.find import find_communities
from compgraph.communities.result import Communities
from compgraph.communities.sbm import fit_sbm

__all__ = [
    "BlockModel",
    "Communities",
    "adjusted_mutual_information",
    "adjusted_rand",
    "find_communities",
    "fit_sbm",
    "variation_of_information",
]
