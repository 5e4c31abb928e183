"""Train a model from its recipe and hand out its checkpoints on the way.

    for checkpoint in train(recipe, material):
        checkpoint.save(folder)

Training runs on the processor with a fixed number of threads and deterministic algorithms, so that the same recipe
gives the same bytes in every checkpoint on the same machine and versions. The caller's random state, thread count
and settings are untouched, also between checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from compgraph import progress, tables
from compgraph.errors import ModelError
from compgraph.models.recipes import ImageRecipe, Recipe, TransformerRecipe
from compgraph.models.training_images import ImageLearner, TrainingImages
from compgraph.models.training_text import TextLearner, TrainingText

if TYPE_CHECKING:
    import pandas as pd

LOG = "training.parquet"
"""The training log beside each checkpoint: rows of the steps below up to its own, and one of its own."""

N_LOGGED = 16
"""Steps, evenly spaced in their logarithm, at which held-out examples are scored, whatever checkpoints are kept."""

FINAL_RATE = 0.1
BETAS = (0.9, 0.98)
MAX_GRADIENT = 1.0


class Learner(Protocol):
    """A model in training, with its data."""

    @property
    def model(self) -> nn.Module: ...

    def loss(self) -> Tensor:
        """Loss of the next batch, differentiable."""
        ...

    def evaluate(self) -> list[dict[str, Any]]:
        """One row per task: `task`, and on held-out examples `loss`, `accuracy`, `probability` of right answers."""
        ...

    def save(self, folder: Path, account: dict[str, Any]) -> None:
        """Write the model as it is now."""
        ...


Row = dict[str, Any]
"""A row of the training log."""


@dataclass
class _Run:
    """A training run as it is now."""

    recipe: Recipe
    learner: Learner
    step: int = 0
    rows: list[Row] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run at one step.

    It holds no copy of the weights: save it before the next one is asked for.

    Attributes
    ----------
    step
        Optimiser steps done.
    last
        Whether this is the end.
    accuracy
        Task -> accuracy on held-out examples.
    warnings
        What a reader of the result should know (a missed target).
    """

    step: int
    last: bool
    accuracy: dict[str, float]
    warnings: list[str]
    _run: _Run = field(repr=False)
    _scores: list[Row] = field(repr=False)

    @property
    def log(self) -> pd.DataFrame:
        """Rows up to this step: step, task, held-out loss, accuracy and probability of the right answers, and the
        mean loss in training since the scored step before (NaN at step 0)."""
        import pandas as pd

        return pd.DataFrame([*(row for row in self._run.rows if row["step"] < self.step), *self._scores])

    def save(self, folder: str | Path) -> None:
        """Write model, tokenizer (transformers) and `training.parquet` into a folder (made if missing).

        Raises
        ------
        ValueError
            If training has gone on since.
        """
        if self._run.step != self.step:
            raise ValueError(f"training has gone on from step {self.step} to {self._run.step}; save before that")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Which other checkpoints are kept says nothing about this one: its bytes stay when one is added.
        recipe = {name: value for name, value in asdict(self._run.recipe).items() if name != "checkpoints"}
        self._run.learner.save(folder, {"recipe": recipe, "step": self.step})
        tables.write_table(self.log, folder / LOG)


def train(recipe: Recipe, material: TrainingText | TrainingImages) -> Iterator[Checkpoint]:
    """Train, and yield each checkpoint when its step is reached.

    Parameters
    ----------
    recipe
        A `TransformerRecipe` or an `ImageRecipe`.
    material
        The data that the recipe names (`compgraph.data.training_data.training_data`).

    Yields
    ------
    Checkpoint

    Raises
    ------
    ModelError
        The loss is no longer a number, or a task misses the recipe's target in the end (before the last checkpoint
        is yielded).
    """
    workshop = _Workshop(recipe)
    with workshop:
        run = _Run(recipe, _learner(recipe, material))
        optimiser = _optimiser(run.learner.model, recipe)
    logged = {0, *np.geomspace(1, recipe.steps, N_LOGGED).round().astype(int).tolist()}
    with progress.progress("training", recipe.steps, "steps") as bar:
        for step in range(recipe.steps + 1):
            run.step = step
            if step in logged or step in recipe.checkpoints:
                with workshop:
                    scores = _scores(run)
                bar.describe(_describe(scores))
                if step in logged:
                    run.rows += scores
                    run.losses.clear()
                if step in recipe.checkpoints:
                    yield _checkpoint(run, scores)
            if step < recipe.steps:
                with workshop:
                    run.losses.append(_advance(run, optimiser))
                bar.advance()


def _learner(recipe: Recipe, material: TrainingText | TrainingImages) -> Learner:
    if isinstance(recipe, TransformerRecipe) and isinstance(material, TrainingText):
        return TextLearner(recipe, material)
    if isinstance(recipe, ImageRecipe) and isinstance(material, TrainingImages):
        return ImageLearner(recipe, material)
    raise TypeError(f"a {type(recipe).__name__} cannot be trained on {type(material).__name__}")


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=BETAS)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Rate of the step that follows `step` steps: linear warm-up, then a cosine down to a tenth of the peak."""
    rise = min(1.0, (step + 1) / (recipe.warmup + 1))
    fall = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    return recipe.learning_rate * rise * (FINAL_RATE + (1 - FINAL_RATE) * fall)


def _advance(run: _Run, optimiser: torch.optim.Optimizer) -> float:
    """One optimiser step; its loss."""
    recipe, model = run.recipe, run.learner.model
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(recipe, run.step)
    model.train()
    loss = run.learner.loss()
    value = loss.item()
    if not math.isfinite(value):
        raise ModelError(
            f"training diverged: the loss is {value} at step {run.step + 1}; lower learning_rate "
            f"({recipe.learning_rate}) or raise warmup ({recipe.warmup})"
        )
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT)
    optimiser.step()
    return value


def _scores(run: _Run) -> list[Row]:
    """Score the held-out examples; one row a task."""
    training_loss = float(np.mean(run.losses)) if run.losses else math.nan
    return [{"step": run.step, **row, "training_loss": training_loss} for row in run.learner.evaluate()]


def _accuracy(scores: list[Row]) -> dict[str, float]:
    """Task -> accuracy."""
    return {row["task"]: row["accuracy"] for row in scores}


def _checkpoint(run: _Run, scores: list[Row]) -> Checkpoint:
    recipe, accuracy = run.recipe, _accuracy(scores)
    last = run.step == recipe.steps
    warnings = _missed(recipe, accuracy) if last else []
    if warnings and recipe.on_miss == "error":
        raise ModelError(f"{warnings[0]}; raise steps or change learning_rate, or set on_miss to warn")
    return Checkpoint(run.step, last, accuracy, warnings, run, scores)


def _missed(recipe: Recipe, accuracy: dict[str, float]) -> list[str]:
    target = recipe.target_accuracy
    return [
        f"accuracy on held-out items of {task} is {value:.3f} after {recipe.steps} steps, below the target of {target}"
        for task, value in accuracy.items()
        if target is not None and value < target
    ]


def _describe(scores: list[Row]) -> str:
    return f"training ({', '.join(f'{task} {100 * value:.0f} %' for task, value in _accuracy(scores).items())})"


class _Workshop:
    """A place with its own random state, thread count and deterministic algorithms; the outside is left as it was."""

    def __init__(self, recipe: Recipe) -> None:
        self.threads = recipe.threads
        self._inside = torch.Generator().manual_seed(recipe.seed).get_state()

    def __enter__(self) -> None:
        self._outside = (
            torch.get_rng_state(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        torch.set_rng_state(self._inside)
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(True)

    def __exit__(self, *error: object) -> None:
        self._inside = torch.get_rng_state()
        state, threads, deterministic, warn_only = self._outside
        torch.set_rng_state(state)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
