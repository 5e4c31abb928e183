"""``compgraph effective``: a graph of causal influence."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph import catalogue
from compgraph.cli.console import (
    TO_BE_GIVEN,
    Call,
    baseline_option,
    cache_option,
    dictionaries_option,
    output_option,
    rois_option,
    verb,
)

if TYPE_CHECKING:
    from compgraph.graph import ComputationalGraph
    from compgraph.models.network import Network
    from compgraph.partition import Partition


@verb("effective", section="effective", device=True)
@click.argument("model", type=TO_BE_GIVEN)
@click.argument("data", type=TO_BE_GIVEN)
@rois_option
@baseline_option
@cache_option
@dictionaries_option
@output_option
def command(
    call: Call,
    model: Path,
    data: Path,
    rois: Path | None,
    baseline_data: Path | None,
    cache: Path | None,
    dictionaries: Path | None,
    output: Path,
    entry: Any,
) -> None:
    """MODEL is the manifest of a checkpoint, DATA that of a dataset."""
    from compgraph.cli.inputs import build_partition, open_network, open_pairs, open_reference, with_dictionaries
    from compgraph.cli.saving import save_graph

    net, made = open_network(model, call.device)
    net, dictionaries_made = with_dictionaries(net, dictionaries)
    pairs, pairs_made = open_pairs(data, made)
    partition, inputs = build_partition(net, entry.partition, rois)
    reference, reference_made = open_reference(baseline_data)
    inputs |= {"model": made, "data": pairs_made, **dictionaries_made, **reference_made}
    save_graph(call, partial(graph_of, net, entry, pairs, partition, reference, cache), output, inputs)


def graph_of(
    net: Network,
    entry: Any,
    pairs: Any,
    partition: Partition,
    reference: Any = None,
    cache: Path | None = None,
    **matrix: Any,
) -> ComputationalGraph:
    """The graph of an entry, for a network: of the checkpoint, or of one with random weights.

    `matrix` says where all scores go, if anywhere.
    """
    from compgraph.ablation.baselines import make_baseline
    from compgraph.cli.saving import method_options
    from compgraph.connectivity.effective.attribution import effective_connectivity
    from compgraph.data.holding_out import examples_for

    pairs = examples_for(pairs, entry.held_out, "chosen")
    method, baseline = catalogue.EFFECTIVE[entry.method], entry.baseline
    if method.takes_baseline:
        options = {"partition": partition, "options": entry.baseline_options, "cache": cache}
        baseline = make_baseline(baseline, net, pairs, reference=reference, seed=entry.seed, **options)
    graph = effective_connectivity(
        net,
        pairs,
        partition,
        entry.method,
        metric=entry.metric,
        baseline=baseline,
        reference=None if method.takes_baseline else reference,
        split_qkv=entry.split_qkv,
        batch_size=entry.batch_size,
        recompute=entry.recompute,
        bootstrap=entry.bootstrap,
        seed=entry.seed,
        **method_options(method, entry),
        **matrix,
    )
    graph.attributes["held_out"] = entry.held_out
    return graph
