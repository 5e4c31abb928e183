"""``compgraph nulls``: graphs of randomised networks, each made as a given graph was."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, baseline_option, output_option, rois_option, verb
from compgraph.config.code import code_roots
from compgraph.config.randomised import Randomised
from compgraph.errors import DataError, StoreError

if TYPE_CHECKING:
    from compgraph.config.base import Section
    from compgraph.graph import ComputationalGraph
    from compgraph.models.network import Network
    from compgraph.store import Result


@verb("nulls", device=True)
@click.argument("graph", type=TO_BE_GIVEN)
@click.argument("model", type=TO_BE_GIVEN)
@click.option("--data", type=TO_BE_GIVEN, help="Manifest of the graph's dataset; a structural graph has none.")
@click.option("--buffer", type=TO_BE_GIVEN, help="Manifest of the buffer that a functional graph was made from.")
@rois_option
@baseline_option
@click.option(
    "--randomised",
    type=click.Choice(list(get_args(Randomised))),
    default="shuffled",
    help="What becomes of the weights.",
)
@click.option("--n-nulls", type=click.IntRange(1), default=19, help="Networks.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Network k is the same however many there are.")
@output_option
def command(
    call: Call,
    graph: Path,
    model: Path,
    data: Path | None,
    buffer: Path | None,
    rois: Path | None,
    baseline_data: Path | None,
    randomised: Randomised,
    n_nulls: int,
    seed: int,
    output: Path,
) -> None:
    """GRAPH is the manifest of a graph of any kind, MODEL that of its checkpoint. The graph's method and settings are
    read from its manifest; every other file that it was made from is given again."""
    from compgraph.cli.inputs import NULL_GRAPHS, open_network
    from compgraph.statistics.nulls.network import network

    given = _Given.open(graph, data, buffer, rois, baseline_data)
    net, made = open_network(model, call.device)
    inputs = {**given.inputs, "model": made}
    given.check(inputs)
    call.modules = given.modules
    parameters = {"randomised": randomised, "n_nulls": n_nulls, "seed": seed}
    with call.result(output, NULL_GRAPHS, ".graphs", inputs=inputs, parameters=parameters) as draft:
        graphs = network(net, given.maker(net), n_nulls, randomised, seed)
        for number, one in enumerate(graphs):
            one.save(draft.path / f"{number:04d}.graph")
        draft.summary.update(
            n_graphs=n_nulls, randomised=randomised, n_nodes=graphs[0].n_nodes, n_edges=graphs[0].n_edges
        )


@dataclass(frozen=True)
class _Given:
    """A graph, and what it was made from beside the network.

    Attributes
    ----------
    stage, entry
        What made it.
    inputs
        Opened results by role, the graph's own among them.
    pairs, reference
        Its data, and those of its baseline, if it has any.
    recording
        Stage and entry of its buffer, if it was made from one.
    rois
        Manifest of the regions that its nodes are, if they are.
    """

    stage: str
    entry: Section
    inputs: dict[str, Result]
    pairs: Any
    reference: Any
    recording: tuple[str, Section] | None
    rois: Path | None

    @classmethod
    def open(
        cls, graph: Path, data: Path | None, buffer: Path | None, rois: Path | None, baseline_data: Path | None
    ) -> _Given:
        from compgraph import store
        from compgraph.cli.inputs import open_pairs, open_reference

        result = store.open(graph, kind="graph")
        inputs: dict[str, Result] = {"graph": result}
        stage = result.provenance.stage
        if "dictionaries" in result.provenance.inputs:
            raise DataError(f"{graph}: its units are features of dictionaries, which a randomised network has none of")
        pairs = None
        if data is not None:
            pairs, inputs["data"] = open_pairs(data)
        recording = None
        if buffer is not None:
            opened = store.open(buffer)
            inputs[opened.kind] = opened
            recording = opened.provenance.stage, _entry(opened)
        if rois is not None:
            inputs["rois"] = store.open(rois, kind="partition")
        reference, of_baseline = open_reference(baseline_data)
        return cls(stage, _entry(result), inputs | of_baseline, pairs, reference, recording, rois)

    @property
    def modules(self) -> tuple[str, ...]:
        """What the null graphs depend on beside this verb."""
        recorded = code_roots(*self.recording) if self.recording else ()
        return (*code_roots(self.stage, self.entry), *recorded)

    def check(self, inputs: dict[str, Result]) -> None:
        """Refuse other inputs than the graph, or its buffer, was made from."""
        graph = inputs["graph"]
        wanted = dict(graph.provenance.inputs)
        if self.recording:
            wanted |= inputs[self.recording[0]].provenance.inputs
        for role, digest in wanted.items():
            if role not in inputs:
                raise DataError(f"{graph.manifest_path} was made from {role}, which is not given")
            if inputs[role].digest != digest:
                raise StoreError(
                    f"{graph.manifest_path} was made from another {role} than "
                    f"{inputs[role].manifest_path}; make it again"
                )

    def maker(self, net: Network) -> Callable[[Network], ComputationalGraph]:
        """Makes the graph of another network of this architecture as this one was made, over the same nodes."""
        from compgraph.cli.inputs import build_partition

        entry: Any = self.entry
        module = importlib.import_module(catalogue.STAGES[self.stage].module)
        if self.stage == "functional":
            return lambda one: self._from_buffer(one, module)
        partition, _ = build_partition(net, entry.partition, self.rois)
        if self.stage == "structural":
            return lambda one: module.graph_of(one, entry, partition)
        return lambda one: module.graph_of(one, entry, self.pairs, partition, self.reference)

    def _from_buffer(self, net: Network, functional: Any) -> ComputationalGraph:
        """A functional graph of activations, or attributions, that are recorded for it and thrown away."""
        from compgraph import store
        from compgraph.cli.inputs import build_partition
        from compgraph.data.buffers import open_buffer
        from compgraph.provenance import Provenance

        assert self.recording is not None
        stage, settings = self.recording
        entry: Any = self.entry
        recorder = importlib.import_module(catalogue.STAGES[stage].module)
        with tempfile.TemporaryDirectory() as folder:
            manifest = Path(folder) / "buffer.json"
            made = Provenance(stage, {}, None, {"model": net.digest}, "")
            with store.create(manifest, stage, "buffer.zarr", made) as draft:
                draft.summary |= recorder.record(net, settings, self.pairs, draft.path, self.reference)
            recorded = open_buffer(manifest)
            partition, _ = build_partition(recorded, entry.partition, self.rois)
            made_graph: ComputationalGraph = functional.graph_of(recorded, entry, partition)
            return made_graph


def _entry(result: Result) -> Section:
    """The settings that made a result, from its manifest.

    Raises
    ------
    StoreError
        If this version does not know them.
    """
    from pydantic import ValidationError

    from compgraph.config.flags import members

    stage, parameters = result.provenance.stage, result.parameters
    try:
        return members(stage)[str(parameters.get("method", ""))].model_validate(parameters, strict=False)
    except (KeyError, ValidationError) as error:
        raise StoreError(f"{result.manifest_path} was made with settings that are not known here: {error}") from error
