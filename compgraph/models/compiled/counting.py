"""Programs that count: a share of tokens by uniform attention, occurrences by attention's denominator."""

from __future__ import annotations

import numpy as np

from compgraph.models.compiled.copying import BOS, stream, token_program
from compgraph.models.compiled.pieces import copy, neurons, staircase
from compgraph.models.compiled.plan import CompiledCase, Options, finish
from compgraph.models.compiled.program import Head, Layer, Space

SCALE = 12.0
"""Of shares in the stream, so that neighbouring ones are about as far apart as other meanings are long."""


def frac_prevs(options: Options) -> CompiledCase:
    """How many tokens are one of two wanted ones: an MLP (is it?), the mean over positions, an MLP (share -> class)."""
    letters, time = 6, 8
    vocabulary = letters + time + 1  # classes 0 … time are tokens of their own
    wanted = [2, 5]
    space = stream(vocabulary, time, wanted=1, share=1)
    is_wanted = np.zeros((vocabulary, 1))
    is_wanted[wanted] = 1
    test = neurons(space, space.read(tok=is_wanted), [0.0], wanted=np.ones((1, 1)))
    uniform = np.zeros((space.width, 1))
    v, o = copy(space, "wanted", "share")
    mean = Head(uniform, uniform, v, time * o, role="mean")
    levels, classes = range(time + 1), range(letters, letters + time + 1)
    count = staircase(space, "share", levels, "out", classes)

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        share = rng.random()
        tokens = [int(rng.choice(wanted)) if rng.random() < share else int(rng.integers(letters)) for _ in range(time)]
        return tokens, letters + sum(token in wanted for token in tokens)

    edges = [("embed", "mlp.0"), ("mlp.0", "mean", "v"), ("mean", "mlp.1"), ("mlp.1", "logits")]
    program = token_program(space, [Layer([], test), Layer([mean], count)], options)
    summary = "count the tokens of a kind by their share"
    return finish("frac-prevs", summary, program, edges, draw, [time - 1], options)


def occurrences(options: Options) -> CompiledCase:
    """How often the last token occurs: a head attends to BOS and to all matches alike, so that BOS gets 1 / (1 + n).

    What the head writes is a constant of position 0, so that it has no edge into its values.
    """
    letters, time, most = 5, 8, 4
    vocabulary = letters + 1 + most + 1  # BOS, letters, classes 0 … most
    space = stream(vocabulary, time, share=1)
    head = _selector_width(space, vocabulary, time, options.sharpness)
    numbers = list(range(most, 0, -1))
    levels, classes = [SCALE / (1 + n) for n in numbers], [letters + 1 + n for n in numbers]
    count = staircase(space, "share", levels, "out", classes)

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        last, *others = rng.permutation(np.arange(1, letters + 1)).tolist()
        n = int(rng.integers(1, most + 1))
        row = [last] * (n - 1) + rng.choice(others, size=time - 1 - n).tolist()
        return [BOS, *rng.permutation(row).tolist(), last], letters + 1 + n

    edges = [("embed", "counter", "q"), ("embed", "counter", "k"), ("counter", "mlp.0"), ("mlp.0", "logits")]
    program = token_program(space, [Layer([head], count)], options)
    summary = "count how often the last token occurs"
    return finish("occurrences", summary, program, edges, draw, [time - 1], options)


def _selector_width(space: Space, vocabulary: int, time: int, sharpness: float) -> Head:
    tokens, start = np.eye(vocabulary), np.zeros((time, 1))
    start[0] = 1
    tokens[BOS] = 0
    return Head(
        q=sharpness * space.read(tok=tokens),
        k=space.read(tok=tokens, pos=start @ np.ones((1, vocabulary))),
        v=space.read(pos=start),
        o=space.write(share=np.full((1, 1), SCALE)),
        role="counter",
    )
