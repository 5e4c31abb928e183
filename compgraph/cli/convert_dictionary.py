"""``compgraph convert-dictionary``: published dictionary weights as a safetensors file."""

from __future__ import annotations

from pathlib import Path

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb


@verb("convert-dictionary")
@click.argument("source", type=TO_BE_GIVEN)
@click.option("--output", "-o", type=TO_BE_GIVEN, help="File to write (….safetensors); beside the source if not given.")
def command(call: Call, source: Path, output: Path | None) -> None:
    """Write the plain tensors of SOURCE (.pt or .npz) as safetensors, and copy the config beside it. A file that holds
    anything but tensors is refused: no code in it is run."""
    from compgraph.dictionaries.convert import convert

    call.say(str(convert(source, output)))
