"""Nulls that keep which pairs have an edge and move the weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from compgraph.communities.pairs import Floats, Integers
from compgraph.nulls.effects import additive_part
from compgraph.statistics.nulls.noise import ends, fitted, power, scaled, skewness
from compgraph.statistics.nulls.sampling import Sampler, edge_weights
from compgraph.statistics.view import DENSE_NODES, UNDIRECTED, UndefinedError, View

LEAST_POWER = 0.05
"""Noise of a smaller power counts as lognormal."""

EXPONENTIAL = -1.14
"""Skewness of the logarithms of exponential noise; of lognormal noise it is 0."""

TOLERATED = 0.5
"""How much larger it may be before strengths hold too much of the noise."""

UNSURE = 8.0
"""And how much for few weights, over the root of their number: about twice the error of a skewness."""


def weights(view: View, seed: int = 0) -> Sampler:
    """Permute the weights over the edges, each with its sign.

    Keeps which pairs have an edge and the set of weights; not the strengths.
    """
    signed = edge_weights(view)

    def sample(rng: np.random.Generator) -> View:
        return view.with_weights(rng.permutation(signed))

    return sample


def effects(view: View, seed: int = 0) -> Sampler:
    """Permute what the weights hold beyond an effect of either end.

    w_uv = a_u b_v e_uv with noise e of one shape, which is read off the graph (`compgraph.statistics.nulls.noise`): a
    power p of e is a gamma variable. Noise, brought to one variance, is permuted over the edges with as many channels,
    signs with it, and what it holds of effects by chance is taken off again (as Freedman & Lane 1983), so that every
    node keeps the effects that it has. Keeps which pairs have an edge and each node's sum of (w / (a b))^p (for
    lognormal noise its geometric mean weight), and strengths on average. Edges that effects determine stay.

    It is exact for lognormal noise of any width, nearly so for exponential and normal weights; `strength` is not for
    the first: a weight that is large by chance has raised the strengths of its ends, and graphs with those strengths
    but without that weight are too even.

    Raises
    ------
    UndefinedError
        If the weights are too unequal to scale.
    """
    fit = fitted(view)
    free = _free(view, fit.informative)
    shape = power(fit)
    spread = np.sqrt(np.where(fit.informative, 1 - fit.leverage, 1.0))
    if shape < LEAST_POWER:
        explained, residual = fit.fitted, np.where(fit.informative, fit.residual, 0.0)
        centred, shape = _centring(view), 1.0
    else:
        logs = shape * (fit.fitted + fit.residual)
        centred = _to_degrees(view)
        residual = centred(logs - logs.mean())
        explained = logs - residual
        residual = np.where(fit.informative, residual, 0.0)
    studentised = residual / spread

    def sample(rng: np.random.Generator) -> View:
        order = _permuted(free, view, rng)
        drawn = np.where(fit.informative, centred(studentised[order]), 0.0)
        return view.with_weights(view.signs[order] * np.exp((explained + drawn) / shape))

    return sample


def strength(view: View, seed: int = 0) -> Sampler:
    """Permute what the weights hold beyond strengths, then scale back to the strengths.

    Residuals of log |w| beyond an effect of either end are permuted over the edges with as many channels, signs with
    them, and rows and columns are scaled (Sinkhorn) until every node has its strengths of |w| again. Keeps which pairs
    have an edge and all strengths, and nearly the distribution of weights. Pairs that strengths determine keep their
    weight.

    Raises
    ------
    UndefinedError
        If the noise of the weights has a longer tail than an exponential one, so that strengths hold it (`effects`
        serves such graphs), or if strengths cannot be matched in float64.
    """
    fit = fitted(view)
    skew = skewness(fit)
    if skew > EXPONENTIAL + max(TOLERATED, UNSURE / np.sqrt(max(1, fit.informative.sum()))):
        raise UndefinedError(
            f"the strength null: the noise of the weights has too long a tail (its logarithms have a skewness of "
            f"{skew:.2f}, those of exponential noise {EXPONENTIAL}), so that strengths hold much of it; use effects"
        )
    free = _free(view, fit.informative)
    scale = float(view.magnitude.max())
    sums = view.out_strength / scale, view.in_strength / scale
    if view.kind != UNDIRECTED and view.n_nodes <= DENSE_NODES:
        _ = view.expected  # made once, and shared by all samples, whose strengths are the same

    def sample(rng: np.random.Generator) -> View:
        order = _permuted(free, view, rng)
        sizes = scale * scaled(view, np.exp(fit.fitted + fit.residual[order]) / scale, *sums)
        if not (sizes > 0).all():
            raise UndefinedError("the strength null: some weights are too small to scale in float64")
        return view.with_weights(view.signs[order] * sizes, same_strengths=True)

    return sample


def _free(view: View, informative: npt.NDArray[np.bool_]) -> list[Integers]:
    """The edges whose noise changes places, by number of channels: the sum of three is less noisy than one weight."""
    return [np.flatnonzero(informative & (view.channels == count)) for count in np.unique(view.channels)]


def _permuted(free: list[Integers], view: View, rng: np.random.Generator) -> Integers:
    order = np.arange(view.n_edges)
    for edges in free:
        order[edges] = rng.permutation(edges)
    return order


def _to_degrees(view: View) -> Callable[[Floats], Floats]:
    """Takes effects off logarithms until their exponentials add up to its degree at each node."""
    out, into = (np.bincount(end, minlength=view.n_nodes).astype(np.float64) for end in (view.source, view.target))
    sums = (out + into, out + into) if view.kind == UNDIRECTED else (out, into)
    return lambda logs: np.log(scaled(view, np.exp(logs), *sums))


def _centring(view: View) -> Callable[[Floats], Floats]:
    """Takes least-squares effects off logarithms."""
    first, second = ends(view)
    if view.n_nodes > DENSE_NODES:
        return lambda logs: logs - additive_part(first, second, logs)
    inverse = _normal_inverse(view)

    def centred(logs: Floats) -> Floats:
        sums = sum(np.bincount(end, logs, minlength=len(inverse)) for end in (first, second))
        effects = inverse @ sums
        result: Floats = logs - effects[first] - effects[second]
        return result

    return centred


def _normal_inverse(view: View) -> Floats:
    """Pseudo-inverse of the normal equations of the effects; sources, then targets, unless undirected."""
    edges = view.dense(np.ones(view.n_edges))
    if view.kind == UNDIRECTED:
        normal = edges + np.diag(edges.sum(axis=1))
    else:
        normal = np.block([[np.diag(edges.sum(axis=1)), edges], [edges.T, np.diag(edges.sum(axis=0))]])
    inverse: Floats = np.linalg.pinv(normal, rcond=1e-10, hermitian=True)
    return inverse
