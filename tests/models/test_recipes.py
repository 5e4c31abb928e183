from __future__ import annotations

import subprocess
import sys

import pytest

from compgraph.errors import ModelError
from compgraph.models.recipes import ImageRecipe, TransformerRecipe, chain_layers, recipe_from


def test_recipes_from_config_entries():
    entry = {"source": "trained", "architecture": "cnn", "steps": 9, "checkpoints": [0, 3, 9], "channels": [4]}
    made = recipe_from(entry | {"hidden": []})
    assert made == ImageRecipe(steps=9, checkpoints=(0, 3, 9), channels=(4,), hidden=())
    made = recipe_from({"source": "trained", "architecture": "transformer", "steps": 9, "tasks": ["ioi"]})
    assert made == TransformerRecipe(steps=9, tasks=["ioi"], checkpoints=(0, 9))


@pytest.mark.parametrize(
    "values, message",
    [
        ({"architecture": "rnn"}, "architecture is 'rnn'; it must be transformer, cnn, mlp or layers"),
        ({"architecture": "cnn"}, "needs steps"),
        ({"architecture": "transformer", "steps": 3}, "needs tasks"),
        ({"architecture": "cnn", "steps": 3, "heads": 2}, "no field 'heads'"),
        ({"architecture": "cnn", "steps": 0}, "steps is 0"),
        ({"architecture": "cnn", "steps": 3, "batch_size": 2.5}, "batch_size is 2.5"),
        ({"architecture": "cnn", "steps": 3, "learning_rate": 0}, "learning_rate is 0"),
        ({"architecture": "cnn", "steps": 3, "weight_decay": -1.0}, "must not be below 0"),
        ({"architecture": "cnn", "steps": 3, "checkpoints": [0, 2]}, "of which the last is steps"),
        ({"architecture": "cnn", "steps": 3, "checkpoints": [2, 0, 3]}, "must be rising"),
        ({"architecture": "cnn", "steps": 3, "target_accuracy": 95}, "target_accuracy is 95"),
        ({"architecture": "cnn", "steps": 3, "on_miss": "ignore"}, "on_miss is 'ignore'"),
        ({"architecture": "cnn", "steps": 3, "channels": [0]}, "channels is 0"),
        ({"architecture": "layers", "steps": 3}, "layers must be given"),
        ({"architecture": "cnn", "steps": 3, "layers": [{"type": "flatten"}]}, "and only then"),
        ({"architecture": "layers", "steps": 3, "layers": [{"type": "lstm"}]}, "layer 0: type 'lstm'"),
        ({"architecture": "transformer", "steps": 3, "tasks": []}, "at least one task"),
        ({"architecture": "transformer", "steps": 3, "tasks": ["ioi"], "family": "bert"}, "family is 'bert'"),
        ({"architecture": "transformer", "steps": 3, "tasks": ["ioi"], "width": 30}, "width"),
        ({"architecture": "transformer", "steps": 3, "tasks": ["ioi"], "kv_heads": 3}, "must divide heads"),
        (
            {"architecture": "transformer", "steps": 3, "tasks": ["ioi"], "kv_heads": 2, "family": "gpt2"},
            "gpt2 has no grouped keys",
        ),
        ({"architecture": "transformer", "steps": 3, "tasks": ["ioi"], "initial_scale": 0}, "initial_scale"),
    ],
)
def test_bad_recipes(values, message):
    with pytest.raises(ModelError, match=message):
        recipe_from(values)


def test_descriptions():
    assert ImageRecipe(steps=1, architecture="mlp", hidden=(5,)).description(3, (1, 4, 4)) == [
        {"type": "flatten"},
        {"type": "linear", "features": 5, "bias": True},
        {"type": "relu"},
        {"type": "linear", "features": 3, "bias": True},
    ]
    own = ImageRecipe(steps=1, architecture="layers", layers=tuple(chain_layers([2], [], 4)))
    assert own.description(4, (1, 4, 4))[-1]["features"] == 4
    with pytest.raises(ModelError, match="layers end in 4 logits, but digits has 3 classes"):
        own.description(3, (1, 4, 4))
    with pytest.raises(ModelError, match="larger than its input"):
        ImageRecipe(steps=1, channels=(2, 2, 2, 2)).description(3, (1, 8, 8))


def test_recipes_need_no_torch():
    code = "import sys, compgraph.models.recipes; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
