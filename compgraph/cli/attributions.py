"""``compgraph attributions``: record what each unit contributes to a metric into one buffer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, baseline_option, dictionaries_option, output_option, verb

if TYPE_CHECKING:
    from compgraph.models.network import Network


@verb("attributions", section="attributions", device=True)
@click.argument("model", type=TO_BE_GIVEN)
@click.argument("data", type=TO_BE_GIVEN)
@baseline_option
@dictionaries_option
@output_option
def command(
    call: Call,
    model: Path,
    data: Path,
    baseline_data: Path | None,
    dictionaries: Path | None,
    output: Path,
    entry: Any,
) -> None:
    """MODEL is the manifest of a checkpoint, DATA that of a dataset. An interrupted recording is continued."""
    from compgraph.cli.inputs import open_network, open_pairs, open_reference, with_dictionaries
    from compgraph.data.buffer_layout import ATTRIBUTIONS

    net, made = open_network(model, call.device)
    net, dictionaries_made = with_dictionaries(net, dictionaries)
    pairs, pairs_made = open_pairs(data, made)
    reference, reference_made = open_reference(baseline_data)
    inputs = {"model": made, "data": pairs_made, **dictionaries_made, **reference_made}
    with call.result(output, ATTRIBUTIONS, ".zarr", inputs=inputs, resume=True) as draft:
        draft.summary |= record(net, entry, pairs, draft.path, reference)


def record(net: Network, entry: Any, pairs: Any, path: Path, reference: Any = None) -> dict[str, Any]:
    """Write the buffer of an entry: of the checkpoint, or of a network with random weights."""
    from compgraph.attribution.record import write_attributions
    from compgraph.cli.saving import method_options

    method = catalogue.ATTRIBUTIONS[entry.method]
    compared: dict[str, Any] = {}
    if method.takes_baseline:
        compared = {"baseline": entry.baseline, "reference": reference, "seed": entry.seed}
    return write_attributions(
        net,
        pairs,
        path,
        sites=entry.sites,
        method=entry.method,
        metric=entry.metric,
        positions=entry.positions,
        dtype=entry.dtype,
        batch_size=entry.batch_size,
        compress=entry.compress,
        **compared,
        **method_options(method, entry),
    )
