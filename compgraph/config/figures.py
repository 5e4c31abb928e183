"""Section ``figures``: which results are drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import Section, Words, one_of

Figure = Annotated[str, one_of(catalogue.FIGURES, "figure")]


class Figures(Section):
    """Every named figure is drawn for every result of its stage."""

    draw: Literal["all"] | list[Figure] = Field("all", description="Figures to draw: all, or a list of names.")
    checkpoints: Literal["all", "last"] | Words = Field("last", description="Checkpoints to draw.")

    @property
    def names(self) -> list[str]:
        """The figures to draw, in order."""
        return list(catalogue.FIGURES) if self.draw == "all" else list(self.draw)
