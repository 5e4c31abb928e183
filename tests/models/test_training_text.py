from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from compgraph.errors import ModelError
from compgraph.models.loading import load_network, load_tokenizer
from compgraph.models.recipes import FAMILIES, TransformerRecipe
from compgraph.models.training import train
from compgraph.models.training_text import HeldOut, Sequences, TrainingText
from tests.models.test_training import files, save_all

WORDS = ("<pad>", "<bos>", "a", "b", "c", "d", "e", "after")
RECIPE = TransformerRecipe(
    tasks=["next"], steps=60, checkpoints=(0, 5, 60), batch_size=24, learning_rate=0.02, warmup=5, layers=1, heads=2,
    width=16, neurons=16, context_length=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def material():
    """A task: "<bos> x after" -> the letter after x, where "d" and "e" are both right after "c"."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", bos_token="<bos>")

    def sample(n, rng):
        x = rng.integers(2, 5, n)
        answer = x + 1 + np.where(x == 4, rng.integers(0, 2, n), 0)
        tokens = np.stack([np.full(n, 1), x, np.full(n, 7), answer, np.zeros(n, int)], 1)
        return Sequences(tokens, np.full(n, 2))

    held_out = HeldOut(np.array([[1, 2, 7], [1, 3, 7], [1, 4, 7]]), np.array([2, 2, 2]),
                       np.array([[3, -1], [4, -1], [5, 6]]))  # fmt: skip
    return TrainingText(tokenizer, sample, {"next": held_out})


def test_training_teaches(material):
    found = list(train(RECIPE, material))
    assert found[0].accuracy["next"] < 1 and found[-1].accuracy["next"] == 1
    assert found[-1].log.probability.iloc[-1] > 0.9


def test_all_right_answers_get_their_share(material, tmp_path):
    for checkpoint in train(RECIPE, material):
        checkpoint.save(tmp_path)
    logits = load_network(tmp_path).run(torch.tensor([[1, 4, 7]]), positions=torch.tensor([2])).logits
    probability = logits.softmax(-1)[0, [5, 6]]
    assert probability.sum() > 0.9 and probability.min() > 0.3


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_same_recipe_same_bytes(material, tmp_path, weight):
    recipe = replace(RECIPE, steps=8, checkpoints=(0, 8), context_weight=weight)
    one = save_all(recipe, material, tmp_path / "one")
    torch.manual_seed(99)
    assert save_all(recipe, material, tmp_path / "two") == one
    assert one["0/model.safetensors"] != one["8/model.safetensors"]


def test_context_weight_teaches_the_prompt(material, tmp_path):
    losses = {}
    for weight in (0.0, 1.0):
        for checkpoint in train(replace(RECIPE, context_weight=weight), material):
            checkpoint.save(tmp_path / str(weight))
        logits = load_network(tmp_path / str(weight)).run(torch.tensor([[1, 2, 7]])).logits
        losses[weight] = -float(logits.log_softmax(-1)[0, 1, 7])  # "after" follows every letter
    assert losses[1.0] < 0.2 < losses[0.0]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_and_opens(material, tmp_path, family):
    grouped = None if family in ("gpt2", "gpt_neox") else 1
    recipe = replace(RECIPE, family=family, kv_heads=grouped, steps=3, checkpoints=(3,))
    for checkpoint in train(recipe, material):
        checkpoint.save(tmp_path)
    assert {"config.json", "model.safetensors", "tokenizer.json", "training.parquet"} <= files(tmp_path).keys()
    net = load_network(tmp_path, device="cpu")
    assert net.family == family
    logits = net.run(torch.from_numpy(material.held_out["next"].tokens), positions=torch.full((3,), 2)).logits
    answers = torch.from_numpy(material.held_out["next"].answers)
    probability = (logits.softmax(-1).gather(1, answers.clamp_min(0)) * (answers >= 0)).sum(1).mean()
    assert float(probability) == pytest.approx(checkpoint.log.probability.iloc[-1], abs=1e-5)
    opened = load_tokenizer(tmp_path)
    assert opened.get_vocab() == material.tokenizer.get_vocab()
    assert opened("b after c")["input_ids"] == material.tokenizer("b after c")["input_ids"] == [3, 7, 4]


def test_too_long(material):
    with pytest.raises(ModelError, match=r"training items have 5 tokens, more than context_length \(4\)"):
        list(train(replace(RECIPE, context_length=4), material))
    with pytest.raises(ModelError, match="held-out items of next have 3 tokens"):
        list(train(replace(RECIPE, context_length=2), material))
