"""The type of a null model, and what nulls that move edges do with weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compgraph.communities.pairs import Floats, Integers
from compgraph.statistics.view import View

Sampler = Callable[[np.random.Generator], View]
"""Makes one null graph."""

Null = Callable[[View, int], Sampler]
"""Prepares what all samples share; the seed is that of random preparations."""


def edge_weights(view: View) -> Floats:
    """Signed magnitudes of the edges; a pair whose channels cancel counts as positive."""
    weights: Floats = view.signs * view.magnitude
    return weights


def weights_by_source(source: Integers, weights: Floats, rng: np.random.Generator) -> Floats:
    """Weights in the order of sources sorted, those of one source in random order."""
    order = np.lexsort((rng.random(len(source)), source))
    shuffled: Floats = weights[order]
    return shuffled
