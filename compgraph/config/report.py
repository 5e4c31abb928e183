"""Section ``report``: one page for the whole study."""

from __future__ import annotations

from pydantic import Field

from compgraph.config.base import Section


class Report(Section):
    """The page that a run ends with."""

    title: str = Field("Computational graphs", min_length=1, description="Headline of the page.")
    explore: bool = Field(True, description="An interactive page for every effective graph whose circuits were run.")
