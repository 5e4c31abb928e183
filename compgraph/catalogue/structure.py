"""Communities, measures of graphs, and null models."""

from __future__ import annotations

from compgraph.catalogue.entries import Entry, Option, Table, table

RUNS = Option("n_runs", 10, "Searches from different seeds; the best is kept.", minimum=1)

RESOLUTION = Option("resolution", 1.0, "Above 1 finds smaller communities, below 1 larger ones.", minimum=0.0)

NEGATIVE = Option(
    "negative",
    "auto",
    "What a negative weight means: its ends belong apart (signed), or only its size counts (magnitude).",
    choices=("auto", "signed", "magnitude"),
)


def _communities(name: str, summary: str, *options: Option) -> Entry:
    return Entry(name, f"compgraph.communities.{name.replace('-', '_')}", summary, "find", options=options)


COMMUNITIES: Table = table(
    _communities(
        "louvain", "ordinary or signed modularity, by greedy moves on several levels", RUNS, RESOLUTION, NEGATIVE
    ),
    _communities(
        "leiden",
        "ordinary, signed or directed modularity, or the constant Potts model",
        RUNS,
        RESOLUTION,
        Option(
            "objective",
            "modularity",
            "What is maximised: modularity, or weights against one constant.",
            choices=("modularity", "constant-potts"),
        ),
        NEGATIVE,
        Option("library", "igraph", "Who searches.", choices=("igraph", "leidenalg")),
    ),
    _communities(
        "leiden-layered", "modularity against what the architecture allows, for directed graphs", RUNS, RESOLUTION
    ),
    _communities(
        "spectral",
        "eigenvectors: normalised cut, signed Laplacians, or modularity of directed graphs",
        Option("n_communities", 0, "How many; 0: by the largest gap between eigenvalues.", minimum=0),
    ),
    _communities("infomap", "groups in which a random walk stays long", RUNS),
    _communities("label-propagation", "labels that spread along the weights; for sparse graphs", RUNS),
    _communities(
        "walktrap",
        "nodes merged by where short random walks end",
        Option("steps", 4, "Length of the walks.", minimum=1),
    ),
    _communities("girvan-newman", "edges between communities removed one by one; for tiny graphs"),
    _communities(
        "core-periphery",
        "a core tied to all nodes, and a periphery tied to the core alone",
        Option(
            "rule",
            "borgatti-everett",
            "How the core is found: by correlation with the pattern, or by strength to stronger nodes.",
            choices=("borgatti-everett", "rich-core"),
        ),
    ),
)

STATISTICS: Table = table(
    *(
        Entry(name, f"compgraph.statistics.measures.{module}", summary, name)
        for module, measures in {
            "concentration": {
                "density": "pairs with weight, as a share of those that could have some",
                "gini": "inequality of the absolute weights over all pairs that could have an edge",
                "strength_gini": "inequality of the nodes' strengths",
                "strength_tail": "whether the larger strengths have a tail heavier than exponential",
            },
            "groups": {
                "modularity": "weight inside communities beyond what strengths and the architecture explain",
                "participation": "how evenly nodes spread over communities",
            },
            "mixing": {
                "assortativity": "correlation of strengths across edges (directed: out of the source, into the target)",
                "assortativity_out_out": "correlation of out-strengths across edges (directed graphs)",
                "assortativity_in_in": "correlation of in-strengths across edges (directed graphs)",
                "assortativity_in_out": "correlation of in-strength and out-strength across edges (directed graphs)",
                "level_assortativity": "correlation of levels across edges (layered graphs)",
                "span": "mean number of levels that an edge spans (layered graphs)",
                "span_spread": "standard deviation of the number of levels that an edge spans (layered graphs)",
                "trophic_incoherence": "share of the flow that does not go up one trophic level (directed graphs)",
            },
            "paths": {
                "log_paths": "number of paths from input to output, its logarithm to base 10 (layered graphs)",
                "effective_paths": "effective number of paths from input to output (layered graphs)",
                "efficiency": "mean inverse distance over the pairs that could have an edge",
            },
            "loops": {
                "feedforward_loops": "closed share of the two-paths that a third edge could close (directed graphs)",
                "loop_intensity": "mean weight of feed-forward loops (directed graphs)",
                "coherent_loops": "share of feed-forward loops whose routes have the same sign (directed graphs)",
                "clustering": "mean weighted clustering (undirected graphs)",
                "transitivity": "closed share of the triples of neighbours (undirected graphs)",
                "balance": "share of triangles whose signs are balanced (undirected graphs)",
                "small_worldness": "clustering times efficiency (undirected graphs)",
            },
            "core": {
                "rich_club": "weight among the strongest nodes, over the largest that as many edges could have",
                "core_share": "share of the nodes that are the rich core",
                "core_correlation": "correlation of the weights with those of an ideal core",
            },
            "spectrum": {
                "effective_rank": "number of singular values that carry the weights",
                "leading_share": "share of the largest singular value",
                "effective_resistance": "mean effective resistance between connected nodes",
            },
        }.items()
        for name, summary in measures.items()
    )
)

NULLS: Table = table(
    *(
        Entry(name, f"compgraph.statistics.nulls.{module}", summary, name.replace("-", "_"))
        for name, module, summary in (
            ("effects", "weights", "weights permuted beyond an effect of either end; keeps edges and typical weights"),
            ("strength", "weights", "weights permuted beyond what strengths explain; keeps edges and strengths"),
            ("weights", "weights", "weights permuted over the edges; keeps edges"),
            ("swap", "rewiring", "ends of edges exchanged; keeps degrees"),
            ("level-pair-swap", "rewiring", "ends exchanged within pairs of sites; keeps degrees and depth"),
            ("swap-effects", "rewiring", "ends exchanged, weights from effects of the new ends; keeps degrees"),
            ("stubs", "stubs", "halves of edges joined anew by level; keeps degrees"),
            ("maxent", "maxent", "every allowed pair drawn by itself; keeps degrees on average"),
            ("node-permutation", "relabelling", "nodes of a site relabelled; for associations only"),
            ("network", "network", "graphs of randomised networks; keeps the architecture"),
        )
    )
)
