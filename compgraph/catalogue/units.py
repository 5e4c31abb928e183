"""Dictionaries and regions of interest."""

from __future__ import annotations

from typing import Any

from compgraph.catalogue.entries import TRANSFORMER, Entry, Option, Table, table

_DICTIONARIES = "compgraph.dictionaries.fit"

_COMPONENTS = (Option("max_iter", 500, "Most iterations.", minimum=1),)

DICTIONARIES: Table = table(
    Entry(
        "sae",
        _DICTIONARIES,
        "sparse autoencoder, trained on the recorded activations",
        "fit_dictionary",
        serves=TRANSFORMER,
        options=(
            Option(
                "activation",
                "batch-topk",
                "What makes features sparse.",
                choices=("relu", "topk", "batch-topk", "jumprelu", "gated"),
            ),
            Option("k", 8, "topk, batch-topk: active features a row.", minimum=1),
            Option("sparsity", 1.0, "relu, jumprelu, gated: weight of the penalty.", minimum=0.0),
            Option("n_rows", 1_000_000, "Rows to train on, in as many passes as that takes.", minimum=1),
            Option("batch_size", 2048, "Rows a step.", minimum=1),
            Option("learning_rate", 0.002, "Peak learning rate of Adam.", minimum=0.0),
            Option("revive_every", 100_000, "Rows after which a silent feature starts again; 0: never.", minimum=0),
        ),
    ),
    Entry(
        "pca",
        _DICTIONARIES,
        "principal components",
        "fit_dictionary",
        serves=TRANSFORMER,
        options=(Option("centred", True, "Take the mean off first."),),
    ),
    Entry(
        "ica",
        _DICTIONARIES,
        "independent components (FastICA)",
        "fit_dictionary",
        serves=TRANSFORMER,
        options=_COMPONENTS,
    ),
    Entry(
        "nmf",
        _DICTIONARIES,
        "non-negative factors, for units that are mostly positive",
        "fit_dictionary",
        serves=TRANSFORMER,
        options=_COMPONENTS,
    ),
    Entry(
        "load",
        _DICTIONARIES,
        "a published dictionary, checked against the recorded activations",
        "fit_dictionary",
        serves=TRANSFORMER,
        options=(
            Option("path", "", "Its folder or safetensors file; {site} stands for the site."),
            Option(
                "layout",
                "auto",
                "Whose layout the file has.",
                choices=("auto", "saelens", "dictionary-learning", "sparsify"),
            ),
            Option("least_explained", 0.5, "Share of the variance that it must explain."),
        ),
    ),
)


WEIGHT_MODELS = (
    "real-normal",
    "real-exponential",
    "discrete-geometric",
    "discrete-poisson",
    "discrete-binomial",
)
"""Distributions of edge weights that block models know."""


SHARED = "shared-neighbours"
"""The graph of units whose weights are whole numbers."""


def contradictions(
    *, n_rois: Any, nested: bool, hierarchy_level: int, weights: str, graph: str, weighted: bool
) -> dict[str, str]:
    """What settings of `sbm` regions contradict others: key -> why, in words."""
    found = {}
    if nested and isinstance(n_rois, int):
        found["n_rois"] = "a nested model has as many blocks as it finds; give a range of n_rois, or nested: false"
    if hierarchy_level and not nested:
        found["hierarchy_level"] = (
            f"hierarchy_level is {hierarchy_level}, and only a nested model has levels (nested: true)"
        )
    named = f"{graph}{' with weights' if weighted else ''}"
    if weights == "real-exponential" and graph not in ("knn", SHARED):
        found["weights"] = f"{weights} is for weights >= 0: those of the graphs knn and {SHARED}, not {named}"
    if weights.startswith("discrete-") and graph != SHARED and (graph != "knn" or weighted):
        found["weights"] = f"{weights} is for whole weights: those of the graph {SHARED}, not {named}"
    return found


def _unit_graph(default: str) -> tuple[Option, ...]:
    """Options of the methods that read a graph of units."""
    return (
        Option(
            "graph",
            default,
            "Which graph of the units: nearest neighbours (knn), how many of them two units share (shared-neighbours), "
            "all pairs by correlation, covariance or partial correlation, significant correlations, or coactivation.",
            choices=("correlation", "covariance", "partial", "knn", "shared-neighbours", "significant", "coactivation"),
        ),
        Option(
            "neighbours",
            0,
            "knn, shared-neighbours: neighbours of a unit; 0: about the root of their number.",
            minimum=0,
        ),
        Option("weighted", False, "knn: weights are correlations, not 1."),
        Option("mutual", False, "knn: join only units that are each among the other's nearest."),
        Option("level", 0.05, "significant: largest adjusted p-value.", minimum=0),
        Option("active_above", 0.0, "coactivation: a unit is active above this."),
    )


_BY_MODULARITY = (
    *_unit_graph("correlation"),
    Option("resolution", 1.0, "Above 1 finds smaller ROIs; where n_rois is given the search starts here.", minimum=0),
    Option("n_runs", 3, "Runs from different seeds; the largest modularity is kept.", minimum=1),
)

ROIS: Table = table(
    Entry("kmeans", "compgraph.rois.kmeans", "k-means on the units' correlation profiles", "find", needs=("n_rois",)),
    Entry(
        "ward",
        "compgraph.rois.ward",
        "Ward's agglomeration of the units' standardised signals",
        "find",
        needs=("n_rois",),
    ),
    Entry(
        "spectral",
        "compgraph.rois.spectral",
        "normalised cuts of a graph of the units, their number by the eigengap",
        "find",
        options=_unit_graph("knn"),
    ),
    Entry(
        "louvain",
        "compgraph.rois.modularity",
        "Louvain communities of a graph of the units",
        "by_louvain",
        options=_BY_MODULARITY,
    ),
    Entry(
        "leiden",
        "compgraph.rois.modularity",
        "Leiden communities of a graph of the units",
        "by_leiden",
        options=_BY_MODULARITY,
    ),
    Entry(
        "sbm",
        "compgraph.rois.sbm",
        "blocks of a stochastic block model of a graph of the units",
        "find",
        options=(
            *_unit_graph("knn"),
            Option(
                "weights",
                "auto",
                "How weights are distributed: real-normal, real-exponential (weights >= 0), discrete-* (whole weights: "
                "shared-neighbours), none (not modelled); auto: what suits the graph.",
                choices=("auto", *WEIGHT_MODELS, "none"),
            ),
            Option(
                "degree_corrected",
                "auto",
                "Whether units differ in their degrees; auto: always where weights are not modelled, else as it is "
                "shorter.",
                choices=("auto", "always", "never"),
            ),
            Option("nested", False, "Fit a hierarchy."),
            Option("hierarchy_level", 0, "nested: the level whose blocks are the ROIs; 0 for the finest.", minimum=0),
            Option("n_runs", 3, "Fits from different seeds; the shortest description is kept.", minimum=1),
            Option(
                "engine",
                "auto",
                "Search by matrices, refined by graph-tool (dense), by graph-tool alone, or what fits (auto).",
                choices=("auto", "dense", "graph-tool"),
            ),
        ),
    ),
    Entry(
        "sbm-bipartite",
        "compgraph.rois.sbm_bipartite",
        "block model of units and inputs together",
        "find",
        requires=("graph_tool",),
        options=(
            Option("n_inputs", 200, "Rows that are used, drawn at random; 0 for all.", minimum=0),
            Option("odds", 100.0, "How much more probable several ROIs must be than one.", minimum=1),
            Option("n_runs", 1, "Searches from different seeds; the shortest description is kept.", minimum=1),
        ),
    ),
    Entry(
        "random",
        "compgraph.rois.random",
        "units drawn at random, parts of equal sizes or of those of other ROIs",
        "find",
        options=(Option("like", "", "Entry of rois whose sizes they have, site by site; n_rois is left out then."),),
    ),
    Entry("heads", "compgraph.rois.heads", "the attention heads", "find", serves=TRANSFORMER),
    Entry(
        "labels",
        "compgraph.rois.labels",
        "labels of a table",
        "find",
        options=(Option("path", "", "Table (CSV or Parquet) with the columns site, unit and label."),),
    ),
)
