"""Programs that copy a token from where it stood: one back, two back, reversed, after its last occurrence."""

from __future__ import annotations

import numpy as np

from compgraph.models.compiled.pieces import copy, look_at, match, previous, with_decoys
from compgraph.models.compiled.plan import CompiledCase, Options, finish
from compgraph.models.compiled.program import Head, Layer, Matrix, Program, Space

BOS = 0
LOGIT = 10.0
"""Logit of the right class; the others have 0."""


def stream(vocabulary: int, time: int, **more: int) -> Space:
    """Subspaces of every program: `tok`, `pos`, `out` (a class), `lost` (read by nothing that matters), and more."""
    return Space(tok=vocabulary, pos=time, out=vocabulary, lost=vocabulary, **more)


def token_program(space: Space, layers: list[Layer], options: Options, mlp: bool = True) -> Program:
    """One-hot tokens and positions in, the subspace `out` as logits, with decoys if asked for."""
    vocabulary, time = (space.slices[name].stop - space.slices[name].start for name in ("tok", "pos"))
    return Program(
        space,
        tokens=space.write(tok=np.eye(vocabulary)),
        positions=space.write(pos=np.eye(time)),
        unembedding=LOGIT * space.write(out=np.eye(vocabulary)),
        layers=with_decoys(layers, space, time, mlp) if options.decoys else layers,
    )


def previous_token(options: Options) -> CompiledCase:
    """The token before the scored position."""
    vocabulary, time = 8, 8
    space = stream(vocabulary, time)
    head = Head(*look_at(space, previous(time)), *copy(space, "tok", "out"), role="previous")

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        tokens = rng.integers(vocabulary, size=time).tolist()
        return tokens, tokens[position - 1]

    edges = [("embed", "previous", "v"), ("previous", "logits")]
    program = token_program(space, [Layer([head]), Layer([])], options)
    summary = "copy the token before"
    return finish("previous-token", summary, program, edges, draw, range(1, time), options)


def two_back(options: Options) -> CompiledCase:
    """The token two before the scored position, fetched in two steps by two heads."""
    vocabulary, time = 8, 8
    space = stream(vocabulary, time, prev=vocabulary)
    first = Head(*look_at(space, previous(time)), *copy(space, "tok", "prev"), role="first")
    second = Head(*look_at(space, previous(time)), *copy(space, "prev", "out"), role="second")

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        tokens = rng.integers(vocabulary, size=time).tolist()
        return tokens, tokens[position - 2]

    edges = [("embed", "first", "v"), ("first", "second", "v"), ("second", "logits")]
    program = token_program(space, [Layer([first]), Layer([second])], options)
    return finish("two-back", "copy the token two before", program, edges, draw, range(2, time), options)


def reverse(options: Options) -> CompiledCase:
    """`x1 … x4 SEP` and then, token by token, `x4 … x1`; the even outputs by one head, the odd ones by another."""
    n, content = 4, 6
    separator, vocabulary, time = content + 1, content + 2, 2 * n + 1
    space = stream(vocabulary, time)
    # What comes out at position n + 1 + i stood at position n - i; position 0 holds BOS, which writes nothing.
    seen: dict[str, list[int]] = {"even": [0] * time, "odd": [0] * time}
    for i in range(n):
        seen["odd" if i % 2 else "even"][n + 1 + i] = n - i
    letters: Matrix = np.diag([float(1 <= token <= content) for token in range(vocabulary)])
    heads = {
        role: Head(*look_at(space, places), *copy(space, "tok", "out", letters), role=role)
        for role, places in seen.items()
    }

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        word = rng.integers(1, content + 1, size=n).tolist()
        return [BOS, *word, separator, *word[:0:-1]], word[n - 1 - (position - n - 1)]

    edges = [(*edge, "v") for edge in (("embed", "even"), ("embed", "odd"))]
    program = token_program(space, [Layer([heads["even"]]), Layer([heads["odd"]])], options)
    ends = [("even", "logits"), ("odd", "logits")]
    summary = "spell a word of four backwards"
    return finish("reverse", summary, program, [*edges, *ends], draw, range(n + 1, 2 * n + 1), options)


def induction(options: Options) -> CompiledCase:
    """What followed the last token's only earlier occurrence: a previous-token and an induction head, no MLP."""
    vocabulary, time = 9, 10
    space = stream(vocabulary, time, prev=vocabulary)
    before = Head(*look_at(space, previous(time)), *copy(space, "tok", "prev"), role="previous")
    token = space.read(tok=np.eye(vocabulary))
    found = match(space, token, "prev", options.sharpness)
    after = Head(*found, *copy(space, "tok", "out"), role="induction")

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        tokens = rng.permutation(np.arange(1, vocabulary))
        repeated, others = int(tokens[0]), tokens[1:]
        row = [BOS, *rng.choice(others, size=time - 2).tolist(), repeated]
        at = int(rng.integers(1, time - 2))
        row[at] = repeated
        return row, row[at + 1]

    edges = [
        ("embed", "previous", "v"),
        ("embed", "induction", "q"),
        ("previous", "induction", "k"),
        ("embed", "induction", "v"),
        ("induction", "logits"),
    ]
    program = token_program(space, [Layer([before]), Layer([after])], options, mlp=False)
    summary = "repeat what followed the same token earlier"
    return finish("induction", summary, program, edges, draw, [time - 1], options)
