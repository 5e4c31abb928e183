"""Input weights to output weights: does a unit write what another reads?

For the vector that unit u writes, w_out, and the one that v reads, w_in, with the centring P and the gain γ of the
norm in front of v folded in,

    product    w_out · P γ w_in          cosine    the product over the lengths of both vectors, P γ included

signed: the first-order effect of u on v's pre-activation, up to the norm's scale (Elhage et al. 2021, virtual weights;
Gurnee et al. 2024, "Universal Neurons in GPT2 Language Models", for the cosine). Neurons read by w_in (of a gated MLP
w_gate with `via="gate"`), units of attention by their values; features read and write as `vectors` says.

Nodes that have several vectors (embed, logits, a head's pattern by its queries and keys, ROIs, a dictionary's error)
have the root of the sum of squares over pairs of vectors, the cosine with Frobenius norms of both (neurons counting
by their lengths, `vectors`): not signed.

Null (`null`): of single vectors z = cos √d and the two-sided p are exact, of others z and p are those of the squared
cosine.

All pairs of units of a model are too many to keep: `keep` and `keep_overall` leave the strongest, found exactly.
"""

from __future__ import annotations

from pathlib import Path

import torch

from compgraph.connectivity.blockwise.score_matrix import ScoreMatrix
from compgraph.connectivity.structural.cosines import Cosines
from compgraph.connectivity.structural.edges import check_partition, check_size, stream_graph
from compgraph.connectivity.structural.streamed import Streamed
from compgraph.connectivity.structural.vectors import Ends, Via
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.provenance import Provenance, code_digest

SCORES = ("cosine", "product")
VIA = ("in", "gate")


def compute(
    net: Transformer,
    partition: Partition,
    *,
    score: str = "cosine",
    via: Via = "in",
    keep: int = 0,
    keep_overall: int = 0,
    matrix: ScoreMatrix | str | Path | None = None,
    seed: int = 0,
) -> ComputationalGraph:
    """Products or cosines of what each part writes and what each other reads.

    Parameters
    ----------
    net
        A transformer, with or without dictionaries.
    partition
        The nodes, as for `composition`; meant for units and features.
    score
        `cosine` or `product`. Strength is the absolute score.
    via
        What a neuron of a gated MLP reads: `in` (the projection that is multiplied) or `gate`. Others have one.
    keep, keep_overall
        The strongest edges of each target node over all its channels, and of the whole; both 0: all edges.
    matrix
        File for all scores (`blockwise.score_matrix.open_score_matrix` reads it); leaves the rest out of the graph
        as `keep` does.
    seed
        Nothing is drawn; taken for the common signature of structural methods.

    Returns
    -------
    ComputationalGraph
        Structural. Columns `z`, `p`, `p_adjusted`; NaN where the null says nothing. If not all edges are kept,
        `p_adjusted` still counts all (from above, by under a bin's width, see `strongest`), node columns `in_sum`,
        `in_absolute`, `out_sum`, `out_absolute` are sums over all edges, and the attributes `n_edges_scored` and
        `histogram` tell of all scores.

    Raises
    ------
    DataError
        More edges than fit into memory.
    GraphError
        The partition does not fit the network; an unknown word, a negative number.
    StoreError
        A matrix that cannot be written.
    """
    for name, value, valid in (("score", score, SCORES), ("via", via, VIA)):
        if value not in valid:
            raise GraphError(f"input-output: {name} {value!r} is not known; valid are {', '.join(valid)}")
    for name, number in (("keep", keep), ("keep_overall", keep_overall)):
        if number < 0:
            raise GraphError(f"input-output: {name} is {number}; it must be at least 0")
    check_partition(net, partition)
    ends = Ends(net, partition, whole=False, via=via, lengths=score == "cosine")
    about = {"method": "input-output", "score": score, "via": via}
    pair = Cosines(ends.dimension, product=score == "product")
    if not (keep or keep_overall or matrix):
        check_size(net, partition, "keep only the strongest (`keep`, `keep_overall`)")
        return stream_graph(ends, pair, about)
    with torch.no_grad():
        streamed = Streamed(ends, pair, keep, keep_overall)
        if matrix is None:
            streamed.run(None)
        else:
            request = matrix if isinstance(matrix, ScoreMatrix) else ScoreMatrix(matrix)
            parameters = {**about, "dtype": request.dtype, "partition": partition.digest}
            made = Provenance("structural", parameters, None, {"model": net.digest}, code_digest([__name__]))
            with request.sealed(streamed.plan(), made) as writer:
                streamed.run(writer)
    return streamed.graph(about | {"keep": keep, "keep_overall": keep_overall})
