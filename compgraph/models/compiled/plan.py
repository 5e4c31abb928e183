"""A compiled case: the network, its examples and its true edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from compgraph.models.compiled.assembly import Norm, assemble
from compgraph.models.compiled.program import Program
from compgraph.models.transformer import Transformer

Edge = tuple[str, str, str]
"""Source, target, channel, by the names of a partition into heads."""

Draw = Callable[[np.random.Generator, int], tuple[list[int], int]]
"""(rng, scored position) -> tokens of one prompt, right token."""


@dataclass(frozen=True)
class Options:
    """How a case is built.

    Attributes
    ----------
    norm, rotation, noise, seed, dtype
        See `compgraph.models.compiled.assembly.assemble`.
        (All tasks but `occurrences` are still done without error at a noise of 0.02; that one reads its count off the
        denominator of a softmax and bears about 0.002.)
    sharpness
        Gap of attention scores where heads look by content: the others share about exp(-sharpness).
    decoys
        Whether heads and MLPs that are no part of the algorithm stand beside it.
    """

    norm: Norm = "none"
    rotation: int | None = None
    noise: float = 0.0
    seed: int = 0
    sharpness: float = 10.0
    decoys: bool = True
    dtype: torch.dtype = torch.float64


@dataclass(frozen=True)
class CompiledCase:
    """A network whose algorithm is known.

    Attributes
    ----------
    name, summary
        What it computes.
    net
        The transformer.
    true_edges
        The edges of `Partition.heads(net)`, queries, keys and values apart, that carry the algorithm: without any one
        of them (replaced by its value on the corrupted prompt) some example comes out wrong, and they alone are enough.
    draw, positions
        How examples are made: the scored position is one of `positions`.
    """

    name: str
    summary: str
    net: Transformer
    true_edges: frozenset[Edge]
    draw: Draw = field(repr=False)
    positions: tuple[int, ...]

    def examples(self, n: int, seed: int = 0) -> dict[str, Any]:
        """Clean and corrupted prompts, as arguments of `PromptPairs`.

        The corrupted prompt is an independent one, scored at the same position, with another right token: the
        distractor.

        Returns
        -------
        dict
            `clean`, `corrupted` [n, t], `answers`, `distractors`, `positions` [n], int64.
        """
        rng = np.random.default_rng(seed)
        rows: dict[str, list[Any]] = {key: [] for key in ("clean", "corrupted", "answers", "distractors", "positions")}
        for _ in range(n):
            position = int(rng.choice(self.positions))
            clean, answer = self.draw(rng, position)
            corrupted, distractor = self.draw(rng, position)
            while distractor == answer:
                corrupted, distractor = self.draw(rng, position)
            for key, value in zip(rows, (clean, corrupted, answer, distractor, position), strict=True):
                rows[key].append(value)
        return {key: np.array(values, dtype=np.int64) for key, values in rows.items()}


def finish(
    name: str,
    summary: str,
    program: Program,
    edges: Iterable[tuple[str, ...]],
    draw: Draw,
    positions: Iterable[int],
    options: Options,
) -> CompiledCase:
    """Assemble a program; `edges` name (source, target) or (source, target, channel) by their roles."""
    nodes = program.nodes()
    true = frozenset((nodes[edge[0]], nodes[edge[1]], edge[2] if len(edge) == 3 else "") for edge in edges)
    net = assemble(
        program,
        norm=options.norm,
        rotation=options.rotation,
        noise=options.noise,
        seed=options.seed,
        dtype=options.dtype,
    )
    return CompiledCase(name, summary, net, true, draw, tuple(positions))
