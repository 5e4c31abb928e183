"""``compgraph structural``: a graph from the weights alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, rois_option, verb

if TYPE_CHECKING:
    from compgraph.graph import ComputationalGraph
    from compgraph.models.network import Network
    from compgraph.partition import Partition


@verb("structural", section="structural", device=True)
@click.argument("model", type=TO_BE_GIVEN)
@rois_option
@output_option
def command(call: Call, model: Path, rois: Path | None, output: Path, entry: Any) -> None:
    """MODEL is the manifest of a checkpoint."""
    from compgraph.cli.inputs import build_partition, open_network
    from compgraph.cli.saving import save_graph

    net, made = open_network(model, call.device)
    partition, inputs = build_partition(net, entry.partition, rois)
    save_graph(call, partial(graph_of, net, entry, partition), output, {"model": made, **inputs})


def graph_of(net: Network, entry: Any, partition: Partition, **matrix: Any) -> ComputationalGraph:
    """The graph of an entry, for a network: of the checkpoint, or of one with random weights.

    `matrix` says where all scores go, if anywhere.
    """
    from compgraph.cli.saving import method_options

    method = catalogue.STRUCTURAL[entry.method]
    made: ComputationalGraph = catalogue.load(method)(
        net, partition, seed=entry.seed, **method_options(method, entry), **matrix
    )
    return made
