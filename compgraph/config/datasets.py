"""Section ``datasets``: what models are looked at with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from compgraph.config.base import ImageSize, Options, Positive, Section, Seed, Words, listing, union
from compgraph.config.models import Task


class Dataset(Section):
    """What all datasets share."""

    models: Words | None = Field(None, description="Models to look at with it; all that can read it if not given.")
    seed: Seed = Field(0, description="Seed of the choice of items and of their split.")
    on_request: bool = Field(False, description="Left out where an entry applies to all datasets; only for some named.")


class PromptData(Dataset):
    """What prompts made from tasks share."""

    n: Positive = Field(256, description="Prompts in all.")
    split: Literal["train", "test"] | None = Field(None, description="Only prompts of this split: train or test.")


class TaskData(PromptData):
    """Prompts of one task, each with its counterfactual."""

    kind: Literal["task"] = Field("task", description="Prompts of one task.")
    task: Task = Field(..., description="The task.")
    options: Options = Field({}, description="Options of the task, such as {length: 8} for induction.")


class MixtureData(PromptData):
    """Prompts of several tasks together, the task of each kept as its label."""

    kind: Literal["mixture"] = Field("mixture", description="Prompts of several tasks.")
    tasks: listing(Task) = Field(..., description="The tasks, in equal parts.")  # type: ignore[valid-type]
    options: Options = Field({}, description="Options of the tasks, such as {induction.length: 8}.")


class PairsData(Dataset):
    """Prompt pairs from a file."""

    kind: Literal["pairs"] = Field("pairs", description="Pairs from a JSONL, JSON or CSV file.")
    path: str = Field(..., min_length=1, description="The file.")
    columns: dict[str, str] | None = Field(
        None, description="Which column holds what: clean, corrupted, answer, distractor, task, id; or preset."
    )
    n: Positive | None = Field(None, description="Pairs to take; all if not given.")


class TextData(Dataset):
    """A text cut into windows of equal length; no counterfactuals."""

    kind: Literal["text"] = Field("text", description="Windows of a text file or of a Hugging Face dataset.")
    path: str = Field(..., min_length=1, description="The file, or the name of a dataset.")
    length: Positive = Field(64, description="Tokens a window.")
    n: Positive = Field(256, description="Windows.")


class ImageData(Dataset):
    """Images, each with an image of another class as its counterfactual."""

    kind: Literal["images"] = Field("images", description="Images with labels.")
    images: Literal["digits", "mnist", "cifar10", "folder"] = Field("digits", description="Where they come from.")
    path: str | None = Field(None, description="The folder of the image files (not needed for digits).")
    split: Literal["train", "test"] = Field("test", description="Which part of them.")
    n: Positive = Field(256, description="Images.")
    size: ImageSize | None = Field(None, description="Height and width to resize the images of a folder to.")


DATASET_KINDS: dict[str, type[Dataset]] = {
    "task": TaskData,
    "mixture": MixtureData,
    "pairs": PairsData,
    "text": TextData,
    "images": ImageData,
}


def _tag(entry: dict[str, Any]) -> Any:
    return entry.get("kind")


Data = union(DATASET_KINDS, _tag)
AnyData = TaskData | MixtureData | PairsData | TextData | ImageData


def options_by_task(tasks: list[str], options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Options such as ``induction.length`` as a mapping from task to its own options.

    A list of words is written with ``+`` between them.
    """
    found: dict[str, dict[str, Any]] = {task: {} for task in tasks}
    for name, value in options.items():
        task, _, option = name.rpartition(".")
        found[task][option] = words_of(value)
    return found


def words_of(value: Any) -> Any:
    """The value of a task's option: ``red+green`` is a list of words."""
    return value.split("+") if isinstance(value, str) and "+" in value else value
