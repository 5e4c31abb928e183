"""Figures, stages, and the sections of the config whose entries name a method."""

from __future__ import annotations

from collections.abc import Mapping

from compgraph.catalogue.circuits import TESTS
from compgraph.catalogue.effective import EFFECTIVE
from compgraph.catalogue.entries import Entry, Table, table
from compgraph.catalogue.graphs import ATTRIBUTIONS, FUNCTIONAL, STRUCTURAL
from compgraph.catalogue.structure import COMMUNITIES
from compgraph.catalogue.units import DICTIONARIES, ROIS


def _figure(name: str, stage: str, summary: str, per: str = "result", reads: tuple[str, ...] = ()) -> Entry:
    module = f"compgraph.figures.{name.replace('-', '_')}"
    return Entry(name, module, summary, "draw", stage=stage, per=per, reads=reads)


def _against(axis: str, summary: str) -> Entry:
    name, settings = f"faithfulness-{axis.split('_')[-1]}", (("axis", axis),)
    module = "compgraph.figures.faithfulness"
    return Entry(name, module, summary, "draw", stage="evaluation", per="place", settings=settings)


def _figure_of_test(method: str, summary: str, *tables: str) -> Entry:
    module = f"compgraph.figures.{method.replace('-', '_')}"
    return Entry(method, module, summary, "draw", stage="tests", method=method, tables=tables)


FIGURES: Table = table(
    _figure("structural", "structural", "structural connectivity between the nodes"),
    _figure("functional", "functional", "functional connectivity between the nodes"),
    _figure("dictionaries", "dictionaries", "how often features are active, and how training went"),
    _figure("effective", "effective", "the strongest effective edges, drawn by level"),
    _figure("faithfulness", "evaluation", "faithfulness against the share of edges kept", per="place"),
    _against("n_nodes", "faithfulness against the number of nodes that the circuit has"),
    _against("mean_degree", "faithfulness against the circuit's mean degree"),
    Entry(
        "method-comparison", "compgraph.figures.method_comparison", "areas under faithfulness, against passes",
        "draw", stage="evaluation", per="place", reads=("scored",),
    ),
    _figure("blocks", "sbm", "the weight matrix sorted by block", reads=("graph",)),
    Entry(
        "sbm-structures", "compgraph.figures.sbm_structures", "generated graphs: what blocks and communities find",
        "draw", stage="structures", tables=("graphs", "nodes", "edges", "models"),
    ),
    Entry(
        "three-connectivities",
        "compgraph.figures.three_connectivities",
        "kinds of connectivity against each other, with what chance gives",
        "draw",
        stage="comparison",
        reads=("graphs",),
    ),
    Entry(
        "node-vs-edge", "compgraph.figures.node_vs_edge", "the networks that node and edge ablation really run",
        "draw", stage="wiring", tables=("edges", "networks"),
    ),
    Entry(
        "ground-truth", "compgraph.figures.ground_truth", "ROC and precision-recall curves on networks of known edges",
        "draw", stage="ground-truth", tables=("curves", "areas"),
    ),
    _figure_of_test("circuit-tests", "the five tests of a circuit, with their p-values", "tests"),
    _figure_of_test("minimality", "the loss without each edge of a circuit, against chance", "edges", "circuit"),
    _figure_of_test("knock-out", "circuits alone, and the network without them", "circuits"),
    _figure_of_test("stability", "agreement of circuits from disjoint samples", "circuits"),
    _figure_of_test("reproducibility", "agreement of circuits from other seeds and wordings", "circuits", "areas"),
    _figure_of_test("separability", "attribution of each block by task", "shares", "blocks", "index"),
    Entry(
        "task-circuit",
        "compgraph.figures.task_circuit",
        "the circuit of a mixture of tasks, each node in the colour of the task it serves most",
        "draw",
        stage="tests",
        method="separability",
        tables=("shares", "blocks"),
        reads=("graph",),
    ),
    _figure_of_test("block-ablation", "tasks by tasks: blocks removed, and alone kept", "tasks"),
    _figure_of_test("region-ablation", "classes by classes, for several divisions into regions", "tasks"),
    _figure_of_test("class-ablation", "accuracy against the share of regions removed, and kept", "accuracy"),
    Entry(
        "network-statistics",
        "compgraph.figures.network_statistics",
        "each measure beside its null distribution, with z",
        "draw",
        stage="statistics",
    ),
    Entry(
        "roi-attribution",
        "compgraph.figures.roi_attribution",
        "responses of regions to inputs and classes",
        "draw",
        stage="rois",
        tables=("rois", "responses"),
    ),
    Entry(
        "roi-illustration",
        "compgraph.figures.roi_illustration",
        "units of a site sorted by region, with their correlations",
        "draw",
        stage="rois",
        tables=("units",),
    ),
    Entry(
        "roi-vs-heads",
        "compgraph.figures.roi_vs_heads",
        "overlap of regions with heads; faithfulness and concentration of graphs over each, against random nodes",
        "draw",
        stage="tests",
        method="against-random",
        per="entry",
        tables=("circuits", "carried"),
        reads=("rois",),
    ),
    _figure("roi-stability", "rois", "agreement of the regions of neighbouring checkpoints", per="model"),
    Entry(
        "emergence", "compgraph.figures.emergence", "what changes during training", "draw", stage="tracking",
        tables=("table", "changes"),
    ),
    Entry(
        "alluvial", "compgraph.figures.alluvial", "blocks over the checkpoints of a training", "draw",
        stage="tracking", tables=("flows",),
    ),
    Entry(
        "scaling", "compgraph.figures.scaling", "structure against the size of models", "draw", stage="scale",
        tables=("table", "slopes"),
    ),
)


def _stage(name: str, module: str, summary: str, requires: tuple[str, ...] = ()) -> Entry:
    return Entry(name, f"compgraph.cli.{module}", summary, "command", requires=requires)


STAGES: Table = table(
    _stage("train", "train", "Train a model from its recipe and save its checkpoints."),
    _stage("import-model", "import_model", "Register a pretrained model: a folder or a hub name."),
    _stage("data", "data", "Make a dataset: prompts, text windows or images, for one model."),
    _stage("activations", "activations", "Record activations into one buffer."),
    _stage("attributions", "attributions", "Record attributions of a metric into one buffer."),
    _stage("dictionaries", "dictionaries", "Train or load dictionaries: features of sites."),
    _stage("structural", "structural", "Structural graph: from the weights alone."),
    _stage("functional-part", "functional_part", "Sums over a part of recorded activations, to be merged."),
    _stage("functional", "functional", "Functional graph: co-variation of recorded activations."),
    _stage("effective", "effective", "Effective graph: causal influence between parts."),
    _stage("rois", "rois", "Regions of interest: groups of similar units."),
    _stage("ablation", "ablation", "Run the network as a graph with fewer and fewer edges or nodes."),
    _stage("evaluation", "evaluation", "Table of how faithful these runs are."),
    _stage("nulls", "null_graphs", "Graphs of randomised networks, made as a graph was."),
    _stage("communities", "communities", "Communities of a graph."),
    _stage("sbm", "sbm", "Stochastic block model of a graph.", requires=("graph_tool",)),
    _stage("tests", "tests", "Test a circuit, blocks or regions against chance."),
    _stage("statistics", "statistics", "Network statistics of a graph."),
    _stage("comparison", "comparison", "Every two of some graphs, edge by edge."),
    _stage("tracking", "tracking", "What changes over the checkpoints of a training."),
    _stage("scale", "scale", "Structure against the size of models."),
    _stage("structures", "structures", "What is found in graphs of known structure.", requires=("graph_tool",)),
    _stage("explore", "explore", "Interactive page about a graph."),
    _stage("wiring", "wiring", "What node and edge ablation run, on a small network."),
    _stage("ground-truth", "ground_truth", "How well effective methods find known edges."),
    _stage("figure", "figure", "Draw one figure."),
    _stage("report", "report", "One HTML page of every figure and how it was made."),
)

SECTIONS: Mapping[str, Table] = {
    "attributions": ATTRIBUTIONS,
    "dictionaries": DICTIONARIES,
    "structural": STRUCTURAL,
    "functional": FUNCTIONAL,
    "effective": EFFECTIVE,
    "rois": ROIS,
    "communities": COMMUNITIES,
    "tests": TESTS,
}
"""Sections of the config whose entries name a ``method``."""
