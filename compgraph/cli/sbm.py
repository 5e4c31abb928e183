"""``compgraph sbm``: a stochastic block model of a graph, or of several as layers of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb
from compgraph.errors import DataError, GraphError


@verb("sbm", section="sbm")
@click.argument("graphs", type=TO_BE_GIVEN, nargs=-1, required=True)
@output_option
def command(call: Call, graphs: tuple[Path, ...], output: Path, entry: Any) -> None:
    """GRAPHS is the manifest of a graph of any kind, or of several that are layers of one. Needs graph-tool, but for
    `nested: false`.
    """
    from compgraph.cli.inputs import open_graph
    from compgraph.communities.blocks.predict import predict_edges
    from compgraph.communities.blocks.sample import sample_blocks
    from compgraph.communities.sbm import fit_sbm

    if len(graphs) > 1 and entry.layers not in ("graphs", "datasets"):
        raise DataError(f"{len(graphs)} graphs are given, and with layers: {entry.layers} a block model is of one")
    opened = [open_graph(path) for path in graphs]
    names = layer_names(graphs) if len(graphs) > 1 else ["graph"]
    several = {name: graph for name, (graph, _) in zip(names, opened, strict=True)}
    about: Any = several if len(graphs) > 1 else opened[0][0]
    fit = fit_sbm(
        about,
        nested=entry.nested,
        weights=_weights(entry),
        degree_corrected=None if entry.degree_corrected == "auto" else entry.degree_corrected,
        n_runs=entry.n_runs,
        seed=entry.seed,
        standardise=entry.standardise,
        constraint=entry.constraint,
        layers="channels" if entry.layers == "channels" else "none",
        structure=entry.structure,
        n_blocks=entry.n_blocks,
        odds=entry.odds,
        effort=entry.effort,
        engine=entry.engine,
        moves=entry.moves,
    )
    made = {name: result for name, (_, result) in zip(names, opened, strict=True)}
    with call.result(output, "sbm", ".blocks", inputs=made) as draft:
        fit.save(draft.path)
        draft.summary.update(fit.summary())
        for note in fit.notes:
            draft.warn(note)
        # A graph that holds too little for these has its block model all the same.
        if entry.n_samples:
            with _noted(draft, "no partitions were drawn"):
                drawn = sample_blocks(about, fit, n_samples=entry.n_samples, thin=entry.thin, seed=entry.seed)
                drawn.save(draft.path)
                draft.summary["sample"] = drawn.summary()
                if not drawn.equilibrated:
                    draft.warn("the chains of partitions do not agree yet: draw more, or with more sweeps between")
        if entry.n_folds:
            with _noted(draft, "no edges were predicted"):
                predicted = predict_edges(about, fit, n_folds=entry.n_folds, seed=entry.seed)
                predicted.save(draft.path)
                draft.summary["prediction"] = predicted.summary()


@contextmanager
def _noted(draft: Any, what: str) -> Iterator[None]:
    """Turn the refusal of a graph into a note of the result."""
    try:
        yield
    except GraphError as error:
        draft.warn(f"{what}: {str(error).removeprefix('sbm: ')}")


def _weights(entry: Any) -> Any:
    if entry.weights == "none":
        return None
    return [entry.weights, "sign"] if entry.signs else entry.weights


def layer_names(manifests: Sequence[Path]) -> list[str]:
    """What graphs are called as layers: by name, and by dataset too where names repeat."""
    from compgraph.cli.inputs import graph_name

    names = [graph_name(path) for path in manifests]
    if len(set(names)) == len(names):
        return names
    return [f"{path.absolute().parent.parent.name}/{name}" for path, name in zip(manifests, names, strict=True)]
