"""Tiny models on disk and a copy of the workflow to run studies in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``chain``: an untrained CNN for the digits; ``stream``: an untrained Llama that knows the words of a task."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from compgraph.data.vocabulary import word_tokenizer
    from compgraph.models.sequential import Sequential

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    layers = [
        {"type": "conv", "channels": 4, "kernel": 3, "padding": 1},
        {"type": "relu"},
        {"type": "max-pool", "kernel": 2},
        {"type": "flatten"},
        {"type": "linear", "features": 8},
        {"type": "relu"},
        {"type": "linear", "features": 10},
    ]
    shapes = {"conv.0": (4, 1, 3, 3), "linear.0": (8, 64), "logits": (10, 8)}
    weights = {f"{site}.weight": torch.randn(shape) / shape[-1] ** 0.5 for site, shape in shapes.items()}
    weights |= {f"{site}.bias": torch.zeros(shape[0]) for site, shape in shapes.items()}
    Sequential(layers, (1, 8, 8), weights).save(folder / "chain")

    tokenizer = word_tokenizer(["induction"])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "stream")
    tokenizer.save_pretrained(folder / "stream")
    return folder


@pytest.fixture(scope="session")
def workflow_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and the workflow, whose code tests may edit."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("compgraph", "workflow", "profiles", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def call(workflow_copy: Path) -> Run:
    """Call ``compgraph`` of the copy: ``call(["run"], cwd=folder)``."""

    def run(arguments: Sequence[str], *, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(arguments), cwd=cwd, env=environment(workflow_copy), capture_output=True, text=True, timeout=timeout
        )

    return run


def command(arguments: Sequence[str]) -> list[str]:
    """The command line of a verb."""
    return [sys.executable, "-m", "compgraph.cli.main", *arguments]


def environment(checkout: Path) -> dict[str, str]:
    """The environment in which jobs import the package of a checkout."""
    return os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "CI": "true"}
