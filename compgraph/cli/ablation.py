"""``compgraph ablation``: run the network as a graph of which only part is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph import catalogue
from compgraph.cli.console import (
    TO_BE_GIVEN,
    Call,
    baseline_option,
    cache_option,
    dictionaries_option,
    output_option,
    verb,
)


@verb("ablation", section="ablation", device=True)
@click.argument("model", type=TO_BE_GIVEN)
@click.argument("data", type=TO_BE_GIVEN)
@click.argument("graph", type=TO_BE_GIVEN)
@cache_option
@baseline_option
@dictionaries_option
@output_option
def command(
    call: Call,
    model: Path,
    data: Path,
    graph: Path,
    cache: Path | None,
    baseline_data: Path | None,
    dictionaries: Path | None,
    output: Path,
    entry: Any,
) -> None:
    """MODEL, DATA and GRAPH are manifests: a checkpoint, a dataset, an effective graph of the two."""
    from compgraph.ablation.baselines import make_baseline
    from compgraph.cli.inputs import open_graph, open_network, open_pairs, open_reference, with_dictionaries
    from compgraph.data.holding_out import examples_for
    from compgraph.evaluation.outputs import KIND, cache_for, write_outputs
    from compgraph.evaluation.planning import plan_circuits

    net, made = open_network(model, call.device)
    net, dictionaries_made = with_dictionaries(net, dictionaries)
    pairs, pairs_made = open_pairs(data, made)
    edges, graph_made = open_graph(graph)
    reference, reference_made = open_reference(baseline_data)
    held_out = float(edges.attributes.get("held_out", 0))
    if reference is None and catalogue.BASELINES[entry.baseline].per_node and held_out:
        reference = examples_for(pairs, held_out, "chosen")  # nothing is learned from what it is tested on
    pairs = examples_for(pairs, held_out, entry.examples)
    plan = plan_circuits(
        net,
        edges,
        entry.sizes,
        selection=entry.selection,
        options=entry.options,
        prune=entry.prune,
        ablation=entry.ablation,
        complement=entry.complement,
        n_random=entry.n_random,
        random=entry.random,
        seed=entry.seed,
    )
    baseline = make_baseline(
        entry.baseline,
        net,
        pairs,
        reference=reference,
        seed=entry.seed,
        partition=plan.frame.partition,
        options=entry.baseline_options,
        cache=cache,
    )
    inputs = {"model": made, "data": pairs_made, "graph": graph_made, **dictionaries_made, **reference_made}
    # Apart for each entry: the last bits of a run depend on which others share its batch, and so they would on which
    # of two entries that ask for the same runs was made first.
    kept = None if cache is None else cache / output.stem
    known = None if kept is None else cache_for(kept, net, pairs, plan, entry.ablation, baseline, entry.norm_scale)
    with call.result(output, KIND, ".zarr", inputs=inputs) as draft:
        settings = {"ablation": entry.ablation, "baseline": baseline, "batch_size": entry.batch_size}
        settings["norm_scale"] = entry.norm_scale
        draft.summary |= write_outputs(net, plan, pairs, draft.path, cache=known, **settings)
        if known is not None:
            call.say(f"{known.found} runs known, {known.missed} made")
