"""``compgraph sbm``: a stochastic block model of a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb


@verb("sbm", section="sbm")
@click.argument("graph", type=TO_BE_GIVEN)
@output_option
def command(call: Call, graph: Path, output: Path, entry: Any) -> None:
    """GRAPH is the manifest of a graph of any kind. Needs graph-tool, but for `nested: false`."""
    from compgraph.cli.inputs import open_graph
    from compgraph.communities.sbm import fit_sbm

    opened, made = open_graph(graph)
    fit = fit_sbm(
        opened,
        nested=entry.nested,
        weights=None if entry.weights == "none" else entry.weights,
        degree_corrected=None if entry.degree_corrected == "auto" else entry.degree_corrected,
        n_runs=entry.n_runs,
        seed=entry.seed,
        standardise=entry.standardise,
        constraint=entry.constraint,
        n_blocks=entry.n_blocks,
        odds=entry.odds,
        effort=entry.effort,
        engine=entry.engine,
    )
    with call.result(output, "sbm", ".blocks", inputs={"graph": made}) as draft:
        fit.save(draft.path)
        draft.summary.update(fit.summary())
        for note in fit.notes:
            draft.warn(note)
