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
    penalty: float = 0.0
    pressed: float = 0.0
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
    optimiser
        Adam.
    silent
        Rows since each feature fired last, int64 [n_features].
    place
        Where it stands in its data.
    since, trace
        What the next record is made from, and the records so far.
    """

    parameters: Parameters
    gradients: Parameters
    optimiser: torch.optim.Adam
    silent: Tensor
    place: Place = field(default_factory=Place)
    since: Since = field(default_factory=Since)
    trace: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(cls, parameters: Parameters) -> State:
        """Before the first step. A parameter of no dimension is a running mean, which is not trained."""
        trained = {name: value for name, value in parameters.items() if value.ndim}
        gradients = {name: torch.zeros_like(value) for name, value in trained.items()}
        for name, value in trained.items():
            value.grad = gradients[name]
        silent = torch.zeros(len(parameters["rows"]), dtype=torch.int64)
        return cls(parameters, gradients, torch.optim.Adam(list(trained.values()), fused=True), silent)

    def step(self, factor: float, learning_rate: float) -> None:
        """One step of Adam along the gradients times a factor; rows of the decoder keep length 1."""
        rows, gradient = self.parameters["rows"], self.gradients["rows"]
        gradient -= (gradient * rows).sum(1, keepdim=True) * rows
        for value in self.gradients.values():
            value *= factor
        self.optimiser.param_groups[0]["lr"] = learning_rate
        self.optimiser.step()
        rows /= rows.norm(dim=1, keepdim=True)

    def add(self, rows: int, squared: float, penalty: float, pressure: float) -> None:
        """Count a step for the next record."""
        since = self.since
        since.rows, since.squared = since.rows + rows, since.squared + squared
        since.penalty, since.pressed = since.penalty + penalty, since.pressed + pressure * penalty

    def record(self, l0: float, dead: float, width: int) -> dict[str, float]:
        """Close a record; the variance of a normalised row is its width."""
        since, rows = self.since, self.since.rows
        line = {
            "rows": self.place.seen,
            "loss": (since.squared + since.pressed) / rows,
            "squared_error": since.squared / rows,
            "penalty": since.penalty / rows,
            "l0": l0,
            "explained_variance": 1 - since.squared / (rows * width),
            "dead_share": dead,
            "revived": since.revived,
        }
        self.trace.append(line)
        self.since = Since()
        return line

    def replace_features(self, which: Tensor, fresh: Mapping[str, Tensor]) -> None:
        """Let features start again, without what Adam knows of them."""
        for name, value in fresh.items():
            parameter = self.parameters[name]
            parameter[which] = value
            moments = self.optimiser.state[parameter]
            for kind in ("exp_avg", "exp_avg_sq"):
                if kind in moments:
                    moments[kind][which] = 0
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
    for name in state.gradients:
        for kind, value in state.optimiser.state[state.parameters[name]].items():
            tensors[f"{kind}/{name}"] = value
    facts = {"key": key, "place": asdict(state.place), "since": asdict(state.since), "trace": state.trace}
    partial = path.with_name(path.name + ".new")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Numbers of the trace survive JSON exactly: Python writes the shortest text that reads back the same.
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial, {"state": json.dumps(facts)})
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
        if name in state.gradients:
            moments = {kind: tensors[f"{kind}/{name}"] for kind in ("step", "exp_avg", "exp_avg_sq")}
            state.optimiser.state[value] = moments
    state.silent.copy_(tensors["silent"])
    # In place: whoever walks through the data holds on to it.
    state.place.__dict__.update(facts["place"])
    state.since, state.trace = Since(**facts["since"]), facts["trace"]
    return True
