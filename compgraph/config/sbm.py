"""Section ``sbm``: stochastic block models of graphs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph.config.base import GraphEntry, Positive, Seed


class Sbm(GraphEntry):
    """One fitted block model per graph."""

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
    degree_corrected: bool | Literal["auto"] = Field(
        "auto", description="Correct for the degrees of nodes: true, false, or auto (what describes the graph shorter)."
    )
    n_runs: Positive = Field(3, description="Fits from different seeds; the shortest description is kept.")
    standardise: bool | Literal["scores"] = Field(
        True, description="Weights to mean 0 and deviation 1; scores: to normal scores; false: as they are."
    )
    constraint: Literal["auto", "layers", "none"] = Field(
        "auto", description="Where edges can be: layers (what the architecture allows), none, or auto."
    )
    n_blocks: Positive | None = Field(None, description="Fit exactly so many blocks; the fit decides if not given.")
    odds: Annotated[float, Field(ge=1.0)] = Field(
        100.0, description="Several blocks only if they are so many times more probable than one."
    )
    effort: Positive = Field(1, description="Multiplies sweeps and starts.")
    engine: Literal["auto", "dense", "graph-tool"] = Field(
        "auto", description="Search by matrices, refined by graph-tool (dense), by graph-tool alone, or what fits."
    )
    seed: Seed = Field(0, description="Seed of all fits.")
