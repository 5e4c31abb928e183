"""Loader for shared/models/induction-attn-only-trajectory: TransformerLens's layout as the engine's network.

A 2-layer attention-only transformer without norms; step 0 does induction, the later ones lose it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from compgraph.data.prompts import PromptPairs
from compgraph.models.spec import BlockWeights, NormWeights, TransformerSpec, Weights
from compgraph.models.transformer import Transformer

NAME = "induction-attn-only-trajectory"
STEPS = (0, 100, 200, 300, 400)
PUBLISHED = {
    0: (0.9833, 0.1032),
    100: (0.3430, 3.0085),
    200: (0.0706, 3.2517),
    300: (0.0388, 3.2579),
    400: (0.0354, 3.2581),
}
"""Step -> induction accuracy and loss, as the folder's README gives them."""


def load_step(shared: Path, step: int, dtype: torch.dtype = torch.float32) -> Transformer:
    """The network after a number of steps.

    TransformerLens keeps readers as [heads, d_model, d_head] and writers as [heads, d_head, d_model], as the engine
    does; only the unembedding [d_model, vocabulary] is turned. Scores are divided by the root of the head's width.
    """
    folder = shared / "models" / NAME
    config = json.loads((folder / "config.json").read_text())
    assert config["attn_only"] and config["normalization_type"] is None
    tensors = {name: value.to(dtype) for name, value in load_file(folder / f"step_{step:04d}.safetensors").items()}

    def block(layer: int) -> BlockWeights:
        at = {name: tensors[f"blocks.{layer}.attn.{name}"] for name in ("W_Q", "W_K", "W_V", "W_O")}
        bias = {name: tensors[f"blocks.{layer}.attn.{name}"] for name in ("b_Q", "b_K", "b_V", "b_O")}
        return BlockWeights(
            NormWeights(None),
            at["W_Q"],
            at["W_K"],
            at["W_V"],
            at["W_O"],
            b_q=bias["b_Q"],
            b_k=bias["b_K"],
            b_v=bias["b_V"],
            b_o=bias["b_O"],
        )

    layers = config["n_layers"]
    spec = TransformerSpec(
        family="transformer-lens",
        n_layers=layers,
        n_heads=config["n_heads"],
        n_kv_heads=config["n_heads"],
        d_model=config["d_model"],
        d_head=config["d_head"],
        d_mlp=0,
        vocabulary=config["d_vocab"],
        max_positions=config["n_ctx"],
        norm="none",
        norm_eps=0.0,
        parallel=False,
        attn_scale=(config["d_head"] ** -0.5,) * layers,
        rotary_dim=0,
        rotary_scale=1.0,
        windows=(None,) * layers,
        attn_softcap=None,
        logit_softcap=None,
        embed_scale=1.0,
        activation="relu",
        gated=False,
        post_norms=False,
        has_mlp=False,
    )
    weights = Weights(
        tensors["embed.W_E"],
        [block(layer) for layer in range(layers)],
        NormWeights(None),
        tensors["unembed.W_U"].T.contiguous(),
        positions=tensors["pos_embed.W_pos"],
        logit_bias=tensors["unembed.b_U"],
    )
    return Transformer(spec, weights)


def sequences(n: int, seed: int = 0, vocabulary: int = 26, length: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Random rows [n, length] whose last token occurred exactly once before, and the token after it [n].

    The earlier occurrence is never the last but one token: there the answer would be the repeated token itself, which
    the model gets right in one case of five, and only without these cases are the published numbers met.
    """
    rng = np.random.default_rng(seed)
    last, at = rng.integers(vocabulary, size=n), rng.integers(length - 2, size=n)
    rows = (last[:, None] + rng.integers(1, vocabulary, size=(n, length))) % vocabulary  # any token but the last one
    rows[:, -1] = rows[np.arange(n), at] = last
    return rows, rows[np.arange(n), at + 1]


def induction_pairs(n: int, seed: int = 0) -> PromptPairs:
    """Such rows with independent counterfactuals whose next token is another one."""
    clean, answers = sequences(4 * n, seed)
    corrupted, distractors = sequences(4 * n, seed + 1)
    keep = np.flatnonzero(answers != distractors)[:n]
    return PromptPairs(clean[keep], corrupted[keep], answers[keep], distractors[keep])
