"""Section ``sbm``: stochastic block models of graphs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from compgraph.config.base import GraphEntry, Positive, Seed


class Sbm(GraphEntry):
    """One fitted block model per graph, or of several graphs as layers of one."""

    nested: bool | Literal["always"] = Field(
        True, description="A hierarchy of blocks: true if it pays for itself, false never, always whatever it costs."
    )
    weights: Literal[
        "real-normal",
        "real-exponential",
        "discrete-geometric",
        "discrete-poisson",
        "discrete-binomial",
        "none",
    ] = Field("real-normal", description="Distribution of the edge weights; none: only the presence of edges.")
    signs: bool = Field(False, description="Whether a weight is positive, as a second weight beside its size.")
    layers: Literal["none", "channels", "graphs", "datasets"] = Field(
        "none",
        description="What shares its blocks as layers: the channels of a graph (channels), all its graphs at a place "
        "(graphs), or at a checkpoint (datasets).",
    )
    structure: Literal["any", "assortative", "core-periphery", "ordered", "overlapping", "select"] = Field(
        "any", description="Blocks of any structure, of one, or of the one with the shortest description (select)."
    )
    degree_corrected: bool | Literal["auto"] = Field(
        "auto", description="Correct for the degrees of nodes: true, false, or auto (what describes the graph shorter)."
    )
    n_runs: Positive = Field(3, description="Fits from different seeds; the shortest description is kept.")
    standardise: bool | Literal["scores"] = Field(
        True, description="Weights to mean 0 and deviation 1; scores: to normal scores; false: as they are."
    )
    constraint: Literal["auto", "layers", "levels", "bipartite", "none"] = Field(
        "auto",
        description="Where edges can be: as the architecture allows (layers), with blocks in one level each (levels) "
        "or on one side each (bipartite), none, or auto.",
    )
    n_blocks: Positive | None = Field(None, description="Fit exactly so many blocks; the fit decides if not given.")
    odds: Annotated[float, Field(ge=1.0)] = Field(
        100.0, description="Several blocks only if they are so many times more probable than one."
    )
    effort: Positive = Field(1, description="Multiplies sweeps and starts.")
    engine: Literal["auto", "dense", "graph-tool"] = Field(
        "auto", description="Search by matrices, refined by graph-tool (dense), by graph-tool alone, or what fits."
    )
    moves: Literal["greedy", "annealed"] = Field(
        "greedy", description="Nodes move where it gains, or uphill too at a falling temperature (engine: dense)."
    )
    n_samples: Annotated[int, Field(ge=0)] = Field(
        0, description="Partitions drawn from the posterior, of each of two chains, for marginals; 0: none."
    )
    thin: Positive = Field(5, description="Sweeps from one drawn partition to the next.")
    n_folds: Annotated[int, Field(ge=0)] = Field(
        0, description="Folds in which edges are held out and predicted; 0: none."
    )
    seed: Seed = Field(0, description="Seed of all fits.")

    @property
    def joined(self) -> bool:
        """Whether several graphs are read as layers of one."""
        return self.layers in ("graphs", "datasets")

    @model_validator(mode="after")
    def _together(self) -> Sbm:
        for wrong, why in (
            (self.signs and self.weights == "none", "signs: true goes with a distribution of weights, not with none"),
            (
                self.structure != "any" and self.weights != "none",
                f"structure: {self.structure} explains the presence of edges alone, so it needs weights: none",
            ),
            (
                self.structure not in ("any", "select") and self.n_samples > 0,
                f"n_samples draws from blocks of any structure, not from structure: {self.structure}",
            ),
            (self.structure != "any" and self.n_blocks is not None, "n_blocks is for structure: any"),
            (
                self.structure != "any" and self.layers != "none",
                f"structure: {self.structure} is of one layer, so it needs layers: none",
            ),
            (
                self.n_blocks is not None and self.constraint in ("levels", "bipartite"),
                f"n_blocks and constraint: {self.constraint} cannot be met together",
            ),
            (self.layers != "none" and self.constraint == "bipartite", "constraint: bipartite is for layers: none"),
            (self.layers == "graphs" and len(self.graphs or ()) < 2, "layers: graphs needs at least two in graphs"),
            (self.n_folds == 1, "n_folds is 1, and edges cannot be held out of one fold; at least 2, or 0 for none"),
        ):
            if wrong:
                raise PydanticCustomError("rule", "{why}", {"why": why})
        return self
