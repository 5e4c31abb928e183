"""How a model is trained, as plain values. Torch-free, checked on construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from compgraph.errors import ModelError
from compgraph.models.layers import Layer, parse_layers, stages

FAMILIES = ("gpt2", "gpt_neox", "llama", "mistral", "qwen3", "gemma2")
"""Families of transformers that can be trained from nothing. Qwen 2 is not among them: `transformers` opens whatever
tokenizer lies beside such a model as Qwen's own, which a tokenizer of whole words is not."""

Tasks = Sequence[str] | Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all recipes share.

    Attributes
    ----------
    steps
        Optimiser steps.
    batch_size
        Examples a step.
    learning_rate
        Peak rate of AdamW: it rises linearly over `warmup` steps, then falls as a cosine to a tenth.
    weight_decay
        Decay of weight matrices (not of biases and gains).
    seed
        Of the initial weights, the order of the data and dropout.
    checkpoints
        Rising steps whose weights are kept; 0 is the untrained network. The last step must be one of them.
    target_accuracy
        Accuracy on held-out examples that every task must reach in the end; None for no target.
    on_miss
        What happens if it is missed: an error, or a warning kept with the last checkpoint.
    threads
        Threads of the processor; the same number gives the same bytes.
    """

    steps: int
    batch_size: int = 96
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup: int = 50
    seed: int = 0
    checkpoints: tuple[int, ...] = ()
    target_accuracy: float | None = None
    on_miss: Literal["error", "warn"] = "error"
    threads: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "checkpoints", tuple(self.checkpoints) or (0, self.steps))
        for name in ("steps", "batch_size", "threads"):
            _positive(name, getattr(self, name))
        if not self.learning_rate > 0:
            raise ModelError(f"learning_rate is {self.learning_rate}; it must be above 0")
        if self.weight_decay < 0 or self.warmup < 0 or self.seed < 0:
            raise ModelError("weight_decay, warmup and seed must not be below 0")
        rising = all(a < b for a, b in zip(self.checkpoints, self.checkpoints[1:], strict=False))
        if not rising or self.checkpoints[0] < 0 or self.checkpoints[-1] != self.steps:
            raise ModelError(
                f"checkpoints are {list(self.checkpoints)}; they must be rising steps of which the last is steps "
                f"({self.steps})"
            )
        if self.target_accuracy is not None and not 0 <= self.target_accuracy <= 1:
            raise ModelError(f"target_accuracy is {self.target_accuracy}; it must lie between 0 and 1")
        if self.on_miss not in ("error", "warn"):
            raise ModelError(f"on_miss is {self.on_miss!r}; it must be 'error' or 'warn'")


@dataclass(frozen=True, kw_only=True)
class TransformerRecipe(Recipe):
    """A small decoder-only transformer, trained on a mixture of tasks.

    Attributes
    ----------
    tasks
        Names of tasks in equal parts, or label -> options with an optional `share`
        (`compgraph.data.mixture`).
    family
        A family of `transformers` (`FAMILIES`).
    layers, heads, kv_heads, width, neurons
        Blocks; attention heads a block; heads of keys and values (None: as many; grouped only where the family
        can); width of the residual stream; MLP neurons a block.
    context_length
        Longest sequence that the model can read.
    context_weight
        Weight of the loss of predicting the prompt's own tokens, beside the answer's (see
        `compgraph.models.training_text`).
    initial_scale
        Standard deviation of the initial weights.
    held_out
        Held-out items of each task on which accuracy is measured.
    test_share
        Share of all items that are never trained on. In a task with few items, a large share makes learning by
        heart and learning the rule come apart (grokking).
    """

    tasks: Tasks
    family: str = "gpt_neox"
    layers: int = 3
    heads: int = 4
    kv_heads: int | None = None
    width: int = 64
    neurons: int = 128
    context_length: int = 64
    context_weight: float = 0.3
    initial_scale: float = 0.08
    held_out: int = 256
    test_share: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.tasks, str) or not self.tasks:
            raise ModelError(f"tasks is {self.tasks!r}; it must name at least one task, in a list")
        if self.family not in FAMILIES:
            raise ModelError(f"family is {self.family!r}; it must be one of {', '.join(FAMILIES)}")
        for name in ("layers", "heads", "width", "neurons", "context_length", "held_out"):
            _positive(name, getattr(self, name))
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ModelError(f"width ({self.width}) must be an even multiple of heads ({self.heads})")
        if self.kv_heads is not None and (self.kv_heads < 1 or self.heads % self.kv_heads):
            raise ModelError(f"kv_heads is {self.kv_heads}; it must divide heads ({self.heads})")
        if self.kv_heads not in (None, self.heads) and self.family in ("gpt2", "gpt_neox"):
            raise ModelError(f"kv_heads is {self.kv_heads}, but {self.family} has no grouped keys and values")
        if self.context_weight < 0 or not self.initial_scale > 0:
            raise ModelError("context_weight must not be below 0, and initial_scale must be above 0")
        if not 0 < self.test_share < 1:
            raise ModelError(f"test_share is {self.test_share}; it must be above 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class ImageRecipe(Recipe):
    """A chain (CNN, MLP), trained to classify images.

    Attributes
    ----------
    images, path, test_fraction
        The source of images (`compgraph.data.images.load_images`), its folder, and the share of each class that is
        held out where the source has no test set of its own.
    architecture
        `cnn`: 3 x 3 convolutions of `channels` each with ReLU and 2 x 2 max-pooling, then linear layers of `hidden`
        neurons with ReLU; `mlp`: the linear layers alone; `layers`: as `layers` says.
    layers
        A description (`compgraph.models.layers`) that ends in one logit per class.
    """

    images: str = "digits"
    path: str | None = None
    size: tuple[int, int] | None = None
    test_fraction: float = 0.25
    normalise: bool = False
    architecture: Literal["cnn", "mlp", "layers"] = "cnn"
    channels: tuple[int, ...] = (8, 16)
    hidden: tuple[int, ...] = (32,)
    layers: tuple[Layer, ...] = field(default=())

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("channels", "hidden"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            for value in values:
                _positive(name, value)
        if self.architecture not in ("cnn", "mlp", "layers"):
            raise ModelError(f"architecture is {self.architecture!r}; it must be cnn, mlp or layers")
        object.__setattr__(self, "layers", tuple(parse_layers(self.layers)) if self.layers else ())
        if bool(self.layers) != (self.architecture == "layers"):
            raise ModelError("layers must be given with architecture 'layers', and only then")

    def description(self, n_classes: int, input_shape: tuple[int, ...]) -> list[Layer]:
        """The layers of the chain.

        Raises
        ------
        ModelError
            If they do not fit images of that shape (too many poolings), or do not end in `n_classes` logits.
        """
        if self.architecture == "layers":
            found = list(self.layers)
        else:
            channels = self.channels if self.architecture == "cnn" else ()
            found = parse_layers(chain_layers(channels, self.hidden, n_classes))
        last = stages(found, input_shape)[-1].shape[0]
        if last != n_classes:
            raise ModelError(f"layers end in {last} logits, but {self.images} has {n_classes} classes")
        return found


def chain_layers(channels: Sequence[int], hidden: Sequence[int], n_classes: int) -> list[Layer]:
    """Description of a CNN (3 x 3 convolution, ReLU, 2 x 2 max-pooling; linear, ReLU) or, without channels, an MLP."""
    found: list[Layer] = []
    for n_channels in channels:
        found.append({"type": "conv", "channels": n_channels, "kernel": 3, "padding": 1})
        found += [{"type": "relu"}, {"type": "max-pool", "kernel": 2}]
    found.append({"type": "flatten"})
    for features in hidden:
        found += [{"type": "linear", "features": features}, {"type": "relu"}]
    return [*found, {"type": "linear", "features": n_classes}]


def recipe_from(values: Mapping[str, Any]) -> TransformerRecipe | ImageRecipe:
    """The recipe of a mapping such as a config entry: `architecture` chooses the kind, `source` is not read.

    Raises
    ------
    ModelError
        For an unknown or missing field, or a value that is not valid.
    """
    given = {name: value for name, value in values.items() if name != "source"}
    architecture = given.get("architecture")
    if architecture == "transformer":
        kind: type[TransformerRecipe] | type[ImageRecipe] = TransformerRecipe
        given.pop("architecture")
    elif architecture in ("cnn", "mlp", "layers"):
        kind = ImageRecipe
    else:
        raise ModelError(f"architecture is {architecture!r}; it must be transformer, cnn, mlp or layers")
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ModelError(f"a recipe of a {architecture} has no field {unknown[0]!r}; valid: {', '.join(sorted(known))}")
    missing = [name for name in ("steps", *(["tasks"] if kind is TransformerRecipe else [])) if name not in given]
    if missing:
        raise ModelError(f"a recipe of a {architecture} needs {missing[0]}")
    return kind(**given)


def _positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(f"{name} is {value!r}; it must be a whole number of at least 1")
