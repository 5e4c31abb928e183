"""Graphs of so many edges that only the strongest can be kept: all scores are computed, few stay.

One pass over the data gathers what every unit has to say, in memory or on disk, so that memory does not depend on the
number of examples; then the scores come by in blocks of two sites (`score_blocks`; of transformers `stream_blocks`, of
chains `chain_blocks`), each once. Kept are
the strongest edges of every target and of the whole (`strongest_edges`), and of all scores their sums by node, their
number and their histogram (`score_summary`). A user who wants every score gets them in a file (`score_matrix`).

Cost beyond the gradient passes: about 2 · (2 rows + width) floating-point operations per pair of units, a row being a
position of an example at which something changes and the target has a gradient; in a chain 2 rows per pair. Into
features of dictionaries it is 2 · width per active feature, token and source that changes there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compgraph.connectivity.blockwise.kept import Kept
from compgraph.connectivity.blockwise.score_matrix import MatrixPlan, MatrixWriter, ScoreMatrix, array_name
from compgraph.connectivity.effective.attribution import MEMORY_PER_BATCH, attribute, gradient_passes
from compgraph.connectivity.effective.chain_blocks import ChainBlocks, ChainUnitScorer
from compgraph.connectivity.effective.passes import Passes, Scorer
from compgraph.connectivity.effective.score_blocks import ScoreBlocks
from compgraph.connectivity.effective.scratch import RowStore
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.stream_blocks import StreamBlocks, stream_scorer_of
from compgraph.connectivity.effective.unit_scorer import UnitScorer
from compgraph.data.batches import batches
from compgraph.data.buffer_plan import data_digest
from compgraph.errors import DataError, GraphError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import get_metric
from compgraph.models.sequential import Sequential
from compgraph.progress import progress, track
from compgraph.provenance import Provenance, code_digest

MEMORY = 2**28
"""Bytes that the products of a block may take, and as many the rows read for it."""


def all_or_strongest(
    setting: Setting,
    passes: Passes,
    *,
    method: str,
    keep: int,
    keep_overall: int,
    matrix: ScoreMatrix | str | Path | None = None,
    scorer: Scorer | None = None,
    fold: Callable[[torch.Tensor], torch.Tensor] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> ComputationalGraph:
    """`attribution.attribute`, or `strongest_edges` where not all edges are to be kept.

    Raises
    ------
    GraphError
        A correction of the scores (`scorer`, `fold`) though not all edges are kept.
    """
    if not (keep or keep_overall or matrix):
        return attribute(setting, passes, method=method, scorer=scorer, fold=fold, attributes=attributes)
    if scorer is not None or fold is not None:
        name = " and ".join(name for name, value in (attributes or {}).items() if value is True) or "a scorer"
        raise GraphError(f"{method}: {name} needs all scores of an example at once; leave keep and keep_overall at 0")
    return strongest_edges(
        setting,
        passes,
        method=method,
        keep=keep,
        keep_overall=keep_overall,
        attributes=attributes,
        matrix=matrix,
    )


def strongest_edges(
    setting: Setting,
    passes: Passes,
    *,
    method: str,
    keep: int,
    keep_overall: int,
    attributes: Mapping[str, Any] | None = None,
    matrix: ScoreMatrix | str | Path | None = None,
) -> ComputationalGraph:
    """Score all edges as `attribution.attribute` does, and keep the strongest.

    Parameters
    ----------
    passes
        The method's.
    keep
        Edges of each target node, over all of its channels.
    keep_overall
        Edges of the whole.
    attributes
        Further attributes of the graph.
    matrix
        File for all scores (`score_matrix`); None for none.

    Returns
    -------
    ComputationalGraph
        The edges kept for either reason, in canonical order, without standard errors. Node columns `in_sum`,
        `in_absolute`, `out_sum` and `out_absolute` are sums over all edges, kept or not; attributes `n_edges_scored`
        and `histogram` (`score_summary.Histogram.about`) tell of all scores.

    Raises
    ------
    DataError
        A score or a gradient that is not finite; a bootstrap.
    GraphError
        `keep` or `keep_overall` below 0.
    StoreError
        A matrix that cannot be written, or rows that do not fit on the disk.
    """
    net, pairs, n = setting.net, setting.pairs, int(setting.pairs.n)
    _check(setting, keep, keep_overall)
    measure = get_metric(setting.metric, differentiable=True)
    about = setting.about(method, **(attributes or {}), split_qkv=setting.split_qkv, n_examples=n)
    with ExitStack() as stack:
        blocks = blocks_of(setting, stack.enter_context(RowStore()))
        size = setting.batch_size or int(np.clip(MEMORY_PER_BATCH // blocks.scorer.bytes_per_example(pairs), 1, n))
        writer = None
        if matrix is not None:
            request = matrix if isinstance(matrix, ScoreMatrix) else ScoreMatrix(matrix)
            writer = stack.enter_context(_writer(request, setting, blocks, about))
        for batch in track(batches(net, pairs, size), description=method, total=-(-n // size), unit="batch"):
            blocks.add(gradient_passes(setting, blocks.scorer, batch, passes, measure), batch)
        with torch.no_grad():
            kept = Kept(blocks.partition, blocks.channels, keep, keep_overall, writer)
            with progress(f"{method}: scores", len(blocks.sites), "sites") as shown:
                for site in blocks.sites:
                    for block in blocks.into(site):
                        kept.add(block)
                    kept.close()
                    shown.advance(1)
    return _graph(blocks, kept, {**about, "keep": keep, "keep_overall": keep_overall})


def _writer(
    request: ScoreMatrix, setting: Setting, blocks: ScoreBlocks, about: Mapping[str, Any]
) -> AbstractContextManager[MatrixWriter]:
    """The file of all scores."""
    inputs = {"model": setting.net.digest, "clean": data_digest(setting.pairs, "clean")}
    if setting.pairs.corrupted is not None:
        inputs["corrupted"] = data_digest(setting.pairs, "corrupted")
    parameters = {**about, "dtype": request.dtype, "partition": setting.partition.digest}
    made = Provenance("effective", parameters, setting.seed, inputs, code_digest([__name__]))
    arrays = {array_name(one.site, one.channel, one.source): (one.shape, one.block) for one in blocks.extents()}
    return request.sealed(MatrixPlan(blocks.partition, blocks.channels, arrays), made)


def _check(setting: Setting, keep: int, keep_overall: int) -> None:
    for name, value in (("keep", keep), ("keep_overall", keep_overall)):
        if value < 0:
            raise GraphError(f"{name} is {value}; it must be at least 0")
    if setting.bootstrap:
        raise DataError(
            f"bootstrap is {setting.bootstrap}: it needs scores of single examples, which are not there where only the "
            "strongest edges are kept; leave it at 0, or keep and keep_overall at 0"
        )


def unit_scorer_of(setting: Setting) -> UnitScorer | ChainUnitScorer:
    """The scorer that makes the passes."""
    if isinstance(setting.net, Sequential):
        return ChainUnitScorer(setting.net, setting.partition)
    return stream_scorer_of(setting)


def blocks_of(setting: Setting, store: RowStore) -> ScoreBlocks:
    """Blocks of scores of a kind of network."""
    if isinstance(setting.net, Sequential):
        return ChainBlocks(setting.net, setting.partition, store, int(setting.pairs.n), MEMORY)
    return StreamBlocks(setting, store, MEMORY)


def _graph(blocks: ScoreBlocks, kept: Kept, about: dict[str, Any]) -> ComputationalGraph:
    """The edges kept, with what is known of the others."""
    edges = kept.edges()
    source, target, channel = kept.numbers.columns(edges.number)
    return ComputationalGraph(
        blocks.partition,
        source,
        target,
        channel,
        edges.score,
        channels=blocks.channels,
        kind="effective",
        architecture=blocks.architecture,
        attributes=about | kept.about(),
        node_columns=kept.sums.columns(),
    )
