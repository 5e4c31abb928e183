"""Attention-only transformers in the layout of TransformerLens, against a forward pass written out in numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from compgraph.errors import ModelError
from compgraph.models.loading import load_network, load_tokenizer
from compgraph.models.size import depth, n_parameters

SIZES = {"n_layers": 2, "n_heads": 2, "d_model": 12, "d_head": 6, "d_vocab": 10, "n_ctx": 5}
FIXED = {"attn_only": True, "normalization_type": None, "attention_dir": "causal"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({**SIZES, **FIXED}))
    for seed, name in enumerate(("step_0000", "step_0100")):
        save_file(_tensors(seed), tmp_path / f"{name}.safetensors")
    return tmp_path


def _tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embed.W_E": (10, 12), "pos_embed.W_pos": (5, 12), "unembed.W_U": (12, 10), "unembed.b_U": (10,),
    }  # fmt: skip
    for layer in range(2):
        at = f"blocks.{layer}.attn."
        shapes |= {f"{at}W_{name}": (2, 12, 6) for name in "QKV"} | {f"{at}b_{name}": (2, 6) for name in "QKV"}
        shapes |= {f"{at}W_O": (2, 6, 12), f"{at}b_O": (12,)}
    return {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _logits(tensors: dict[str, Any], tokens: np.ndarray) -> np.ndarray:
    t = {name: value.numpy().astype(np.float64) for name, value in tensors.items()}
    x = t["embed.W_E"][tokens] + t["pos_embed.W_pos"][: len(tokens)]
    for layer in range(2):
        w = {name.rpartition(".")[2]: value for name, value in t.items() if name.startswith(f"blocks.{layer}.")}
        out = w["b_O"].copy()
        for h in range(2):
            q, k, v = (x @ w[f"W_{name}"][h] + w[f"b_{name}"][h] for name in "QKV")
            scores = np.where(np.tril(np.ones((len(x), len(x)))) > 0, q @ k.T / np.sqrt(6), -np.inf)
            pattern = np.exp(scores - scores.max(axis=1, keepdims=True))
            out = out + (pattern / pattern.sum(axis=1, keepdims=True)) @ v @ w["W_O"][h]
        x = x + out
    return x @ t["unembed.W_U"] + t["unembed.b_U"]


@pytest.mark.parametrize("step", ["step_0000", "step_0100"])
def test_logits(folder: Path, step: str) -> None:
    net = load_network(folder, step, device="cpu", dtype="float64")
    tokens = np.array([3, 1, 4, 1, 5])
    expected = _logits(load_file(folder / f"{step}.safetensors"), tokens)
    assert np.abs(net.run(torch.tensor(tokens[None])).logits[0].numpy() - expected).max() < 1e-12


def test_size_and_digest(folder: Path) -> None:
    net, other = (load_network(folder, step, device="cpu") for step in ("step_0000", "step_0100"))
    assert n_parameters(net) == sum(one.numel() for one in _tensors(0).values()) and depth(net) == 2
    assert net.digest != other.digest == load_network(folder, "step_0100", device="cpu", dtype="float64").digest


def test_tokens_are_numbers(folder: Path) -> None:
    tokenizer = load_tokenizer(folder, "step_0000")
    assert tokenizer("7 0 9")["input_ids"] == [7, 0, 9] and tokenizer("10")["input_ids"] == [10]  # unknown


def test_what_cannot_be_opened_is_named(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"2 checkpoints \(step_0000, step_0100\); name one"):
        load_network(folder, device="cpu")
    with pytest.raises(ModelError, match="no folder step_0200 and no file"):
        load_network(folder, "step_0200", device="cpu")
    (folder / "config.json").write_text(json.dumps({**SIZES, **FIXED, "normalization_type": "LN"}))
    with pytest.raises(ModelError, match='normalization_type is "LN"; it must be null'):
        load_network(folder, "step_0000", device="cpu")
    (folder / "config.json").write_text(json.dumps({**SIZES, **FIXED, "n_layers": 1}))
    with pytest.raises(ModelError, match=r"blocks\.1\.attn\.W_K unexpected"):
        load_network(folder, "step_0000", device="cpu")
