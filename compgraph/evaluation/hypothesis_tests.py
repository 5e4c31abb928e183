"""The tests of Shi et al. 2024 (Hypothesis testing the circuit hypothesis in LLMs, arXiv 2410.13032), on scores.

Each works on scores s of single examples, float [n]: of the model M, the circuit C, its complement (what is left of the
model without the edges of C) or R random circuits; loss(A, B) = mean (s(A) - s(B))². What differs from the authors'
code (blei-lab/circuitry), and why:

- equivalence: the statistic is the share of examples where the circuit scores higher, as in the paper; the code puts
  the mean difference of the scores in its place. An example on which the two agree counts half.
- independence: p counts the observation itself (+1), or it could be 0.
- minimality: p is multiplied by the number of edges tested (Bonferroni), which the code leaves to do.
- all but minimality take `rounding`, up to which two scores are the same: without it a circuit that is the model but
  for the order of its sums is judged by noise.
- sufficiency and partial necessity: a tie with a random circuit does not count as a win; a circuit that does nothing
  would otherwise beat all others that do nothing. The random circuits are of exactly the circuit's size
  (`random_circuits`); unions of random paths overshoot.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from compgraph.errors import DataError
from compgraph.evaluation.dependence import median_distance, permutation_p

Floats = npt.NDArray[np.float64]

TIE = 1e-9
"""Scores, and losses, closer than this share of the largest among them are equal."""


@dataclass(frozen=True)
class Verdict:
    """Result of a test.

    Attributes
    ----------
    test
        Its name.
    statistic, p
        As each test says.
    rejected
        Whether p is at most alpha.
    passes
        Whether that speaks for the circuit: two tests want their null hypothesis rejected, three want it kept (which
        proves nothing where n is small).
    verdict
        In words.
    n
        Examples, random circuits or edges, whichever are counted.
    note
        What to know about this case, else "".
    """

    test: str
    statistic: float
    p: float
    rejected: bool
    passes: bool
    verdict: str
    n: int
    note: str = ""

    def row(self) -> dict[str, Any]:
        """As a row of a table."""
        return asdict(self)


def loss(first: Floats, second: Floats, rounding: float = 0.0) -> Floats:
    """Mean over examples (last axis) of the squared difference; 0 where differences of `rounding` would explain it."""
    found = np.asarray(((first - second) ** 2).mean(-1))
    return np.where(found > rounding**2, found, 0.0)


def equivalence(
    circuit: Floats, model: Floats, *, epsilon: float = 0.1, alpha: float = 0.05, rounding: float = 0.0
) -> Verdict:
    """H0: |P(s(C) > s(M)) - 1/2| < epsilon. Statistic: |share - 1/2|; rejected: not equivalent.

    p is the largest that H0 allows: that of a share 1/2 + epsilon, in both tails.
    """
    _check_scores(circuit=circuit, model=model)
    if not 0 < epsilon < 0.5:
        raise DataError(f"epsilon is {epsilon}; it must lie between 0 and 0.5")
    n, difference = len(circuit), circuit - model
    tied = np.abs(difference) <= max(rounding, TIE * np.abs([circuit, model]).max())
    wins = ((difference > 0) & ~tied).sum() + tied.sum() / 2
    k = np.arange(n + 1)
    extreme = np.abs(k - n / 2) >= abs(wins - n / 2) - 1e-9
    p = min(1.0, float(binom.pmf(k[extreme], n, 0.5 + epsilon).sum()))
    note = f"{int(tied.sum())} ties count half" if tied.any() else ""
    words = "not equivalent to the model", "no evidence against equivalence"
    return _verdict("equivalence", float(abs(wins / n - 0.5)), p, alpha, words, n, note, wanted=False)


def independence(
    complement: Floats,
    model: Floats,
    *,
    n_permutations: int = 1000,
    bandwidth: Literal["cross", "own"] = "cross",
    alpha: float = 0.05,
    rounding: float = 0.0,
    seed: int = 0,
) -> Verdict:
    """H0: the complement's scores are independent of the model's. Statistic: HSIC; rejected: it knows something.

    Parameters
    ----------
    bandwidth
        `cross`: one width for both kernels, the median of |s(complement)_i - s(M)_j|, as the authors do. `own`: each
        kernel's is the median distance of its own scores, which sees more where the two scores differ in scale.
    """
    _check_scores(complement=complement, model=model)
    if bandwidth not in ("cross", "own"):
        raise DataError(f"bandwidth {bandwidth!r} is not known; valid are cross, own")
    if n_permutations < 1:
        raise DataError(f"n_permutations is {n_permutations}; it must be at least 1")
    words = "the complement still informs about the model", "no evidence that the complement informs"
    scores = {"complement": complement, "model": model}
    constant = [name for name, x in scores.items() if np.ptp(x) <= max(rounding, TIE * np.abs(x).max())]
    if constant:
        note = f"the scores of the {constant[0]} do not vary: independent of anything"
        return _verdict("independence", 0.0, 1.0, alpha, words, len(model), note, wanted=False)
    if bandwidth == "cross":
        widths = (median_distance(complement, model),) * 2
    else:
        widths = median_distance(complement, complement), median_distance(model, model)
    if min(widths) <= 0:
        note = "more than half of the distances are 0: kernels have no width"
        return _verdict("independence", np.nan, np.nan, alpha, words, len(model), note, wanted=False)
    rng = np.random.default_rng(seed)
    statistic, p = permutation_p(complement, model, widths, n_permutations, rng)
    return _verdict("independence", statistic, p, alpha, words, len(model), wanted=False)


def minimality_p(losses: Floats, reference: Floats, q: float = 0.9) -> tuple[npt.NDArray[np.int64], Floats]:
    """Per edge the number of reference losses below its own, and P(Bin(R, q) <= that number), not yet corrected.

    Parameters
    ----------
    losses
        loss(C, C without the edge), [edges].
    reference
        The same of edges that are not needed, [R]: random edges of random paths added to C.
    """
    scale = max(float(losses.max(initial=0)), float(reference.max(initial=0)))
    counts = (losses[:, None] - reference > TIE * scale).sum(1)
    return counts, np.asarray(binom.cdf(counts, len(reference), q), np.float64)


def minimality(losses: Floats, reference: Floats, *, q: float = 0.9, alpha: float = 0.05) -> Verdict:
    """H0: every edge of C matters more than a share q of superfluous ones. Statistic: the least edge's count.

    Rejected, after Bonferroni over the edges: some edge is not needed.
    """
    _check_counts(q, reference)
    if len(losses) == 0:
        raise DataError("minimality needs an edge; this circuit is empty")
    counts, p = minimality_p(losses, reference, q)
    adjusted = np.minimum(1, p * len(losses))
    spare = int((adjusted <= alpha).sum())
    note = f"{spare} of {len(losses)} edges are superfluous" if spare else ""
    words = "not minimal", "no evidence against minimality"
    return _verdict(
        "minimality", float(counts.min()), float(adjusted.min()), alpha, words, len(losses), note, wanted=False
    )


def sufficiency(
    model: Floats, circuit: Floats, random: Floats, *, q: float = 0.9, alpha: float = 0.05, rounding: float = 0.0
) -> Verdict:
    """H0: C is not closer to the model than a share q of random circuits. Statistic: how many it beats.

    Parameters
    ----------
    random
        Scores of R random circuits of C's size, [R, n].
    """
    _check_scores(model=model, circuit=circuit)
    _check_counts(q, random)
    own, others = float(loss(model, circuit, rounding)), loss(model, random, rounding)
    margin = others - own
    words = f"closer to the model than {q:.0%} of random circuits", f"not shown to beat {q:.0%} of random circuits"
    return _wins("sufficiency", margin, max(own, float(others.max())), q, alpha, words)


def partial_necessity(
    model: Floats, complement: Floats, random: Floats, *, q: float = 0.9, alpha: float = 0.05, rounding: float = 0.0
) -> Verdict:
    """H0: losing C hurts no more than losing a share q of random circuits. Statistic: how many it hurts more than.

    Parameters
    ----------
    complement
        Scores of the model without C, [n].
    random
        Scores of the model without each of R random circuits of C's size, [R, n].
    """
    _check_scores(model=model, complement=complement)
    _check_counts(q, random)
    own, others = float(loss(model, complement, rounding)), loss(model, random, rounding)
    words = (
        f"losing it hurts more than losing {q:.0%} of random circuits",
        f"not shown to be missed more than {q:.0%} of random circuits",
    )
    return _wins("partial necessity", own - others, max(own, float(others.max())), q, alpha, words)


def _wins(test: str, margin: Floats, scale: float, q: float, alpha: float, words: tuple[str, str]) -> Verdict:
    wins, n = int((margin > TIE * scale).sum()), len(margin)
    ties = int((np.abs(margin) <= TIE * scale).sum())
    notes = [f"{ties} ties are no wins"] if ties else []
    if float(binom.sf(n - 1, n, q)) > alpha:
        notes.append(f"{n} random circuits are too few to reject at {alpha}")
    p = float(binom.sf(wins - 1, n, q))
    return _verdict(test, float(wins), p, alpha, words, n, "; ".join(notes), wanted=True)


def _verdict(
    test: str,
    statistic: float,
    p: float,
    alpha: float,
    words: tuple[str, str],
    n: int,
    note: str = "",
    *,
    wanted: bool,
) -> Verdict:
    """`words` for rejection and for none; `wanted`: whether rejection speaks for the circuit."""
    if not np.isfinite(p):
        return Verdict(test, statistic, p, False, False, "undecided", n, note)
    rejected = p <= alpha
    return Verdict(test, statistic, p, rejected, rejected == wanted, words[0] if rejected else words[1], n, note)


def _check_scores(**scores: Floats) -> None:
    (first, a), (second, b) = scores.items()
    if np.ndim(a) != 1 or np.shape(a) != np.shape(b) or len(a) < 2:
        raise DataError(
            f"scores of {first} {np.shape(a)} and {second} {np.shape(b)} must be of the same examples, at least 2"
        )
    for name, values in scores.items():
        if not np.isfinite(values).all():
            raise DataError(f"the score of {name} at example {int(np.argmin(np.isfinite(values)))} is not finite")


def _check_counts(q: float, random: Floats) -> None:
    if not 0 < q < 1:
        raise DataError(f"q is {q}; a share of random circuits lies between 0 and 1")
    if len(random) < 1:
        raise DataError("there are no random circuits to compare with; at least 1 is needed")
