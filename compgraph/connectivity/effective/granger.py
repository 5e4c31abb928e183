"""Granger causality between nodes, from their signals over token positions alone.

What neuroscience does where it can only watch: a node is one number per position (`time_series`), and u is a cause of v
as far as u's present and past help to predict v beyond v's own past and all other nodes that v may read
(`vector_autoregression`; Granger 1969; given all others, after Geweke 1984; statistics as in Barnett & Seth 2014):

    score(u -> v) = log( residual variance of v without u / residual variance of v with u )        in nats

No metric enters (except as the signal of `logits`), no baseline, no gradient, nothing is intervened on. In a
feed-forward network the present counts: information moves within a position, from lower sites to higher ones, so that
lag 0 of every admissible source is a regressor, and the order of sites shares the part that time has alone in a
recording. Only edges of the architecture are scored. A series cannot tell how v reads: edges by query, key and value
carry the same score (`split_qkv` false: one edge a pair).

What it is worth. The score is that of a linear model of scalars. It misses what does not show in the scalar or is not
linear. It finds u where u only shares a cause with v and shows it better than the other signals do, which is the rule
where nodes have many dimensions and one number each: read it as association given the others, and compare it with
methods that intervene. An MLP, which reads one position, can be given causes at lag 1.

Without a penalty the p-value is that of an F test, and a score has expectation (lags + 1) / (degrees of freedom left)
under no effect: it is never negative. With `ridge` or `choose_ridge` scores are held out, each half of the examples
predicted from the other; then they can be negative. `q` is the p-value adjusted for the false discovery rate over all
pairs (Benjamini & Hochberg 1995, who assume independence; positive dependence will do), `significant` says q <= `fdr`.

Cost: a forward pass (`pc`: two), and one inverse of sources × lags per site.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.effective.influence import Influence, SeriesOptions, Test, estimate, graph_of, readers_of
from compgraph.connectivity.effective.lagged_moments import moments_of
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.time_series import NodeSignals, Trials
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.partition import Partition
from compgraph.patterns import with_patterns


def compute(setting: Setting, **options: Any) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    options
        The attributes of `influence.SeriesOptions`.

    Returns
    -------
    ComputationalGraph
        With columns `p`, `q` and `significant`.

    Raises
    ------
    DataError
        Invalid numbers, too few samples for the number of coefficients, signals that are combinations of each other.
    GraphError
        Unknown signals.
    """
    asked = SeriesOptions(**options)
    _, found = influence_in(setting, asked, "f", "granger")
    return graph_of(
        setting.net,
        setting.partition,
        found,
        weight=found.log_ratio,
        p=found.p,
        fdr=asked.fdr,
        split_qkv=setting.split_qkv,
        attributes=about_series(setting, "granger", asked),
    )


def influence_in(setting: Setting, options: SeriesOptions, test: Test, method: str) -> tuple[NodeSignals, Influence]:
    """The node signals that a setting asks for, and what sources add to the prediction of targets."""
    signals = NodeSignals(
        setting.net,
        setting.pairs,
        setting.partition,
        signal=options.signal,
        readout=options.readout,
        metric=setting.metric,
        batch_size=setting.batch_size,
    )
    moments = moments_of(signals, signals.n_nodes, options.max_order, options.by_position)
    readers, names = readers_of(setting.net, setting.partition), signals.partition.node_names
    return signals, estimate(moments, readers, names, options, test, method)


def about_series(setting: Setting, method: str, options: SeriesOptions) -> dict[str, Any]:
    """Attributes of a graph: what the series were. A baseline plays no part, the metric at most in the logits."""
    words = {name: getattr(options, name) for name in ("signal", "readout", "intercept")}
    measured = {"metric": setting.metric} if options.readout == "metric" else {}
    return {"method": method, **words, "n_examples": int(setting.pairs.n), **measured}


def granger_over_training(
    signals: npt.ArrayLike,
    net: Network,
    partition: Partition,
    *,
    max_order: int = 1,
    criterion: str = "bic",
    ridge: float = 0.0,
    choose_ridge: bool = False,
    difference: bool = True,
    fdr: float = 0.05,
    split_qkv: bool = True,
) -> ComputationalGraph:
    """Granger causality between nodes over the checkpoints of one training.

    Parameters
    ----------
    signals
        [checkpoints, nodes], patterns included (`compgraph.patterns`), in order of training and evenly spaced in
        whatever clock is meant (`time_series.signals_over_training`).
    net, partition
        The architecture and the nodes; of any network of the training.
    max_order, criterion, ridge, choose_ridge, fdr
        As in `compute`. With a penalty the halves that predict each other are the first and the second of training.
    difference
        Regress the changes from checkpoint to checkpoint. Signals that drift, as all do in training, are correlated
        without being causes of each other.

    Returns
    -------
    ComputationalGraph
        As `compute`; sources are the same, those that the architecture admits, at lags 0 … p.

    Raises
    ------
    DataError
        Signals of another shape, not finite, or too few checkpoints: nodes × lags must be far fewer than checkpoints.
    """
    options = SeriesOptions(max_order, criterion, "constant", ridge, choose_ridge, fdr)
    values, nodes = np.asarray(signals, dtype=np.float64), with_patterns(net, partition)[1]
    if values.ndim != 2 or values.shape[1] != nodes.n_nodes:
        raise DataError(f"signals have shape {list(values.shape)}; [checkpoints, {nodes.n_nodes}] is needed")
    if not np.isfinite(values).all():
        raise DataError(f"signals at checkpoint {int((~np.isfinite(values)).any(1).argmax())} are not finite")
    values = np.diff(values, axis=0) if difference else values
    cut = len(values) // 2 if options.penalised else len(values)
    trials = [
        Trials(piece[None], np.array([len(piece)]), np.array([fold]))
        for fold, piece in enumerate((values[:cut], values[cut:]))
        if len(piece)
    ]
    moments = moments_of(trials, nodes.n_nodes, max_order, options.by_position)
    found = estimate(moments, readers_of(net, partition), nodes.node_names, options, "f", "granger over training")
    about = {"method": "granger", "over": "training", "difference": difference, "n_checkpoints": len(values)}
    return graph_of(
        net,
        partition,
        found,
        weight=found.log_ratio,
        p=found.p,
        fdr=fdr,
        split_qkv=split_qkv,
        attributes=about,
    )
