"""Training chains to classify images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name every torch user knows)
from numpy.typing import NDArray
from torch import Tensor

from compgraph.models.modules import build_module, from_module
from compgraph.models.recipes import ImageRecipe

EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class TrainingImages:
    """What a chain is trained and tested on.

    Attributes
    ----------
    name
        Of the source; the task in the training log.
    images, labels
        Training images [n, c, h, w] float32 and their classes [n] int64.
    test_images, test_labels
        Held-out ones.
    n_classes
        Number of classes.
    """

    name: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    n_classes: int


class ImageLearner:
    """A chain in training: cross-entropy over batches drawn from shuffled passes through the images."""

    def __init__(self, recipe: ImageRecipe, material: TrainingImages) -> None:
        self.recipe, self.material = recipe, material
        self.input_shape = tuple(material.images.shape[1:])
        self.layers = recipe.description(material.n_classes, self.input_shape)
        self.model = build_module(self.layers, self.input_shape)
        self._rng = np.random.default_rng(recipe.seed)
        self._order = np.zeros(0, np.int64)

    def _batch(self) -> NDArray[np.int64]:
        size = min(self.recipe.batch_size, len(self.material.labels))
        if len(self._order) < size:  # what is left of a pass is dropped: batch norms want whole batches
            self._order = self._rng.permutation(len(self.material.labels))
        rows, self._order = self._order[:size], self._order[size:]
        return rows

    def loss(self) -> Tensor:
        """Mean cross-entropy of the next batch."""
        rows = self._batch()
        logits = self.model(torch.from_numpy(self.material.images[rows]))
        return F.cross_entropy(logits.flatten(1), torch.from_numpy(self.material.labels[rows]))

    @torch.no_grad()
    def evaluate(self) -> list[dict[str, Any]]:
        """Loss, accuracy and probability of the right class on the held-out images."""
        self.model.eval()
        images = torch.from_numpy(self.material.test_images)
        starts = range(0, len(images), EVALUATION_BATCH)
        logits = torch.cat([self.model(images[i : i + EVALUATION_BATCH]).flatten(1) for i in starts]).double()
        labels = torch.from_numpy(self.material.test_labels)
        probability = logits.softmax(-1).gather(1, labels[:, None])
        return [
            {
                "task": self.material.name,
                "loss": float(F.cross_entropy(logits, labels)),
                "accuracy": float((logits.argmax(-1) == labels).double().mean()),
                "probability": float(probability.mean()),
            }
        ]

    def save(self, folder: Path, account: dict[str, Any]) -> None:
        """Write the chain, batch norms folded, in the format of `compgraph.models.sequential`."""
        self.model.eval()
        from_module(self.model, self.input_shape).save(folder, training=account)

