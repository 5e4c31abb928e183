"""Interactive pages: one for every effective graph whose circuits were run, and what each page shows beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from compgraph.config.results import GRAPH_STAGES, Result

if TYPE_CHECKING:
    from compgraph.config.fan_out import FanOut

STAGE, NAME = "explore", "page"
ABOUT_GRAPHS = ("evaluation", "sbm", "communities")
ABOUT_PLACES = ("activations", "attributions", "rois")


def results_of_pages(study: FanOut, made: Iterable[Result]) -> Iterator[Result]:
    """The pages of a study, at the checkpoints that figures are drawn for."""
    if not study.config.report.explore:
        return
    run = dict.fromkeys(
        (one.model, one.checkpoint, one.dataset, one.graph) for one in made if one.stage == "evaluation"
    )
    for model, checkpoint, dataset, graph in run:
        if checkpoint in study.checkpoints_for(study.config.figures, model):
            yield Result(STAGE, NAME, model, checkpoint, dataset, graph)


def graph_of(page: Result) -> Result:
    """The graph that a page is about."""
    stage, _, name = page.graph.partition(".")
    return Result(stage, name, page.model, page.checkpoint, page.dataset)


def shown_beside(study: FanOut, page: Result) -> list[Result]:
    """What a page shows beside its graph, in the order of the study.

    The model and the dataset; other graphs of the model over the same parts, of any kind and checkpoint; curves, blocks
    and communities of these; regions, activations and attributions of the graph's own place.
    """
    main = graph_of(page)
    parts = getattr(study.entries(main.stage)[main.name], "partition", None)
    graphs = {
        one
        for one in study.results()
        if one.stage in GRAPH_STAGES
        and (one.model, one.dataset) in {(page.model, page.dataset), (page.model, "")}
        and getattr(study.entries(one.stage)[one.name], "partition", None) == parts
    }
    keys = {(one.place, f"{one.stage}.{one.name}") for one in graphs}

    def shown(one: Result) -> bool:
        if one.stage in GRAPH_STAGES:
            return one in graphs and one != main
        if one.stage in ABOUT_GRAPHS:
            return (one.place, one.graph) in keys
        if one.stage in ABOUT_PLACES:
            return one.place == page.place
        return (one.stage == "model" and (one.model, one.checkpoint) == (page.model, page.checkpoint)) or (
            one.stage == "data" and (one.model, one.dataset) == (page.model, page.dataset)
        )

    return [one for one in study.results() if shown(one)]
