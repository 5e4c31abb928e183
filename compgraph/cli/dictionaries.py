"""``compgraph dictionaries``: features of sites, trained or loaded, and how good they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb

POOR = 0.5
"""Explained variance below which the result carries a warning."""


@verb("dictionaries", section="dictionaries", device=True)
@click.argument("model", type=TO_BE_GIVEN)
@click.argument("data", type=TO_BE_GIVEN)
@click.argument("buffer", type=TO_BE_GIVEN)
@output_option
def command(call: Call, model: Path, data: Path, buffer: Path, output: Path, entry: Any) -> None:
    """MODEL, DATA and BUFFER are manifests: a checkpoint, a dataset, the activations of the two. An interrupted
    training is continued."""
    import shutil

    from compgraph.cli.inputs import open_network, open_pairs
    from compgraph.cli.saving import method_options
    from compgraph.data.buffers import open_buffer
    from compgraph.dictionaries.files import KIND_OF_SEVERAL
    from compgraph.dictionaries.stage import fit_sites, write_stage

    net, made = open_network(model, call.device)
    pairs, pairs_made = open_pairs(data, made)
    recorded = open_buffer(buffer)
    method = catalogue.DICTIONARIES[entry.method]
    inputs = {"model": made, "data": pairs_made, "activations": recorded.result}
    with call.result(output, KIND_OF_SEVERAL, ".dictionaries", inputs=inputs, resume=True) as draft:
        checkpoints = draft.path / "checkpoints"
        fitted = fit_sites(
            net,
            pairs,
            recorded,
            sites=entry.sites,
            space=entry.space,
            method=entry.method,
            n_features=entry.n_features,
            held_out=entry.held_out,
            seed=entry.seed,
            checkpoints=checkpoints,
            **method_options(method, entry),
        )
        draft.summary |= write_stage(fitted, draft.path)
        shutil.rmtree(checkpoints, ignore_errors=True)
        for site, one in fitted.items():
            if one.fit.explained_variance < POOR:
                draft.warn(f"{site}: the dictionary explains only {one.fit.explained_variance:.3f} of the variance")
