"""``compgraph tests``: a circuit, blocks or regions against chance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, baseline_option, cache_option, output_option, verb
from compgraph.config.base import SELECTORS
from compgraph.errors import DataError

if TYPE_CHECKING:
    from compgraph.evaluation.profiles import Labelled
    from compgraph.graph import ComputationalGraph
    from compgraph.models.network import Network
    from compgraph.partition import Partition
    from compgraph.store import Result


@verb("tests", section="tests", device=True)
@click.argument("model", type=TO_BE_GIVEN)
@click.argument("data", type=TO_BE_GIVEN)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="ROLE=MANIFEST",
    help="What else the method reads: graph, dictionaries, buffer, blocks, rois.NAME, sbm.NAME with graph:sbm.NAME, "
    "again:seeds:NAME or again:phrasings:NAME with data:NAME; repeatable.",
)
@cache_option
@baseline_option
@output_option
def command(
    call: Call,
    model: Path,
    data: Path,
    inputs: tuple[str, ...],
    cache: Path | None,
    baseline_data: Path | None,
    output: Path,
    entry: Any,
) -> None:
    """MODEL and DATA are manifests: a checkpoint and a dataset. Each method reads some of the inputs besides."""
    from compgraph.cli.inputs import open_graph, open_network, open_pairs, open_reference, with_dictionaries
    from compgraph.data.buffers import open_buffer
    from compgraph.evaluation.trials.trial import Given
    from compgraph.store import write_table

    given = _by_role(inputs)
    net, made = open_network(model, call.device)
    net, dictionaries_made = with_dictionaries(net, given.get("dictionaries"))
    pairs, pairs_made = open_pairs(data, made)
    reference, reference_made = open_reference(baseline_data)
    read: dict[str, Result] = {"model": made, "data": pairs_made, **dictionaries_made, **reference_made}
    found: dict[str, Any] = {}
    if "graph" in given:
        found["graph"], read["graph"] = open_graph(given["graph"])
        found["made_by"] = read["graph"].parameters
    if "buffer" in given:
        found["attributions"] = open_buffer(given["buffer"])
        read["buffer"] = found["attributions"].result
    if "blocks" in given:
        found["blocks"], read["blocks"] = _open_blocks(given["blocks"])
    found["partitions"] = _open_partitions(net, given, read)
    found["replicates"] = _open_replicates(given, read, pairs)
    method = catalogue.TESTS[entry.method]
    settings = {name: value for name, value in entry if name not in NOT_SETTINGS}
    outcome = catalogue.load(method)(Given(net, pairs, reference=reference, cache=cache, **found), **settings)
    with call.result(output, "test", ".tables", inputs=read) as draft:
        draft.path.mkdir()
        for name, table in outcome.tables.items():
            write_table(table, draft.path / f"{name}.parquet")
        draft.summary.update(method=entry.method, verdict=outcome.verdict, tables=list(outcome.tables))
        draft.summary.update(outcome.summary)
        for note in outcome.notes:
            draft.warn(note)


NOT_SETTINGS = ("method", *SELECTORS)
"""Fields of an entry that say where it applies and what it reads."""


def _by_role(inputs: tuple[str, ...]) -> dict[str, Path]:
    found = {}
    for one in inputs:
        role, equals, path = one.partition("=")
        if not equals:
            raise DataError(f"--input {one} should be ROLE=MANIFEST, such as graph=results/…/heads.json")
        found[role] = Path(path)
    return found


def _open_blocks(manifest: Path) -> tuple[Labelled, Result]:
    """Labels of a graph's nodes: a block model, or communities."""
    from compgraph import store
    from compgraph.communities.block_model import BlockModel
    from compgraph.evaluation.profiles import NamedLabels

    result = store.open(manifest)
    if result.kind == "sbm":
        return BlockModel.load(result.path), result
    if result.kind != "communities":
        raise DataError(f"{manifest} holds no blocks: it is a result of kind '{result.kind}', not sbm or communities")
    table = store.read_table(result.path)
    return NamedLabels(tuple(table["node"]), table["community"].to_numpy()), result


def _open_partitions(net: Network, given: Mapping[str, Path], read: dict[str, Result]) -> dict[str, Partition]:
    """Regions by name: those of the section rois, and blocks of a graph whose nodes they join."""
    from compgraph import store
    from compgraph.cli.inputs import open_graph
    from compgraph.evaluation.profiles import joined
    from compgraph.partition import Partition

    found = {}
    for role, path in given.items():
        if role in ("graph", "dictionaries", "buffer", "blocks") or role.startswith(("graph:", "again:", "data:")):
            continue
        if role.startswith("rois."):
            read[role] = store.open(path, kind="partition")
            found[role] = Partition.load(read[role].path)
            continue
        if f"graph:{role}" not in given:
            raise DataError(f"--input {role} needs --input graph:{role}, the graph whose nodes these blocks join")
        blocks, read[role] = _open_blocks(path)
        graph, read[f"graph:{role}"] = open_graph(given[f"graph:{role}"])
        found[role] = joined(graph, blocks)
    short = [name.partition("@")[0] for name in found]
    named = {one if short.count(one) == 1 else name: found[name] for one, name in zip(short, found, strict=True)}
    return {name: Partition.mixed(net, dict.fromkeys(one.sites, one)) for name, one in named.items()}


def _open_replicates(
    given: Mapping[str, Path], read: dict[str, Result], pairs: Any
) -> dict[str, dict[str, tuple[ComputationalGraph, Any]]]:
    """Graphs made again, each with the examples that it was made from: its own data, or those of the test."""
    from compgraph.cli.inputs import open_graph, open_pairs

    found: dict[str, dict[str, tuple[ComputationalGraph, Any]]] = {}
    for role, path in given.items():
        if not role.startswith("again:"):
            continue
        source, _, word = role.removeprefix("again:").partition(":")
        graph, read[role] = open_graph(path)
        examples = pairs
        if (data := f"data:{word}") in given:
            examples, read[data] = open_pairs(given[data])
        found.setdefault(source, {})[word] = (graph, examples)
    return found
