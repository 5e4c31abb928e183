"""``compgraph scale``: structure against the size of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph.cli.console import Call, output_option, verb
from compgraph.errors import DataError

if TYPE_CHECKING:
    from compgraph.emergence.scaling import Member
    from compgraph.store import Result


@verb("scale", section="scale")
@click.option(
    "--input", "inputs", multiple=True, required=True, metavar="PATH",
    help="Manifest of a result to compare, with {model} and {checkpoint} where these names stand; one is the model's "
    "own; repeatable.",
)  # fmt: skip
@click.option("--at", required=True, metavar="PLACES", help="Models and checkpoints: small/step-100,large/step-100.")
@output_option
def command(call: Call, inputs: tuple[str, ...], at: str, output: Path, entry: Any) -> None:
    """Reads models, graphs, evaluations, block models, communities, statistics, tests and tracking tables."""
    from compgraph.cli.following import open_all, save_tables
    from compgraph.emergence.scaling import scale

    places = [dict(zip(("model", "checkpoint"), place.split("/"), strict=True)) for place in at.split(",")]
    opened = open_all(inputs, places)
    members = [_member(place["model"], opened, k) for k, place in enumerate(places)]
    found = scale(
        members,
        metric=entry.metric,
        shares=entry.shares,
        faithfulness=entry.faithfulness,
        measures=entry.measures,
        n_nulls=entry.n_nulls,
        seed=entry.seed,
    )
    save_tables(call, found.tables(), output, "scale", opened, {"models": [place["model"] for place in places]})


def _member(name: str, opened: dict[str, list[Result]], k: int) -> Member:
    """The results of one model."""
    from compgraph import store
    from compgraph.cli.following import names, snapshot
    from compgraph.emergence.scaling import Member

    own = [there[k] for there in opened.values() if there[k].kind == "model"]
    if len(own) != 1:
        raise DataError(f"one of the inputs must be the model's own manifest; there are {len(own)}")
    followed = [there[k] for there in opened.values() if there[k].kind == "tracking"]
    tracked = [store.read_table(result.file("table.parquet")) for result in followed]
    series = names(opened)
    results = [(series[path], there[k]) for path, there in opened.items()]
    size = own[0].summary
    return Member(name, size["n_parameters"], size["depth"], snapshot(0, results), tracked[0] if tracked else None)
