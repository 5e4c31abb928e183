"""Gaussian transfer entropy between nodes, from their signals over token positions.

The information that u's present and past give about v beyond v's past and all other nodes that v may read (Schreiber
2000, arXiv nlin/0001042). For Gaussian series it is half the conditional Granger score (Barnett, Barrett & Seth 2009,
arXiv 0910.4514):

    TE(u -> v | rest) = (1/2) log( residual variance of v without u / residual variance of v with u )        in nats

Signals, regressors, order, penalties and limits are those of `granger`; lag 0 of sources is a regressor, so that it is
the information within a position and from before it. Where series are not Gaussian it is what a linear model sees.

The test: `permutations` 0 takes the large-sample law, 2 · TE · (degrees of freedom left) as chi-square with a degree
per lag of u and one for its present; more compare with that many surrogates, u's series exchanged between examples
(`surrogates`), of which there must be enough for the false discovery rate: the smallest p is 1 / (permutations + 1).
With a penalty scores and test are held out, as in `granger`, and permutations are refused.

Cost: as `granger`; with permutations another forward pass and products of lagged series for every node and permutation.
"""

from __future__ import annotations

from typing import Any

from compgraph.connectivity.effective.granger import about_series, influence_in
from compgraph.connectivity.effective.influence import SeriesOptions, graph_of
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.surrogates import Surrogates
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph


def compute(setting: Setting, *, permutations: int = 0, **options: Any) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    permutations
        Surrogates per source; 0 for the analytic test. Drawn by the setting's seed.
    options
        The attributes of `influence.SeriesOptions`.

    Returns
    -------
    ComputationalGraph
        With columns `p`, `q` and `significant`.

    Raises
    ------
    DataError
        As `granger`; permutations below 0, or together with a penalty.
    """
    asked = SeriesOptions(**options)
    if permutations < 0:
        raise DataError(f"permutations is {permutations}; it must be at least 0")
    if permutations and asked.penalised:
        raise DataError(f"permutations is {permutations}: surrogates need regressions without a ridge; take 0")
    signals, found = influence_in(setting, asked, "chi2", "transfer-entropy")
    p, about = found.p, about_series(setting, "transfer-entropy", asked)
    if permutations:
        surrogates = Surrogates(signals, found, asked.max_order, asked.by_position)
        p = surrogates.p_values(permutations, setting.seed, tuple(signals.partition.node_names))
        about |= {"permutations": permutations, "seed": setting.seed}
    return graph_of(
        setting.net,
        setting.partition,
        found,
        weight=found.log_ratio / 2,
        p=p,
        fdr=asked.fdr,
        split_qkv=setting.split_qkv,
        attributes=about,
    )
