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
    its graph; of what is tracked over checkpoints."""
    import importlib

    from compgraph import store
    from compgraph.figures.files import save_with_data

    entry = catalogue.FIGURES[name]
    call.modules = (entry.module,)
    results = [store.open(path) for path in inputs]
    read = _READERS.get(name) or _READERS.get(entry.stage)
    arguments, options = _tables(results, entry) if read is None else read(results)
    options |= dict(entry.settings)
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
        _, runs, graph = ["", *result.manifest_path.stem.split("@")][-3:]
        how = {name: summary[name] for name in ("ablation", "baseline")} | {"norms": summary.get("norm_scale", "exact")}
        names = {"graph": graph.partition(".")[2], **how}
        tables.append(table.assign(**names, runs=runs))
    whole = pd.concat(tables, ignore_index=True)
    # The entry of the config names a curve only where nothing else tells two of them apart.
    apart = whole.groupby(["graph", "ablation", "baseline", "norms"])["runs"].nunique().max() > 1
    return [whole if apart else whole.drop(columns="runs")], {}


def _tables(results: list[Result], entry: catalogue.Entry) -> tuple[list[Any], dict[str, Any]]:
    """The tables of a result that its figure draws."""
    from compgraph import store

    result = _only(results, {"rois": "partition", "tests": "test"}.get(entry.stage, entry.stage))
    return [store.read_table(result.file(f"{name}.parquet")) for name in entry.tables], {}


def _compared_methods(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    """Areas of the circuits of each graph under one kind of runs, with what the graph's scores cost."""
    import pandas as pd

    graphs = {_named(one): one.summary.get("passes") for one in results if one.kind == "graph"}
    curves = [one for one in results if one.kind == "faithfulness" and _graph_of(one) in graphs]
    runs = [_runs_of(one) for one in curves]
    edges = [one for one in curves if one.summary.get("ablation") == "edge"] or curves
    # One kind of runs for all: the one that most graphs have; of several the first.
    chosen = max(dict.fromkeys(map(_runs_of, edges)), key=runs.count, default="")
    rows = []
    for one in edges:
        passes = graphs[_graph_of(one)]
        if _runs_of(one) != chosen or passes is None:
            continue
        by_task = {"all": one.summary["areas"], **one.summary.get("areas_by_task", {})}
        for task, metrics in by_task.items():
            for metric, areas in metrics.items():
                for area in ("cpr", "cmd"):
                    numbers = {key: areas.get(f"{area}{end}") for key, end in _ENDS.items()}
                    where = {"method": _graph_of(one).partition(".")[2], "task": task, "metric": metric, "area": area}
                    rows.append(where | numbers | {"passes": passes["forward"] + passes["backward"]})
    columns = ["method", "task", "metric", "area", *_ENDS, "passes"]
    table = pd.DataFrame(rows, columns=columns)
    return [table.astype(dict.fromkeys((*_ENDS, "passes"), float))], {}


_ENDS = {"value": "", "low": "_low", "high": "_high"}


def _named(graph: Result) -> str:
    return f"{graph.manifest_path.parent.name}.{graph.manifest_path.stem}"


def _runs_of(curve: Result) -> str:
    """Entry of the ablation that a curve was made from."""
    return ["", *curve.manifest_path.stem.split("@")][-2]


def _task_circuit(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    """A graph, and how much of each node's attribution is of which task."""
    tested = [result for result in results if result.kind != "graph"]
    return [*_graph(results)[0], *_tables(tested, catalogue.FIGURES["task-circuit"])[0]], {}


def _over_checkpoints(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    """Agreement of the regions of neighbouring checkpoints, entry by entry, in the order of training."""
    import pandas as pd

    from compgraph.partition import Partition
    from compgraph.rois.checkpoints import roi_agreement

    entries: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda one: _step(one.manifest_path)):
        entries.setdefault(result.manifest_path.stem, []).append(result)
    tables = []
    for name, found in entries.items():
        steps = {_step(one.manifest_path): Partition.load(one.path) for one in found}
        n, seed = (found[0].parameters[key] for key in ("n_permutations", "seed"))
        table = roi_agreement({str(step): one for step, one in steps.items()}, n_permutations=n, seed=seed)
        tables.append(table.astype({"first": int, "second": int}).assign(regions=name))
    return [pd.concat(tables, ignore_index=True)], {}


def _against_heads(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    """Circuits and concentration of the graphs that were tested, and the overlap with heads of regions among them."""
    import pandas as pd

    from compgraph import store
    from compgraph.rois.overlap import COLUMNS

    tested = {_graph_of(result).partition(".")[2]: result for result in results if result.kind == "test"}
    tables = [
        pd.concat(
            [store.read_table(one.file(f"{name}.parquet")).assign(graph=graph) for graph, one in tested.items()],
            ignore_index=True,
        )
        for name in catalogue.FIGURES["roi-vs-heads"].tables
    ]
    overlaps = [
        store.read_table(result.file("heads.parquet")).assign(regions=result.manifest_path.stem)
        for result in results
        if result.kind == "partition"
    ]
    found = [table for table in overlaps if len(table)]
    overlap = pd.concat(found) if found else pd.DataFrame(columns=["regions", *COLUMNS])
    return [*tables, overlap.reset_index(drop=True)], {}


def _blocks(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    """The graph of a block model, or its graphs as channels of one, its levels and its summary."""
    from compgraph.cli.sbm import layer_names
    from compgraph.communities.block_model import BlockModel
    from compgraph.figures.block_panels import stacked
    from compgraph.graph import ComputationalGraph

    model = BlockModel.load(_only(results, "sbm").path)
    options = {"levels": model.levels, "fit": model.summary()}
    graphs = [result for result in results if result.kind == "graph"]
    if len(graphs) < 2:
        return _graph(results)[0], options
    names = layer_names([one.manifest_path for one in graphs])
    layers = {name: ComputationalGraph.load(one.path) for name, one in zip(names, graphs, strict=True)}
    return [stacked(layers, model.names)], options


def _step(manifest: Path) -> int:
    """Training step of the checkpoint that a result belongs to, from the name of its folder."""
    from compgraph.config.models import step_of

    for part in manifest.absolute().parts[::-1]:
        step = step_of(part)
        if step is not None:
            return step
    raise DataError(f"{manifest} lies in no folder of a training checkpoint (step-000100)")


def _graph_of(result: Result) -> str:
    return result.manifest_path.stem.rpartition("@")[2]


def _compared(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    """The table of a comparison, and the graphs it was made from."""
    from compgraph import store
    from compgraph.cli.inputs import graph_name
    from compgraph.graph import ComputationalGraph

    table = store.read_table(_only(results, "comparison").path)
    graphs = [result for result in results if result.kind == "graph"]
    return [table, {graph_name(one.manifest_path): ComputationalGraph.load(one.path) for one in graphs}], {}


def _measured(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    """The table of network statistics."""
    from compgraph import store

    return [store.read_table(_only(results, "statistics").path)], {}


def _only(results: list[Result], kind: str) -> Result:
    found = [result for result in results if result.kind == kind]
    if len(found) != 1:
        raise DataError(f"this figure needs one manifest of kind '{kind}', and {len(found)} are given")
    return found[0]


def _dictionaries(results: list[Result]) -> tuple[list[Any], dict[str, Any]]:
    from compgraph import store

    one = _only(results, "dictionaries")
    training = "training.parquet"
    tables = [store.read_table(one.file(name)) for name in ("quality.parquet", "density.parquet")]
    return tables, {"training": store.read_table(one.file(training)) if training in one.manifest["files"] else None}


_READERS: dict[str, Callable[[list[Result]], tuple[list[Any], dict[str, Any]]]] = {
    "dictionaries": _dictionaries,
    "structural": _graph,
    "functional": _graph,
    "effective": _graph,
    "evaluation": _curves,
    "sbm": _blocks,
    "statistics": _measured,
    "comparison": _compared,
    "roi-vs-heads": _against_heads,
    "task-circuit": _task_circuit,
    "method-comparison": _compared_methods,
    "roi-stability": _over_checkpoints,
}
"""How the arguments of a figure are read: by its name, else by the stage whose results it draws, else from tables."""
