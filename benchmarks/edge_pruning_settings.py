"""Which `target` and `learning_rate` edge-pruning has by default: measured on programs kept for this choice alone.

    python -m benchmarks.edge_pruning_settings [--seeds 2] [--n 16]

The programs below are none of `compgraph.models.compiled.CASES`, on which methods are compared. Targets from the range
that the scripts of the reference sweep (0.94 to 1.1) are tried at a learning rate of 0.2, then other learning rates at
the target chosen. Of each: searches that rank every true edge above every other (AUROC 1), one a program and seed (of
examples and search), and the mean and the least AUROC.

The rule for the target, written down before its outcome was known: most searches with AUROC 1, then the largest mean,
then the smaller, which presses least. All targets did equally well, so that the last clause decided. The learning
rate stays 0.2 unless another does better, a rule made after the targets were seen and before the rates were. `steps`
and `start` are not chosen here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import torch

from compgraph.evaluation.ground_truth import recover_known
from compgraph.models.compiled.copying import BOS, stream, token_program
from compgraph.models.compiled.pieces import copy, look_at, neurons, previous
from compgraph.models.compiled.plan import CompiledCase, Options, finish
from compgraph.models.compiled.program import Head, Layer

TARGETS = (0.94, 0.96, 0.98, 1.0, 1.02, 1.05, 1.1)
RATE, OTHER_RATES = 0.2, (0.1, 0.4)
VOCABULARY, TIME = 7, 6


def three_back(options: Options) -> CompiledCase:
    """The token three before, fetched in three steps."""
    space = stream(VOCABULARY, TIME, one=VOCABULARY, two=VOCABULARY)
    steps = [("tok", "one"), ("one", "two"), ("two", "out")]
    heads = [
        Head(*look_at(space, previous(TIME)), *copy(space, a, b), role=f"step{k}") for k, (a, b) in enumerate(steps)
    ]

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        tokens = rng.integers(VOCABULARY, size=TIME).tolist()
        return tokens, tokens[position - 3]

    edges = [("embed", "step0", "v"), ("step0", "step1", "v"), ("step1", "step2", "v"), ("step2", "logits")]
    program = token_program(space, [Layer([head]) for head in heads], options)
    return finish("three-back", "copy the token three before", program, edges, draw, range(3, TIME), options)


def code(options: Options) -> CompiledCase:
    """The token before, in a cipher that an MLP knows."""
    space = stream(VOCABULARY, TIME, prev=VOCABULARY)
    head = Head(*look_at(space, previous(TIME)), *copy(space, "tok", "prev"), role="previous")
    cipher = np.roll(np.arange(VOCABULARY), 3)
    eye = np.eye(VOCABULARY)
    table = neurons(space, space.read(prev=eye), np.zeros(VOCABULARY), out=eye[cipher])

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        tokens = rng.integers(VOCABULARY, size=TIME).tolist()
        return tokens, int(cipher[tokens[position - 1]])

    edges = [("embed", "previous", "v"), ("previous", "mlp.0"), ("mlp.0", "logits")]
    program = token_program(space, [Layer([head], table)], options)
    return finish("code", "encode the token before", program, edges, draw, range(1, TIME), options)


def product_of_two(options: Options) -> CompiledCase:
    """The product, modulo 5, of the tokens at two places, which two heads fetch and an MLP multiplies."""
    n, space = 5, stream(VOCABULARY, TIME, a=VOCABULARY, b=VOCABULARY)
    heads = [
        Head(*look_at(space, [min(place, i) for i in range(TIME)]), *copy(space, "tok", role), role=role)
        for role, place in (("a", 2), ("b", 4))
    ]
    a, b = np.repeat(np.eye(VOCABULARY), VOCABULARY, 1), np.tile(np.eye(VOCABULARY), VOCABULARY)
    classes = np.multiply.outer(np.arange(VOCABULARY), np.arange(VOCABULARY)).ravel() % n
    table = neurons(space, space.read(a=a, b=b), np.full(VOCABULARY**2, -1.0), out=np.eye(VOCABULARY)[classes])

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        tokens = rng.integers(VOCABULARY, size=TIME).tolist()
        return tokens, tokens[2] * tokens[4] % n

    edges = [("embed", "a", "v"), ("embed", "b", "v"), ("a", "mlp.1"), ("b", "mlp.1"), ("mlp.1", "logits")]
    program = token_program(space, [Layer([heads[0]]), Layer([heads[1]], table)], options)
    return finish("product", "multiply two tokens", program, edges, draw, [TIME - 1], options)


def largest(options: Options) -> CompiledCase:
    """The largest number so far: queries, keys and values of one head all come from the tokens; no MLP."""
    space = stream(VOCABULARY, TIME)
    value = np.arange(VOCABULARY, dtype=float)[None]
    score = np.repeat(options.sharpness * value, VOCABULARY, 0)
    score[BOS] = 0  # a query of BOS looks everywhere alike: the last token is never one
    head = Head(space.read(tok=score), space.read(tok=np.eye(VOCABULARY)), *copy(space, "tok", "out"), role="most")

    def draw(rng: np.random.Generator, position: int) -> tuple[list[int], int]:
        tokens = [BOS, *rng.integers(1, rng.integers(2, VOCABULARY) + 1, size=TIME - 1).tolist()]
        return tokens, max(tokens)

    edges = [("embed", "most", "k"), ("embed", "most", "v"), ("most", "logits")]
    program = token_program(space, [Layer([]), Layer([head])], options, mlp=False)
    return finish("largest", "the largest number", program, edges, draw, [TIME - 1], options)


PROGRAMS: dict[str, Callable[[Options], CompiledCase]] = {
    "three-back": three_back,
    "code": code,
    "product": product_of_two,
    "largest": largest,
}


def found(cases: Sequence[CompiledCase], target: float, rate: float, n: int, seeds: range) -> np.ndarray:
    """AUROC of every case and seed."""
    options = {"edge-pruning": {"target": target, "learning_rate": rate}}
    tables = [recover_known(["edge-pruning"], cases, n=n, seed=seed, options=options).areas for seed in seeds]
    return np.concatenate([table["auroc"] for table in tables])


def main() -> None:
    """Print the table in Markdown, and what the rule picks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--n", type=int, default=16)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cases = [make(Options()) for make in PROGRAMS.values()]
    print("| target | learning rate | AUROC 1 | mean | least |\n| --- | --- | --- | --- | --- |", flush=True)
    seeds = range(1, 1 + chosen.seeds)

    def ranked(target: float, rate: float) -> tuple[float, float, float]:
        auroc = found(cases, target, rate, chosen.n, seeds)
        whole, mean = int((auroc == 1).sum()), float(auroc.mean())
        print(f"| {target} | {rate} | {whole} of {len(auroc)} | {mean:.4f} | {auroc.min():.4f} |", flush=True)
        return -whole, -mean, target

    best = min(ranked(target, RATE) for target in TARGETS)
    others = {rate: ranked(best[2], rate) for rate in OTHER_RATES}
    better = {found[:2]: rate for rate, found in others.items() if found[:2] < best[:2]}
    print(f"\nchosen: target {best[2]}, learning_rate {better[min(better)] if better else RATE}")


if __name__ == "__main__":
    main()
