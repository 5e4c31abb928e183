"""Results that belong to no model of the study: what is found where the truth is known. Each is made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compgraph import catalogue
from compgraph.config.results import Result

if TYPE_CHECKING:
    from compgraph.config.config import Config

STRUCTURES, WIRING, GROUND_TRUTH = "structures", "wiring", "ground-truth"
STAGES = (STRUCTURES, WIRING, GROUND_TRUTH)
DRAWN_AS = {STRUCTURES: "sbm-structures", WIRING: "node-vs-edge", GROUND_TRUTH: "ground-truth"}


def results_of_no_model(config: Config) -> list[Result]:
    """Those that the study asks for: by name among its figures, or beside results of its own that they explain.

    Generated graphs beside block models, a small perceptron beside both kinds of ablation, and compiled networks where
    methods are named for them.
    """
    explained = {
        STRUCTURES: bool(config.sbm),
        WIRING: len({entry.ablation for entry in config.ablation.values()}) > 1,
        GROUND_TRUTH: bool(config.ground_truth.methods),
    }
    draw = config.figures.draw
    return [
        Result(stage, stage, "all", "examples")
        for stage in STAGES
        if (explained[stage] if draw == "all" or stage == GROUND_TRUTH else DRAWN_AS[stage] in draw)
        and not catalogue.missing(catalogue.STAGES[stage])
    ]
