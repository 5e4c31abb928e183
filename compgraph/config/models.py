"""Section ``models``: networks trained on the spot from a recipe, and pretrained ones from disk or a hub."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from compgraph import catalogue
from compgraph.config.base import ImageSize, Options, Positive, Section, Seed, Words, listing, one_of, union

Task = Annotated[str, one_of(catalogue.TASKS, "task")]
IMAGE_SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
"""Channels, height and width of the images of each source that has images of one size."""


TRAINABLE = ("gpt2", "gpt_neox", "llama", "mistral", "qwen3", "gemma2")
"""Families that can be trained from nothing."""


class Family(Section):
    """What any entry can stand for: several models at once (`compgraph.config.expansion`)."""

    variants: dict[str, dict[str, Any]] | None = Field(
        None, description="Models to make of it, by name: the keys in which each differs ({small: {width: 32}})."
    )


class Training(Family):
    """What all recipes share."""

    source: Literal["trained"] = Field("trained", description="Train it here, from a recipe.")
    steps: Positive = Field(1000, description="Optimiser steps.")
    batch_size: Positive = Field(96, description="Examples a step.")
    learning_rate: float = Field(1e-3, gt=0.0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0.0, description="Weight decay of AdamW.")
    warmup: Annotated[int, Field(ge=0)] = Field(50, description="Steps over which the learning rate rises.")
    seed: Seed = Field(0, description="Seed of initial weights and of the order of the data.")
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = Field(
        None, description="Seeds to train it from, a model each, instead of seed."
    )
    checkpoints: Positive | list[Annotated[int, Field(ge=0)]] = Field(
        6, description="How many checkpoints to keep, spaced evenly in the log of the step, or their steps."
    )
    target_accuracy: Annotated[float, Field(ge=0.0, le=1.0)] | None = Field(
        None, description="Accuracy on held-out examples that every task must reach in the end."
    )
    on_miss: Literal["error", "warn"] = Field("error", description="What happens if it is missed.")

    @model_validator(mode="after")
    def _check_checkpoints(self) -> Training:
        if isinstance(self.checkpoints, list):
            steps = self.checkpoints
            if not steps or sorted(set(steps)) != steps or steps[-1] != self.steps:
                raise PydanticCustomError(
                    "rule",
                    "checkpoints must be rising steps of which the last is steps ({last}); they are {steps}",
                    {"last": self.steps, "steps": str(steps)},
                )
        elif self.checkpoints > self.steps + 1:
            raise PydanticCustomError(
                "rule",
                "checkpoints ({count}) must not be more than steps + 1 ({most})",
                {"count": self.checkpoints, "most": self.steps + 1},
            )
        return self

    def checkpoint_steps(self) -> list[int]:
        """Steps whose weights are kept, rising: the last step is one of them, 0 is the untrained network."""
        return self.checkpoints if isinstance(self.checkpoints, list) else log_steps(self.steps, self.checkpoints)


class TrainedTransformer(Training):
    """A small transformer, trained on a mixture of tasks."""

    architecture: Literal["transformer"] = Field("transformer", description="A decoder-only transformer.")
    tasks: listing(Task) = Field(  # type: ignore[valid-type]
        ..., description="Tasks of the training mixture, in equal parts."
    )
    options: Options = Field({}, description="Options of the tasks, such as {induction.length: 8}.")
    family: Annotated[str, one_of(TRAINABLE, "family")] = Field("gpt_neox", description="Its family.")
    layers: Positive = Field(3, description="Blocks of attention and MLP.")
    heads: Positive = Field(4, description="Attention heads a block.")
    kv_heads: Positive | None = Field(None, description="Heads of keys and values, where fewer than heads.")
    width: Positive = Field(64, description="Width of the residual stream.")
    neurons: Positive = Field(128, description="MLP neurons a block.")
    context_length: Positive = Field(64, description="Longest text in tokens.")
    context_weight: float = Field(0.3, ge=0.0, description="Weight of predicting the prompt, beside the answer.")
    initial_scale: float = Field(0.08, gt=0.0, description="Standard deviation of the initial weights.")
    held_out: Positive = Field(256, description="Held-out prompts of each task to measure accuracy on.")
    test_share: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.2, description="Share of a task's prompts that are never trained on."
    )

    @model_validator(mode="after")
    def _check_heads(self) -> TrainedTransformer:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise PydanticCustomError(
                "rule",
                "width ({width}) must be an even multiple of heads ({heads})",
                {"width": self.width, "heads": self.heads},
            )
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise PydanticCustomError(
                "rule", "kv_heads ({few}) must divide heads ({heads})", {"few": self.kv_heads, "heads": self.heads}
            )
        return self


class TrainedImageModel(Training):
    """What image classifiers share."""

    images: Literal["digits", "mnist", "cifar10", "folder"] = Field("digits", description="Images it is trained on.")
    path: str | None = Field(None, description="Folder of the image files (not needed for digits).")
    size: ImageSize | None = Field(None, description="Height and width to resize the images of a folder to.")
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.25, description="Share of each class held out, where the source has no test set of its own."
    )
    normalise: bool = Field(False, description="Subtract the mean of each channel and divide by its deviation.")


class TrainedCnn(TrainedImageModel):
    """Convolutions (3 x 3, ReLU, 2 x 2 pooling), then linear layers with ReLU."""

    architecture: Literal["cnn"] = Field("cnn", description="A convolutional network.")
    channels: list[Positive] = Field([8, 16], min_length=1, description="Channels of each convolution.")
    hidden: list[Positive] = Field([32], description="Neurons of each linear layer before the classes.")


class TrainedMlp(TrainedImageModel):
    """Linear layers with ReLU."""

    architecture: Literal["mlp"] = Field("mlp", description="A network of linear layers.")
    hidden: list[Positive] = Field([64, 32], min_length=1, description="Neurons of each hidden layer.")


class TrainedLayers(TrainedImageModel):
    """Any chain of layers, described one by one."""

    architecture: Literal["layers"] = Field("layers", description="A chain of your own.")
    layers: list[dict[str, int | float | bool | str | list[int]]] = Field(
        ..., min_length=1, description="The layers, such as {type: conv, channels: 8, kernel: 3}, {type: relu}."
    )


class Pretrained(Family):
    """A model of a supported Hugging Face family."""

    source: Literal["pretrained"] = Field("pretrained", description="Load it.")
    path: str = Field(..., min_length=1, description="A local folder, or the name of a model on the hub.")
    revisions: Words = Field(
        ["main"],
        description="Revisions (branches, tags, commits; of a local model its folders or files): one checkpoint each.",
    )
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = Field(
        "float32", description="Precision to compute in."
    )


MODEL_KINDS: dict[str, type[Section]] = {
    "transformer": TrainedTransformer,
    "cnn": TrainedCnn,
    "mlp": TrainedMlp,
    "layers": TrainedLayers,
    "pretrained": Pretrained,
}


def _tag(entry: dict[str, Any]) -> Any:
    return entry.get("architecture") if entry.get("source") == "trained" else entry.get("source")


Model = union(MODEL_KINDS, _tag)
AnyModel = TrainedTransformer | TrainedCnn | TrainedMlp | TrainedLayers | Pretrained


def log_steps(steps: int, count: int) -> list[int]:
    """Checkpoint steps spaced evenly in log(step), with 0 first and ``steps`` last.

    Parameters
    ----------
    steps : int
        The last step.
    count : int
        How many to return, at most ``steps + 1``; one gives the last step alone.

    Returns
    -------
    list of int
        Rising, without repetition, exactly ``count`` of them.
    """
    if count == 1:
        return [steps]
    chosen = [0]
    for k in range(1, count):
        # Low steps collide after rounding: each is at least one above the one before, and leaves room for the rest.
        ideal = round(steps ** (k / (count - 1)))
        chosen.append(min(max(ideal, chosen[-1] + 1), steps - (count - 1 - k)))
    return chosen


def step_name(step: int) -> str:
    """Name of a training checkpoint: fixed width, so that names sort in the order of training."""
    return f"step-{step:06d}"


def step_of(checkpoint: str) -> int | None:
    """Training step that a checkpoint's name tells, as ``step-000100`` and ``step3000`` do; None if it tells none."""
    found = re.fullmatch(r"(?:step|checkpoint)[-_]?(\d+)", checkpoint)
    return int(found[1]) if found else None


def revision_name(revision: str) -> str:
    """A revision as a folder name: lower case, everything unusual a dash."""
    return re.sub(r"[^a-z0-9._-]+", "-", revision.lower()).strip("-.") or "revision"
