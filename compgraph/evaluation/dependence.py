"""Whether two series of numbers are independent: the Hilbert-Schmidt criterion and its permutation test.

HSIC = tr(K H L H) / (n - 1)² with Gaussian kernels K, L and the centring H (Gretton et al. 2005, 2008). Kernels of
single numbers have low rank: K ≈ Φ Φᵀ by pivoted Cholesky, so HSIC = |Φᵀ H Ψ|² / (n - 1)², and a permutation costs one
product of two thin matrices. Memory is n × rank, never n × n.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

REST = 1e-10
"""Mean of the kernel's diagonal that the factors may leave out."""


def hsic(x: Floats, y: Floats, bandwidth: tuple[float, float]) -> float:
    """Criterion of two series [n] under kernels exp(-d² / (2 σ²)) of these widths."""
    a, b = _centred(kernel_factor(x, bandwidth[0])), _centred(kernel_factor(y, bandwidth[1]))
    return float(((a.T @ b) ** 2).sum() / (len(x) - 1) ** 2)


def permutation_p(
    x: Floats, y: Floats, bandwidth: tuple[float, float], n_permutations: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Criterion, and p = (1 + number of permutations of y that reach it) / (1 + n_permutations)."""
    a, b = _centred(kernel_factor(x, bandwidth[0])), _centred(kernel_factor(y, bandwidth[1]))
    observed = float(((a.T @ b) ** 2).sum())
    null = np.array([((a.T @ b[rng.permutation(len(b))]) ** 2).sum() for _ in range(n_permutations)])
    # A permutation that changes nothing must count, though it adds up in another order.
    p = (1 + (null >= observed * (1 - 1e-9) - 1e-12).sum()) / (1 + n_permutations)
    return observed / (len(x) - 1) ** 2, float(p)


def kernel_factor(x: Floats, bandwidth: float) -> Floats:
    """Φ [n, rank] with Φ Φᵀ = exp(-(x_i - x_j)² / (2 σ²)) up to `REST` (pivoted Cholesky)."""
    rest = np.ones(len(x))
    columns: list[Floats] = []
    while rest.mean() > REST and len(columns) < len(x):
        pivot = int(rest.argmax())
        column = np.exp(-((x - x[pivot]) ** 2) / (2 * bandwidth**2))
        for other in columns:
            column = column - other * other[pivot]
        column = column / np.sqrt(rest[pivot])
        columns.append(column)
        rest = np.maximum(rest - column**2, 0)
    return np.stack(columns, 1)


def median_distance(x: Floats, y: Floats) -> float:
    """Median of |x_i - y_j| over all pairs (the upper one of an even number), by bisection in n log n."""
    ordered, below = np.sort(y), 0.0
    above = float(max(x.max() - y.min(), y.max() - x.min()))
    half = len(x) * len(y) // 2 + 1

    def within(distance: float) -> int:
        near = np.searchsorted(ordered, x + distance, "right") - np.searchsorted(ordered, x - distance, "left")
        return int(near.sum())

    if within(0.0) >= half:
        return 0.0
    for _ in range(200):
        middle = (below + above) / 2
        if middle in (below, above):
            break
        below, above = (below, middle) if within(middle) >= half else (middle, above)
    return above


def _centred(factor: Floats) -> Floats:
    centred: Floats = factor - factor.mean(0)
    return centred
