"""Section ``figures``: which results are drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import Section, Words, one_of

Figure = Annotated[str, one_of(catalogue.FIGURES, "figure")]


class Figures(Section):
    """Every named figure is drawn for every result of its stage."""

    draw: list[Figure] = Field(list(catalogue.FIGURES), description="Figures to draw.")
    checkpoints: Literal["all", "last"] | Words = Field("last", description="Checkpoints to draw.")
