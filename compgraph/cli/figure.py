"""``compgraph figure``: one figure, its data and its caption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb
from compgraph.errors import DataError

if TYPE_CHECKING:
    from compgraph.store import Result


@verb("figure")
@click.argument("name", type=click.Choice(list(catalogue.FIGURES)))
@click.argument("inputs", type=TO_BE_GIVEN, nargs=-1, required=True)
@output_option
@click.option("--subject", default="", help="Model, checkpoint and task in words, for the caption.")
def command(call: Call, name: str, inputs: tuple[Path, ...], output: Path, subject: str) -> None:
    """INPUTS are the manifests of what the figure shows: of a graph; of faithfulness curves; of a block model and
    its graph; of statistics, curves and block models of several checkpoints."""
    import importlib

    from compgraph import store
    from compgraph.figures.files import save_with_data

    entry = catalogue.FIGURES[name]
    call.modules = (entry.module,)
    results = [store.open(path) for path in inputs]
    arguments, options = _READERS[entry.stage](results)
    module = importlib.import_module(entry.module)
    figure = catalogue.load(entry)(*arguments, **options)
    made = {f"{result.kind}-{index}": result for index, result in enumerate(results)}
    with call.result(output, "figure", ".figure", inputs=made, parameters={"name": name, "subject": subject}) as draft:
        caption = module.caption(*arguments, **options, subject=subject)
        save_with_data(draft.path, figure, module.data(*arguments, **options), caption)
        draft.summary.update(name=name, caption=caption)


def _graph(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    from compgraph.graph import ComputationalGraph

    return [ComputationalGraph.load(_only(results, "graph").path)], {}


def _curves(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    """All curves in one table, named by what differs between them."""
    import pandas as pd

    from compgraph import store

    tables = []
    for result in results:
        table = store.read_table(result.path)
        summary = result.summary
        graph = result.manifest_path.stem.partition("@")[2].partition(".")[2]
        tables.append(table.assign(graph=graph, ablation=summary["ablation"], baseline=summary["baseline"]))
    return [pd.concat(tables, ignore_index=True)], {}


def _blocks(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    from compgraph.communities.block_model import BlockModel

    return _graph(results)[0], {"levels": BlockModel.load(_only(results, "sbm").path).levels}


def _emergence(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    """What changes over the checkpoints of one model, as one long table."""
    import pandas as pd

    from compgraph import store

    rows: list[dict[str, Any]] = []
    for result in results:
        step, graph = _step(result.manifest_path), result.manifest_path.stem.partition("@")[2]
        if result.kind == "statistics":
            table = store.read_table(result.path)
            found = table[table["measure"] == "modularity"]
            rows += [
                {"quantity": "modularity", "value": value, "series": graph, "step": step} for value in found["value"]
            ]
        elif result.kind == "sbm":
            rows.append({"quantity": "n_blocks", "value": result.summary["n_blocks"], "series": graph, "step": step})
        else:
            rows += [{**row, "series": graph, "step": step} for row in _behaviour(store.read_table(result.path))]
    return [pd.DataFrame(rows, columns=["step", "quantity", "value", "series", "low", "high"]).drop_duplicates()], {}


def _behaviour(curve: Any) -> list[dict[str, Any]]:
    """The whole model's accuracy, and the faithfulness of the smallest circuit with at least a tenth of the edges."""
    curve = curve[curve["task"] == "all"]
    rows = [
        {"quantity": "accuracy", "value": value}
        for value in curve.loc[curve["metric"] == "accuracy", "model"].head(1).tolist()
    ]
    first = curve[curve["metric"] == curve["metric"].iloc[0]]
    circuit = first[first["fraction"] >= CIRCUIT].sort_values("fraction").head(1)
    names = {"value": "faithfulness", "low": "low", "high": "high"}
    return rows + [
        {"quantity": "faithfulness", **{ours: row[theirs] for ours, theirs in names.items()}}
        for row in circuit.to_dict("records")
    ]


CIRCUIT = 0.1
"""Share of the edges of the circuit whose faithfulness is followed through training."""


def _step(manifest: Path) -> int:
    """Training step of the checkpoint that a result belongs to, from the name of its folder."""
    from compgraph.config.models import step_of

    for part in manifest.absolute().parts[::-1]:
        step = step_of(part)
        if step is not None:
            return step
    raise DataError(f"{manifest} lies in no folder of a training checkpoint (step-000100)")


def _only(results: list[Result], kind: str) -> Result:
    found = [result for result in results if result.kind == kind]
    if len(found) != 1:
        raise DataError(f"this figure needs one manifest of kind '{kind}', and {len(found)} are given")
    return found[0]


_READERS: dict[str, Callable[[list[Result]], tuple[list[Any], dict[str, Any]]]] = {
    "structural": _graph,
    "functional": _graph,
    "effective": _graph,
    "ablation": _curves,
    "sbm": _blocks,
    "statistics": _emergence,
}
"""How the arguments of a figure are read from the results of the stage it draws."""
