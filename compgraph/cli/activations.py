"""``compgraph activations``: record activations into one buffer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb

if TYPE_CHECKING:
    from compgraph.models.network import Network


@verb("activations", section="activations", device=True)
@click.argument("model", type=TO_BE_GIVEN)
@click.argument("data", type=TO_BE_GIVEN)
@output_option
def command(call: Call, model: Path, data: Path, output: Path, entry: Any) -> None:
    """MODEL is the manifest of a checkpoint, DATA that of a dataset. An interrupted recording is continued."""
    from compgraph.cli.inputs import open_network, open_pairs
    from compgraph.data.buffer_layout import KIND

    net, made = open_network(model, call.device)
    pairs, pairs_made = open_pairs(data, made)
    inputs = {"model": made, "data": pairs_made}
    with call.result(output, KIND, ".zarr", inputs=inputs, resume=True) as draft:
        draft.summary |= record(net, entry, pairs, draft.path)


def record(net: Network, entry: Any, pairs: Any, path: Path, reference: Any = None) -> dict[str, Any]:
    """Write the buffer of an entry: of the checkpoint, or of a network with random weights."""
    from compgraph.data.buffer_writer import write_buffer

    return write_buffer(
        net,
        pairs,
        path,
        sites=entry.sites,
        positions=entry.positions,
        dtype=entry.dtype,
        batch_size=entry.batch_size,
        side=entry.side,
        compress=entry.compress,
    )
