"""The data that a training recipe names, ready to train on.

Tasks are split by item: an item is a training item or a held-out one by a hash of its text, whatever is drawn. For
tasks that are put together from closed lists of words (agreement, gendered pronouns, greater-than, indirect objects)
this means that a held-out item is a new combination of words that all occurred in training; for tasks with random
content (induction, docstring) it is new altogether.
"""

from __future__ import annotations

import numpy as np

from compgraph.data.images import load_images
from compgraph.data.mixture import parse_tasks, sample_items
from compgraph.data.tokenise import sequences, task_pairs
from compgraph.data.vocabulary import word_tokenizer
from compgraph.errors import DataError
from compgraph.models.recipes import ImageRecipe, Recipe, TransformerRecipe
from compgraph.models.training_images import TrainingImages
from compgraph.models.training_text import HeldOut, Sequences, TrainingText

HELD_OUT_SEED = 0
"""Of the choice of held-out items: the same for all recipes, so that their accuracies compare."""


def training_data(recipe: Recipe) -> TrainingText | TrainingImages:
    """What a recipe trains on.

    Raises
    ------
    DataError
        For an unknown task or source of images, or one that cannot be read.
    """
    if isinstance(recipe, TransformerRecipe):
        return training_text(recipe)
    if isinstance(recipe, ImageRecipe):
        return training_images(recipe)
    raise TypeError(f"no data for a {type(recipe).__name__}")


def training_text(recipe: TransformerRecipe) -> TrainingText:
    """A word-level tokenizer of the tasks, fresh training sequences, and held-out items of each task."""
    tasks = recipe.tasks
    tokenizer = word_tokenizer(tasks, recipe.context_length)
    held_out = {}
    for part in parse_tasks(tasks):
        pairs, _ = task_pairs(
            part.name,
            tokenizer,
            recipe.held_out,
            HELD_OUT_SEED,
            label=part.label,
            split="test",
            test_share=recipe.test_share,
            **part.options,
        )
        if pairs.answers is None:
            raise DataError(f"{part.label}: its items have no answers to train on")
        held_out[part.label] = HeldOut(pairs.clean, pairs.positions, pairs.answers)

    def sample(n: int, rng: np.random.Generator) -> Sequences:
        items = sample_items(tasks, n, rng, test_share=recipe.test_share)
        made = sequences(items, tokenizer, rng)
        return Sequences(made.tokens, made.positions)

    return TrainingText(tokenizer, sample, held_out)


def training_images(recipe: ImageRecipe) -> TrainingImages:
    """The training and the test images of a source."""
    splits = {
        split: load_images(
            recipe.images,
            split=split,
            path=recipe.path,
            size=recipe.size,
            test_fraction=recipe.test_fraction,
            normalise=recipe.normalise,
            counterfactuals=False,
        )
        for split in ("train", "test")
    }
    train, test = splits["train"], splits["test"]
    assert train.answers is not None and test.answers is not None
    return TrainingImages(
        recipe.images, train.clean, train.answers[:, 0], test.clean, test.answers[:, 0], len(train.classes)
    )
