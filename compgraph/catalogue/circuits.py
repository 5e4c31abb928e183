"""How circuits are selected, graphs made sparser, and both tested."""

from __future__ import annotations

from compgraph.catalogue.entries import Entry, Option, Table, table

_BY = Option(
    "by",
    "abs",
    "What strong means: large absolute, positive (signed) or negative scores.",
    choices=("abs", "signed", "negative"),
)

_SUPPORT = "Sign of a supporting edge: negative where the metric is high if the model does well, else signed."

SELECTIONS: Table = table(
    Entry("top", "compgraph.circuits.strongest", "the n strongest edges", "top", options=(_BY,)),
    Entry(
        "threshold",
        "compgraph.circuits.strongest",
        "every edge at least as strong as a threshold",
        "threshold",
        options=(Option("at", 0.0, "Least strength of a kept edge."), _BY),
    ),
    Entry(
        "greedy",
        "compgraph.circuits.greedy",
        "grown from the output, always the strongest edge into what is reached",
        "greedy",
        options=(_BY,),
    ),
    Entry(
        "ratio",
        "compgraph.circuits.strongest",
        "a share of the strongest supporting edges, the rest by absolute score",
        "ratio",
        options=(
            Option("share", 0.7, "Share of edges chosen by signed score.", minimum=0.0),
            Option("by", "negative", _SUPPORT, choices=("negative", "signed")),
        ),
    ),
    Entry(
        "stable-sign",
        "compgraph.circuits.stable",
        "the strongest of the edges whose sign is certain, then of the others",
        "stable_sign",
        options=(
            Option("level", 0.95, "Coverage of the interval that must not contain 0.", minimum=0.0),
            Option("fill", True, "Fill up with uncertain edges where fewer are certain."),
        ),
    ),
    Entry(
        "ilp",
        "compgraph.circuits.programme",
        "the connected circuit of the largest total strength, by integer programming",
        "ilp",
        options=(
            _BY,
            Option("share", 0.0, "Least share of supporting edges; 0 asks for none.", minimum=0.0),
            Option("support", "negative", _SUPPORT, choices=("negative", "signed")),
            Option("time_limit", 60.0, "Seconds for the solver; the gap that is left is reported.", minimum=0.0),
        ),
    ),
)
"""From a scored graph to a circuit; see `compgraph.select_circuit`."""

_SPARSIFY = "compgraph.circuits.sparsify"

_LEVEL = Option("level", 0.05, "Largest p of a kept edge.", minimum=0.0)

SPARSIFICATIONS: Table = table(
    Entry("significance", _SPARSIFY, "edges with a small adjusted p-value", "significance", options=(_LEVEL,)),
    Entry(
        "top-share",
        _SPARSIFY,
        "a share of the edges, the strongest",
        "top_share",
        options=(Option("share", 0.1, "Share of the edges to keep.", minimum=0.0),),
    ),
    Entry(
        "nearest",
        _SPARSIFY,
        "each node's strongest edges",
        "nearest",
        options=(
            Option("k", 10, "Edges of a node.", minimum=1),
            Option("mutual", False, "Only edges among the strongest of both ends."),
        ),
    ),
    Entry(
        "disparity",
        _SPARSIFY,
        "edges that carry more of a node's strength than chance would give one",
        "disparity",
        options=(_LEVEL,),
    ),
    Entry(
        "spanning-trees",
        _SPARSIFY,
        "maximum spanning trees, and the strongest of the other edges",
        "spanning_trees",
        options=(
            Option("trees", 1, "Spanning trees without common edges.", minimum=1),
            Option("share", 0.0, "Share of the edges to add, the strongest.", minimum=0.0),
        ),
    ),
)
"""From any graph to a sparser one; see `compgraph.sparsify`."""


def _test(name: str, summary: str, needs: tuple[str, ...] = ()) -> Entry:
    return Entry(name, f"compgraph.evaluation.trials.{name.replace('-', '_')}", summary, "run", needs=needs)


TESTS: Table = table(
    _test("circuit-tests", "equivalence, independence, minimality, sufficiency and partial necessity of a circuit"),
    _test("minimality", "what a circuit keeps against random ones, and which of its edges or nodes it needs"),
    _test("knock-out", "what circuits do alone, what the network does without them, and what both can do"),
    _test("stability", "agreement of circuits made from disjoint samples of the examples"),
    _test("reproducibility", "agreement with graphs from other seeds or wordings, against random circuits"),
    _test("against-random", "faithful circuits and concentrated attribution, against random nodes of equal sizes"),
    _test("separability", "share of each block's attribution by task, against shuffled tasks", needs=("buffer",)),
    _test(
        "block-ablation",
        "every task without the blocks of one task, or with them alone, against random nodes",
        needs=("buffer",),
    ),
    _test(
        "class-ablation",
        "accuracy with a growing share of regions removed or kept, against random partitions",
        needs=("buffer", "partitions"),
    ),
    _test(
        "region-ablation",
        "every class without the regions of one, or with them alone, for several divisions",
        needs=("buffer", "partitions"),
    ),
)
"""What circuits, blocks and regions are put to: `run(given, **settings) -> Outcome`."""
