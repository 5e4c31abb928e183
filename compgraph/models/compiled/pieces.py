"""Parts that several programs use: attention by position, copies, step functions, decoys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compgraph.models.compiled.program import Head, Layer, Matrix, Mlp, Space

HARD = 40.0
"""Gap of attention scores that float64 takes for infinite: exp(-40) = 4e-18. For attention by position, whose scores no
input changes."""


def look_at(space: Space, seen: Sequence[int]) -> tuple[Matrix, Matrix]:
    """Readers q, k: the query at position i attends to position `seen[i]` alone."""
    time = len(seen)
    return space.read(pos=HARD * np.eye(time)[list(seen)]), space.read(pos=np.eye(time))


def match(space: Space, query: Matrix, key: str, sharpness: float) -> tuple[Matrix, Matrix]:
    """Readers q, k: a query (a reader [stream, w]) attends where the subspace `key` [w] holds the same."""
    width = space.slices[key].stop - space.slices[key].start
    return sharpness * query, space.read(**{key: np.eye(width)})


def copy(space: Space, source: str, target: str, chosen: Matrix | None = None) -> tuple[Matrix, Matrix]:
    """Reader v and writer o that carry `source @ chosen` (default: all of it) over to `target`."""
    width = space.slices[source].stop - space.slices[source].start
    chosen = np.eye(width) if chosen is None else chosen
    return space.read(**{source: chosen}), space.write(**{target: np.eye(chosen.shape[1])})


def previous(time: int) -> list[int]:
    """The position before each; the first sees itself."""
    return [max(i - 1, 0) for i in range(time)]


def neurons(space: Space, reader: Matrix, bias: Matrix | Sequence[float], **writes: Matrix) -> Mlp:
    """ReLU neurons without an output bias."""
    return Mlp(reader, np.asarray(bias, dtype=float), space.write(**writes), np.zeros(space.width))


def staircase(space: Space, source: str, levels: Sequence[float], target: str, classes: Sequence[int]) -> Mlp:
    """Turn a number into a class: axis `classes[k]` of `target` is 1 where `source` is `levels[k]`, else 0.

    Each step between neighbouring levels is flat over the quarter of the gap next to either, so that what is only
    nearly a level counts as one.
    """
    low, high = np.array(levels[:-1]), np.array(levels[1:])
    slope, middle = 2 / (high - low), (high + low) / 2
    n, width = len(low), space.slices[target].stop - space.slices[target].start
    step = np.zeros((n, width))  # what taking step k changes: away from class k, towards class k + 1
    step[np.arange(n), list(classes[:-1])] -= 1
    step[np.arange(n), list(classes[1:])] += 1
    mlp = neurons(
        space,
        space.read(**{source: np.concatenate([slope, slope])[None]}),
        np.concatenate([0.5 - slope * middle, -0.5 - slope * middle]),
        **{target: np.vstack([step, -step])},
    )
    mlp.constant[space.slices[target].start + classes[0]] = 1.0
    return mlp


# ---- decoys: what acts like a part of the algorithm and is none ------------------------------------------------


def unread_copy(space: Space, time: int, source: str = "tok", back: int = 1) -> Head:
    """Copies `source` from `back` positions before into the subspace `lost`, which nothing that matters reads."""
    q, k = look_at(space, [max(i - back, 0) for i in range(time)])
    return Head(q, k, *copy(space, source, "lost"))


def mute_match(space: Space, source: str = "tok", sharpness: float = 10.0) -> Head:
    """Attends to equal tokens and reads them, but writes nothing."""
    width = space.slices[source].stop - space.slices[source].start
    q, k = match(space, space.read(**{source: np.eye(width)}), source, sharpness)
    v, o = copy(space, source, source)
    return Head(q, k, v, 0 * o)


def unread_neurons(space: Space, source: str = "tok") -> Mlp:
    """Neurons that copy `source` into `lost`."""
    width = space.slices[source].stop - space.slices[source].start
    eye = np.eye(width)
    return neurons(space, space.read(**{source: eye}), np.full(width, -0.25), lost=eye)


def with_decoys(layers: list[Layer], space: Space, time: int, mlp: bool = True) -> list[Layer]:
    """Three more heads in every layer, one before and two behind its own, and, if asked, more neurons.

    Later layers' decoys read what earlier ones lost, so that there are decoy paths too.
    """
    out = []
    for number, layer in enumerate(layers):
        source = "lost" if number else "tok"
        before, behind = unread_copy(space, time, source), unread_copy(space, time, "tok", back=2)
        heads = [before, *layer.heads, behind, mute_match(space, source)]
        found = layer.mlp
        if mlp:
            more = unread_neurons(space, source)
            found = more if found is None else found.beside(more)
        out.append(Layer(heads, found))
    return out
