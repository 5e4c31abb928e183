"""``compgraph import-model``: register a pretrained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import Call, output_option, verb


@verb("import-model", section="models", only=("pretrained",), device=True)
@click.option("--revision", default="main", help="Branch, tag or commit on the hub; 'main' for a local folder.")
@output_option
def command(call: Call, revision: str, output: Path, entry: Any) -> None:
    """The weights stay where they are: the result points to them, with the digest of what was found there."""
    from compgraph.cli.inputs import SOURCE
    from compgraph.cli.saving import model_summary
    from compgraph.models.loading import load_network
    from compgraph.provenance import json_text

    net = load_network(entry.path, revision, device=call.device, dtype=entry.dtype)
    parameters = {"path": entry.path, "revision": revision, "dtype": entry.dtype}
    with call.result(output, "model", "", inputs={"weights": net.digest}, parameters=parameters) as draft:
        draft.path.mkdir()
        source = {**parameters, "digest": net.digest}
        (draft.path / SOURCE).write_text(json_text(source), encoding="utf-8")
        draft.summary.update(model_summary(net))
