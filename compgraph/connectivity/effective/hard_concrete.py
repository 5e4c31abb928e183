"""Hard concrete masks: random numbers in [0, 1] that are exactly 0 or 1 with a probability, and differentiable.

Louizos, Welling & Kingma 2018 (arXiv 1712.01312) with the constants of Edge Pruning (arXiv 2406.16778).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 2 / 3
LOW, HIGH = -0.1, 1.1
"""Range to which the concrete distribution is stretched before it is cut to [0, 1]."""
SOFTENING = 0.8


def sample(log_odds: Tensor, uniform: Tensor) -> Tensor:
    """Masks in [0, 1] from uniform numbers in (0, 1)."""
    s = torch.sigmoid((uniform.log() - (1 - uniform).log() + log_odds) / TEMPERATURE)
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)


def keep_probability(log_odds: Tensor) -> Tensor:
    """Probability that a mask is not 0."""
    return torch.sigmoid(log_odds - TEMPERATURE * math.log(-LOW / HIGH))


def harden(log_odds: Tensor, groups: Tensor) -> Tensor:
    """Hard masks, bool, of the expected size.

    In every group the expected number of zeros, rounded, is set to 0, smallest first, the others to their soft value
    sigmoid(0.8 a / T); as many masks as these sum to, rounded, are kept, largest first (of equal ones the earlier).

    Parameters
    ----------
    log_odds
        [n].
    groups
        int64 [n], the group of each.
    """
    wide = log_odds.double()
    soft = torch.sigmoid(wide * SOFTENING / TEMPERATURE)
    for group in groups.unique():
        own = (groups == group).nonzero().flatten()
        zeros = round(float((1 - keep_probability(wide[own])).sum()))
        soft[own[wide[own].argsort(stable=True)[:zeros]]] = 0
    order = soft.argsort(descending=True, stable=True)
    kept = torch.zeros(len(log_odds), dtype=torch.bool, device=log_odds.device)
    kept[order[: round(float(soft.sum()))]] = True
    return kept
