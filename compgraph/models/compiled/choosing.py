"""Programs that choose: the next larger number, and the sum of two numbers that two branches fetch."""

from __future__ import annotations

import numpy as np

from compgraph.models.compiled.copying import BOS, stream, token_program
from compgraph.models.compiled.pieces import copy, look_at, neurons, previous
from compgraph.models.compiled.plan import CompiledCase, Options, finish
from compgraph.models.compiled.program import Head, Layer, Matrix, Mlp, Space


def sort(options: Options) -> CompiledCase:
    """`x1 … x4 SEP` and then the same numbers in rising order: one head finds the least number above the last one."""
    n, numbers = 4, 9
    separator, vocabulary, time = numbers + 1, numbers + 2, 2 * n + 1
    space = stream(vocabulary, time)
    value = np.array([np.inf if token in (BOS, separator) else token for token in range(vocabulary)])
    floor = np.where(np.arange(vocabulary) == separator, 0, value)  # SEP comes before all numbers
    above = (value[None, :] > floor[:, None]) & np.isfinite(value)[None, :]
    score = np.where(above, numbers + 1 - np.where(np.isfinite(value), value, 0)[None, :], 0.0)
    score[BOS] = 0
    head = Head(
        options.sharpness * space.read(tok=score),
        space.read(tok=np.eye(vocabulary)),
        *copy(space, "tok", "out"),
        role="next",
    )

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        row = rng.permutation(np.arange(1, numbers + 1))[:n].tolist()
        ordered = sorted(row)
        return [BOS, *row, separator, *ordered[:-1]], ordered[position - n - 1]

    edges = [*(("embed", "next", channel) for channel in "qkv"), ("next", "logits")]
    program = token_program(space, [Layer([]), Layer([head])], options)
    return finish("sort", "sort four numbers", program, edges, draw, range(n + 1, 2 * n + 1), options)


MARK_A, MARK_B = 1, 2
NUMBERS = range(3, 8)
FILLERS = range(8, 12)
FLAGGED = (10, 11)


def two_branch(options: Options) -> CompiledCase:
    """The sum, modulo 5, of the number after mark A and the number after mark B, fetched by two heads, added by an MLP.

    Among the decoys one is a trap: a head flags two of the fillers at the scored position (0 or 1), an MLP computes a
    tent that is 0 at both 0 and 1, and the adding neurons read the tent. Nothing depends on it, whatever is ablated,
    but the gradient at a flag of 1 is not 0.
    """
    vocabulary, time, n = FILLERS.stop, 9, len(NUMBERS)
    space = stream(vocabulary, time, prev=vocabulary, a=n, b=n, flag=1, tent=1)
    before = Head(*look_at(space, previous(time)), *copy(space, "tok", "prev"), role="previous")
    numbers = np.eye(vocabulary)[:, NUMBERS.start : NUMBERS.stop]
    branches = [
        _after_mark(space, mark, target, numbers, time, options.sharpness)
        for mark, target in ((MARK_B, "b"), (MARK_A, "a"))
    ]
    first = [before]
    trap = None
    if options.decoys:
        flagged = np.isin(np.arange(vocabulary), FLAGGED).astype(float)[:, None]
        first = [Head(*look_at(space, range(time)), *copy(space, "tok", "flag", flagged)), before]
        trap = neurons(space, space.read(flag=np.ones((1, 2))), [0.0, -0.5], tent=np.array([[1.0], [-2.0]]))

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        row = rng.choice(FILLERS, size=time).tolist()
        row[0] = BOS
        a, b = rng.choice(NUMBERS, size=2).tolist()
        starts = rng.choice([(i, j) for i in range(1, time - 2) for j in range(1, time - 2) if abs(i - j) > 1])
        for start, mark, number in zip(starts, (MARK_A, MARK_B), (a, b), strict=True):
            row[start : start + 2] = [mark, number]
        return row, NUMBERS.start + (a + b - 2 * NUMBERS.start) % n

    edges = [("embed", "previous", "v"), ("mlp.1", "logits")]
    for branch in ("a", "b"):
        edges += [("previous", branch, "k"), ("embed", branch, "v"), (branch, "mlp.1")]
    program = token_program(space, [Layer(first, trap), Layer(branches, _adder(space, n, vocabulary))], options)
    summary = "add the numbers that follow two marks"
    return finish("two-branch", summary, program, edges, draw, [time - 1], options)


def _after_mark(space: Space, mark: int, target: str, numbers: Matrix, time: int, sharpness: float) -> Head:
    """Copies the number that follows a mark: every query asks for the key whose previous token is the mark."""
    asked = np.zeros((time, 1))
    asked[:] = sharpness
    key = np.zeros((space.slices["prev"].stop - space.slices["prev"].start, 1))
    key[mark] = 1
    return Head(space.read(pos=asked), space.read(prev=key), *copy(space, "tok", target, numbers), role=target)


def _adder(space: Space, n: int, vocabulary: int) -> Mlp:
    """A neuron for each pair (a, b): on where both are there, moved by the tent, writes the class of their sum."""
    a, b = np.repeat(np.eye(n), n, axis=1), np.tile(np.eye(n), n)
    total = np.zeros((n * n, vocabulary))
    total[np.arange(n * n), NUMBERS.start + np.add.outer(np.arange(n), np.arange(n)).ravel() % n] = 1
    return neurons(space, space.read(a=a, b=b, tent=np.ones((1, n * n))), np.full(n * n, -1.0), out=total)
