"""``compgraph ground-truth``: how well effective methods find edges that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compgraph.cli.console import Call, output_option, verb


@verb("ground-truth", section="ground_truth")
@output_option
def command(call: Call, output: Path, entry: Any) -> None:
    """Reads nothing: the networks are compiled here."""
    from compgraph import catalogue
    from compgraph.errors import ConfigError
    from compgraph.evaluation.ground_truth import recover_known
    from compgraph.models.compiled import CASES, compile_case
    from compgraph.store import write_table

    methods = list(catalogue.EFFECTIVE) if entry.methods == "all" else entry.methods
    if not methods:
        raise ConfigError("ground-truth: no method is named; give --methods all, or their names")
    cases = [compile_case(name) for name in (CASES if entry.cases == "all" else entry.cases)]
    found = recover_known(methods, cases, n=entry.examples, seed=entry.seed, refusals=True)
    with call.result(output, "ground-truth", ".tables", inputs={}) as draft:
        draft.path.mkdir()
        write_table(found.areas, draft.path / "areas.parquet")
        write_table(found.curves, draft.path / "curves.parquet")
        draft.summary["auroc"] = found.areas.groupby("method", sort=False)["auroc"].mean().round(4).to_dict()
        for row in found.areas[found.areas["reason"] != ""].itertuples():
            draft.warn(f"{row.method} refused {row.case}: {row.reason}")
