"""Training small transformers on tasks.

The loss of a sequence is the cross-entropy of its answer, given the prompt, plus `context_weight` times the mean
cross-entropy of the prompt's own tokens. Where a prompt has several right answers, one of them is drawn, uniformly,
each time: the model learns to give each of them its share, so a single answer that is often right is not enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name every torch user knows)
from numpy.typing import NDArray
from torch import Tensor

from compgraph.errors import ModelError
from compgraph.models.loading import quiet_transformers
from compgraph.models.recipes import TransformerRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

BATCHES_AHEAD = 16
"""Batches that are made at once: writing and tokenising many items together is cheaper."""

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Sequences:
    """Prompts with an answer each, padded on the right.

    Attributes
    ----------
    tokens
        [n, t] int64: prompt, answer, padding.
    positions
        [n] int64: the last token of each prompt, whose logits are to give the answer.
    """

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """Prompts that are never trained on.

    Attributes
    ----------
    tokens, positions
        [n, t] prompts, padded on the right; [n] the position that is scored.
    answers
        [n, a] right answers, padded with -1.
    """

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]
    answers: NDArray[np.int64]


@dataclass(frozen=True)
class TrainingText:
    """What a transformer is trained and tested on.

    Attributes
    ----------
    tokenizer
        Saved beside the model.
    sample
        (n, rng) -> n fresh sequences in random order, none of them held out.
    held_out
        Task -> its held-out prompts.
    """

    tokenizer: PreTrainedTokenizerBase
    sample: Callable[[int, np.random.Generator], Sequences]
    held_out: Mapping[str, HeldOut]


class TextLearner:
    """A transformer of `transformers` in training."""

    def __init__(self, recipe: TransformerRecipe, material: TrainingText) -> None:
        self.recipe, self.material = recipe, material
        self.model = build_transformer(recipe, material.tokenizer)
        self._rng = np.random.default_rng(recipe.seed)
        self._ahead: list[tuple[Tensor, Tensor]] = []
        for task, items in material.held_out.items():
            self._check_length(items.tokens, f"held-out items of {task}")

    def _check_length(self, tokens: NDArray[np.int64], what: str) -> None:
        if tokens.shape[1] > self.recipe.context_length:
            raise ModelError(
                f"{what} have {tokens.shape[1]} tokens, more than context_length ({self.recipe.context_length})"
            )

    def _batch(self) -> tuple[Tensor, Tensor]:
        size = self.recipe.batch_size
        if not self._ahead:
            made = self.material.sample(BATCHES_AHEAD * size, self._rng)
            self._check_length(made.tokens, "training items")
            tokens, positions = torch.from_numpy(made.tokens), torch.from_numpy(made.positions)
            starts = range(0, len(tokens), size)
            self._ahead = [(tokens[i : i + size], positions[i : i + size]) for i in starts]
        tokens, positions = self._ahead.pop(0)
        return tokens[:, : int(positions.max()) + 2], positions

    def loss(self) -> Tensor:
        """Loss of the next batch (see the module's text)."""
        tokens, positions = self._batch()
        weight = self.recipe.context_weight
        targets = tokens[:, 1:]
        if weight == 0:
            rows = torch.arange(len(tokens))
            logits = self.model(input_ids=tokens[:, :-1]).logits[rows, positions]
            return F.cross_entropy(logits, targets[rows, positions])
        logits = self.model(input_ids=tokens[:, :-1]).logits
        each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
        index = torch.arange(targets.shape[1])[None]
        answer = index == positions[:, None]
        context = index < positions[:, None]
        return (each * answer).sum() / answer.sum() + weight * (each * context).sum() / context.sum().clamp_min(1)

    @torch.no_grad()
    def evaluate(self) -> list[dict[str, Any]]:
        """Per task, on its held-out prompts: cross-entropy and probability of the right answers taken together, and
        the share of prompts whose most probable next token is right."""
        self.model.train(False)
        return [{"task": task, **self._score(items)} for task, items in self.material.held_out.items()]

    def _score(self, items: HeldOut) -> dict[str, float]:
        right: list[Tensor] = []
        top: list[Tensor] = []
        for start in range(0, len(items.tokens), EVALUATION_BATCH):
            rows = slice(start, start + EVALUATION_BATCH)
            tokens, positions, answers = (
                torch.from_numpy(x[rows]) for x in (items.tokens, items.positions, items.answers)
            )
            logits = self.model(input_ids=tokens).logits[torch.arange(len(tokens)), positions].double()
            log_probability = logits.log_softmax(-1).gather(1, answers.clamp_min(0))
            right.append(log_probability.masked_fill(answers < 0, -torch.inf).logsumexp(-1))
            top.append((logits.argmax(-1, keepdim=True) == answers).any(-1))
        found = torch.cat(right)
        return {
            "loss": -float(found.mean()),
            "accuracy": float(torch.cat(top).double().mean()),
            "probability": float(found.exp().mean()),
        }

    def save(self, folder: Path, account: dict[str, Any]) -> None:
        """Write model and tokenizer in the format of `transformers`; the account goes into the configuration."""
        self.model.train(False)
        self.model.config.compgraph_training = account
        with quiet_transformers():
            self.model.save_pretrained(folder)
            self.material.tokenizer.save_pretrained(folder)


def build_transformer(recipe: TransformerRecipe, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """An untrained model (global torch generator) of the recipe's family and size."""
    from transformers import AutoModelForCausalLM

    make: Callable[..., PreTrainedModel] = AutoModelForCausalLM.from_config
    return make(transformer_config(recipe, tokenizer), dtype=torch.float32)


def transformer_config(recipe: TransformerRecipe, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """Configuration of `transformers` for a recipe: plain variants, no dropout, output weights of their own."""
    from transformers import AutoConfig

    tokens = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": recipe.initial_scale,
        "tie_word_embeddings": False,
    }
    if recipe.family == "gpt2":
        return AutoConfig.for_model(
            "gpt2",
            **tokens,
            n_layer=recipe.layers,
            n_head=recipe.heads,
            n_embd=recipe.width,
            n_inner=recipe.neurons,
            n_positions=recipe.context_length,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    sizes = {
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads,
        "hidden_size": recipe.width,
        "intermediate_size": recipe.neurons,
        "max_position_embeddings": recipe.context_length,
    }
    if recipe.family != "gpt_neox":
        sizes["num_key_value_heads"] = recipe.kv_heads or recipe.heads
    if recipe.family in ("qwen3", "gemma2", "mistral"):
        sizes["head_dim"] = recipe.width // recipe.heads
    if recipe.family == "gemma2":
        tokens["tie_word_embeddings"] = True  # the family knows no other
        sizes["query_pre_attn_scalar"] = recipe.width // recipe.heads
    return AutoConfig.for_model(recipe.family, **tokens, **sizes)
