"""``compgraph ablation``: how faithful is the network when only part of a graph is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb


@verb("ablation", section="ablation", device=True)
@click.argument("model", type=TO_BE_GIVEN)
@click.argument("data", type=TO_BE_GIVEN)
@click.argument("graph", type=TO_BE_GIVEN)
@output_option
def command(call: Call, model: Path, data: Path, graph: Path, output: Path, entry: Any) -> None:
    """MODEL, DATA and GRAPH are manifests: a checkpoint, a dataset, an effective graph of the two."""
    from compgraph.cli.inputs import open_graph, open_network, open_pairs
    from compgraph.cli.saving import save_table
    from compgraph.evaluation.faithfulness import faithfulness

    net, made = open_network(model, call.device)
    pairs, pairs_made = open_pairs(data)
    edges, graph_made = open_graph(graph)
    curve = faithfulness(
        net,
        edges,
        pairs,
        entry.sizes,
        ablation=entry.ablation,
        baseline=entry.baseline,
        metrics=entry.metrics,
        select=entry.select,
        prune=entry.prune,
        by_task=entry.by_task,
        n_bootstrap=entry.n_bootstrap,
        seed=entry.seed,
        batch_size=entry.batch_size,
    )
    inputs = {"model": made, "data": pairs_made, "graph": graph_made}
    areas = {metric: {"cpr": curve.cpr(metric), "cmd": curve.cmd(metric)} for metric in entry.metrics}
    save_table(call, curve.table, output, "faithfulness", inputs, {**curve.attributes, "areas": areas})
