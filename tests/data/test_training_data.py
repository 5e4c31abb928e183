from __future__ import annotations

import numpy as np
import pytest

from compgraph.data.images import load_images
from compgraph.data.tokenise import load_task
from compgraph.data.training_data import training_data
from compgraph.errors import DataError
from compgraph.models.recipes import ImageRecipe, TransformerRecipe
from compgraph.models.training import train

TEXT = TransformerRecipe(tasks=["gendered_pronoun", "agreement"], steps=1, held_out=40)


def rows(tokens):
    return {tuple(row[row != 0].tolist()) for row in tokens}


def test_held_out_items_are_never_sampled():
    material = training_data(TEXT)
    made = material.sample(3000, np.random.default_rng(0))
    prompts = {tuple(row[: at + 1].tolist()) for row, at in zip(made.tokens, made.positions, strict=True)}
    assert set(material.held_out) == {"gendered_pronoun", "agreement"}
    for items in material.held_out.values():
        assert len(items.tokens) == 40 and not prompts & rows(items.tokens)


def test_samples_end_in_an_answer():
    material = training_data(TEXT)
    made = material.sample(50, np.random.default_rng(1))
    answers = {material.tokenizer.convert_ids_to_tokens(int(row[at + 1])) for row, at in zip(*vars(made).values())}  # noqa: B905
    assert answers <= {"she", "he", "is", "are"} and len(answers) == 4


def test_test_items_of_a_dataset_are_held_out():
    material = training_data(TEXT)
    made = material.sample(3000, np.random.default_rng(0))
    prompts = {tuple(row[: at + 1].tolist()) for row, at in zip(made.tokens, made.positions, strict=True)}
    pairs = load_task("agreement", material.tokenizer, n=200, seed=7)
    assert not prompts & rows(pairs.select(split="test").clean)


def test_images():
    material = training_data(ImageRecipe(steps=1))
    assert material.name == "digits" and material.n_classes == 10
    test = load_images("digits", split="test", counterfactuals=False)
    assert {x.tobytes() for x in material.test_images} == {x.tobytes() for x in test.clean}
    assert not {x.tobytes() for x in material.images} & {x.tobytes() for x in test.clean}
    assert len(material.labels) == len(material.images) == 1797 - test.n


def test_unknown_sources():
    with pytest.raises(DataError, match="no task 'chess'"):
        training_data(TransformerRecipe(tasks=["chess"], steps=1))
    with pytest.raises(DataError, match="image source is 'svhn'"):
        training_data(ImageRecipe(steps=1, images="svhn"))


def test_a_chain_learns_digits():
    recipe = ImageRecipe(steps=150, learning_rate=0.01, batch_size=64, target_accuracy=0.85)
    *_, last = train(recipe, training_data(recipe))
    assert last.accuracy["digits"] > 0.85


def test_a_transformer_learns_held_out_pronouns():
    recipe = TransformerRecipe(
        tasks={"gendered_pronoun": {"n_names": 8, "n_templates": 2}}, steps=60, batch_size=32, layers=1, heads=2,
        width=32, neurons=32, learning_rate=0.01, warmup=5, held_out=64,
    )  # fmt: skip
    first, last = train(recipe, training_data(recipe))
    assert first.accuracy["gendered_pronoun"] < 0.2 and last.accuracy["gendered_pronoun"] > 0.9
