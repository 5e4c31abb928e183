"""Small networks, data and helpers for the tests of activation buffers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from compgraph.architecture import Architecture, Site, transformer_architecture
from compgraph.data.buffer_writer import record_activations
from compgraph.data.buffers import ActivationBuffer
from compgraph.data.prompts import PromptPairs
from compgraph.models.network import Run


class Network:
    """A few lines of torch with the interface of a network. `poison` spoils a site's value at one token."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture, self.kind, self.family = architecture, architecture.kind, architecture.family
        self.device, self.dtype, self.digest = torch.device("cpu"), torch.float32, "sha256:fake"
        self.calls: list[tuple[int, bool]] = []
        self.poison: dict[str, float] = {}


class TokenNetwork(Network):
    """Every site is a fixed random map of a causal running mean of the embedding."""

    def __init__(self, vocabulary: int = 50, d_mlp: int = 12) -> None:
        shape = {"n_heads": 2, "d_head": 3, "d_model": 6, "d_mlp": d_mlp, "vocabulary": vocabulary}
        super().__init__(transformer_architecture("gpt2", n_layers=2, **shape))
        generator = torch.Generator().manual_seed(0)
        self.embedding = torch.randn(vocabulary, 6, generator=generator)
        self.maps = {site.name: torch.randn(6, site.n_units, generator=generator) for site in self.architecture.sites}

    def run(self, values, mask=None, *, capture=(), positions=None, edit=None) -> Run:
        assert not torch.is_grad_enabled()
        self.calls.append((len(values), positions is not None))
        mask = torch.ones_like(values, dtype=torch.bool) if mask is None else mask
        x = self.embedding[values] * mask[..., None]
        x = x.cumsum(1) / mask.cumsum(1)[..., None]  # 0/0 on left padding: not-a-number where nobody may look
        units: dict[str, Tensor] = {name: torch.relu(x @ self.maps[name]) for name in capture}
        for name, value in self.poison.items():
            if name in units:
                units[name][values == 7] = value
        if positions is not None:
            x = x[torch.arange(len(x)), positions]
        logits = x @ self.maps["logits"]
        if "logits" in units:
            units["logits"] = logits
        return Run(logits, units)


class ImageNetwork(Network):
    def __init__(self) -> None:
        sites = (
            Site("input", "input", 0, 8),
            Site("linear.0", "linear", 1, 5),
            Site("logits", "logits", 2, 3),
        )
        reads = {"linear.0": ("input",), "logits": ("linear.0",)}
        super().__init__(Architecture("sequential", "sequential", sites, reads))
        generator = torch.Generator().manual_seed(0)
        self.first, self.second = (
            torch.randn(8, 5, generator=generator),
            torch.randn(5, 3, generator=generator),
        )

    def run(self, values, mask=None, *, capture=(), positions=None, edit=None) -> Run:
        assert mask is None and positions is None
        pixels = values.flatten(1)
        hidden = torch.relu(pixels @ self.first)
        units = {"input": pixels, "linear.0": hidden, "logits": hidden @ self.second}
        return Run(units["logits"], {name: units[name] for name in capture})


class Images:
    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(0)
        self.clean = rng.normal(size=(n, 2, 2, 2)).astype(np.float32)
        self.corrupted, self.mask, self.positions, self.n = self.clean[::-1], None, None, n
        self.ids = np.array([f"image/{i}" for i in range(n)])
        self.task = np.array([str(i % 3) for i in range(n)])
        self.split = np.array(["train"] * n)


def prompts(n: int = 23, padding: str | None = None, t: int = 6) -> PromptPairs:
    rng = np.random.default_rng(1)
    clean, corrupted = rng.integers(8, 50, (2, n, t))
    mask = None
    if padding is not None:
        lengths = rng.integers(1, t + 1, n)
        mask = np.arange(t) < lengths[:, None]
        mask = mask if padding == "right" else mask[:, ::-1].copy()
    return PromptPairs(clean, corrupted, mask=mask, task=[("a", "b")[i % 2] for i in range(n)])


def save(folder: Path, net, pairs, **options) -> ActivationBuffer:
    options = {"chunk_bytes": 20 * 12 * 4, "batch_size": 4} | options
    return record_activations(net, pairs, folder / "b.json", **options)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def cut(path: Path) -> None:
    os.truncate(path, 40)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
