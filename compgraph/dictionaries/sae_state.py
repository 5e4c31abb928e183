"""The state of a training of a sparse autoencoder, and its checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from compgraph.dictionaries.adam import Adam
from compgraph.dictionaries.objectives import Parameters
from compgraph.disk import explained


@dataclass
class Place:
    """Where a training stands in its data: whole passes, pools of this pass, rows of this pool, rows in all."""

    passes: int = 0
    pool: int = 0
    offset: int = 0
    seen: int = 0


@dataclass
class Since:
    """Sums since the last record."""

    rows: int = 0
    squared: float = 0.0
    revived: int = 0


@dataclass
class State:
    """Everything a training needs to go on.

    Attributes
    ----------
    parameters
        Of the objective, trained or not.
    gradients
        Of those that are trained.
    gradient
        The numbers of the gradients, one after the other, as those of the trained parameters are for Adam.
    adam
        The optimiser.
    silent
        Rows since each feature fired last, int64 [n_features].
    place
        Where it stands in its data.
    since, trace
        What the next record is made from, and the records so far.
    """

    parameters: Parameters
    gradients: Parameters
    gradient: Tensor
    adam: Adam
    silent: Tensor
    place: Place = field(default_factory=Place)
    since: Since = field(default_factory=Since)
    trace: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(cls, parameters: Parameters) -> State:
        """Before the first step. A parameter of no dimension is a running mean, which is not trained."""
        shapes = {name: value.shape for name, value in parameters.items() if value.ndim}
        trained = torch.cat([parameters[name].reshape(-1) for name in shapes])
        gradient = torch.zeros_like(trained)
        silent = torch.zeros(len(parameters["rows"]), dtype=torch.int64)
        return cls(parameters | _views(trained, shapes), _views(gradient, shapes), gradient, Adam(trained), silent)

    def step(self, factor: float, learning_rate: float) -> None:
        """One step of Adam along the gradients times a factor; rows of the decoder keep length 1."""
        rows, by_rows = self.parameters["rows"], self.gradients["rows"]
        by_rows.addcmul_((by_rows * rows).sum(1, keepdim=True), rows, value=-1)
        self.gradient *= factor
        self.adam.step(self.gradient, learning_rate)
        rows /= rows.norm(dim=1, keepdim=True)

    def moments(self) -> tuple[Parameters, Parameters]:
        """Adam's means of the gradient and of its square, of each trained parameter."""
        shapes = {name: value.shape for name, value in self.gradients.items()}
        return _views(self.adam.mean, shapes), _views(self.adam.square, shapes)

    def add(self, rows: int, squared: float) -> None:
        """Count a step for the next record."""
        self.since.rows, self.since.squared = self.since.rows + rows, self.since.squared + squared

    def record(self, l0: float, penalty: float, pressure: float, dead: float, width: int) -> dict[str, float]:
        """Close a record; the variance of a normalised row is its width."""
        since = self.since
        squared = since.squared / since.rows
        line = {
            "rows": self.place.seen,
            "loss": squared + pressure * penalty,
            "squared_error": squared,
            "penalty": penalty,
            "l0": l0,
            "explained_variance": 1 - squared / width,
            "dead_share": dead,
            "revived": since.revived,
        }
        self.trace.append(line)
        self.since = Since()
        return line

    def replace_features(self, which: Tensor, fresh: Mapping[str, Tensor]) -> None:
        """Let features start again, without what Adam knows of them."""
        for name, value in fresh.items():
            self.parameters[name][which] = value
            for known in self.moments():
                known[name][which] = 0
        self.silent[which] = 0
        self.since.revived += len(which)


def save_checkpoint(path: Path, state: State, key: str) -> None:
    """Write a state to one file, whole or not at all.

    Raises
    ------
    StoreError
        The disk is full or the folder cannot be written.
    """
    tensors = {f"parameters/{name}": value for name, value in state.parameters.items()} | {"silent": state.silent}
    tensors |= {"mean": state.adam.mean, "square": state.adam.square}
    facts = {"key": key, "steps": state.adam.steps, "trace": state.trace}
    facts |= {"place": asdict(state.place), "since": asdict(state.since)}
    partial = path.with_name(path.name + ".new")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Numbers of the trace survive JSON exactly: Python writes the shortest text that reads back the same.
        save_file({name: value.clone() for name, value in tensors.items()}, partial, {"state": json.dumps(facts)})
        os.replace(partial, path)


def load_checkpoint(path: Path, state: State, key: str) -> bool:
    """Put a state where a checkpoint left it.

    Returns
    -------
    Whether there was one of this very training. One of another training, or a torn one, is left alone: it will be
    overwritten.
    """
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["state"])
            if facts["key"] != key:
                return False
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, KeyError, TypeError, ValueError):
        return False
    for name, value in state.parameters.items():
        value.copy_(tensors[f"parameters/{name}"])
    state.adam.mean.copy_(tensors["mean"])
    state.adam.square.copy_(tensors["square"])
    state.adam.steps = facts["steps"]
    state.silent.copy_(tensors["silent"])
    # In place: whoever walks through the data holds on to it.
    state.place.__dict__.update(facts["place"])
    state.since, state.trace = Since(**facts["since"]), facts["trace"]
    return True


def _views(flat: Tensor, shapes: Mapping[str, torch.Size]) -> Parameters:
    """Tensors of these shapes that lie in `flat` one after the other."""
    parts = flat.split([shape.numel() for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
