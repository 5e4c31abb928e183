"""``compgraph rois``: groups of units that respond alike."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb


@verb("rois", section="rois")
@click.argument("buffer", type=TO_BE_GIVEN)
@output_option
def command(call: Call, buffer: Path, output: Path, entry: Any) -> None:
    """BUFFER is the manifest of recorded activations or attributions."""
    from compgraph import catalogue
    from compgraph.cli.saving import method_options
    from compgraph.data.buffers import open_buffer
    from compgraph.rois.find import find_rois

    method = catalogue.ROIS[entry.method]
    opened = open_buffer(buffer)
    partition = find_rois(
        opened,
        recorded(entry.sites, list(opened.sites["site"])),
        entry.method,
        entry.n_rois,
        entry.seed,
        scope=entry.scope,
        **method_options(method, entry),
    )
    with call.result(output, "partition", ".partition", inputs={opened.result.kind: opened.result}) as draft:
        partition.save(draft.path)
        draft.summary.update(parts={site: partition.n_parts(site) for site in partition.sites})


def recorded(patterns: list[str], sites: list[str]) -> list[str]:
    """The patterns that match a recorded site, so that one list serves many networks; names stay in any case."""
    kept = [p for p in patterns if not set("*?[") & set(p) or any(fnmatchcase(site, p) for site in sites)]
    return kept or patterns
