"""Attributions, and structural and functional connectivity."""

from __future__ import annotations

from compgraph.catalogue.entries import KEEP, SEQUENTIAL, TRANSFORMER, Entry, Option, Table, table

_ATTRIBUTIONS = "compgraph.attribution.methods"

ATTRIBUTIONS: Table = table(
    Entry(
        "attribution-patching",
        _ATTRIBUTIONS,
        "change of a unit from clean to baseline times the metric's gradient there",
        "attribution_patching",
        at_clean=True,
    ),
    Entry(
        "activation-x-gradient",
        _ATTRIBUTIONS,
        "a unit's activation times the metric's gradient there",
        "activation_x_gradient",
        at_clean=True,
        takes_baseline=False,
    ),
    Entry(
        "integrated-gradients",
        _ATTRIBUTIONS,
        "change of a unit times the gradient averaged between clean and baseline, one site at a time",
        "integrated_gradients",
        clean_at_one=("steps",),
        options=(Option("steps", 10, "Points on the path.", minimum=1),),
    ),
)

_ROTATED = Option("rotated", 20, "Random rotations behind z and p where no formula gives them; 0: none.", minimum=0)
_PERMUTED = Option(
    "permuted",
    0,
    "Permutations of each layer's weights, which then are the null behind z and p; 0: rotations.",
    minimum=0,
)

STRUCTURAL: Table = table(
    Entry(
        "composition",
        "compgraph.connectivity.structural.composition",
        "norm of the product of what one part writes and the other reads, over the product of norms",
        "compute",
        serves=TRANSFORMER,
        options=(
            Option(
                "norm",
                "frobenius",
                "Of all singular values (frobenius), the largest (spectral); or the cosine of first directions (top).",
                choices=("frobenius", "spectral", "top"),
            ),
            _ROTATED,
        ),
    ),
    Entry(
        "weight-norm",
        "compgraph.connectivity.structural.weight_norm",
        "norm of the weights between two parts of neighbouring layers",
        "compute",
        serves=SEQUENTIAL,
        options=(_ROTATED, _PERMUTED),
    ),
    Entry(
        "path-norm",
        "compgraph.connectivity.structural.path_norm",
        "share of the squared path norm that passes through an edge, its root",
        "compute",
        serves=SEQUENTIAL,
        options=(_ROTATED, _PERMUTED),
    ),
    Entry(
        "subspace",
        "compgraph.connectivity.structural.subspace",
        "how much the other part reads of the singular direction it reads best",
        "compute",
        serves=TRANSFORMER,
        options=(Option("components", 3, "Directions to name for each edge.", minimum=1),),
    ),
    Entry(
        "input-output",
        "compgraph.connectivity.structural.input_output",
        "what a unit writes times what another reads, or their cosine",
        "compute",
        serves=TRANSFORMER,
        options=(
            Option("score", "cosine", "The product, or the cosine.", choices=("cosine", "product")),
            Option(
                "via",
                "in",
                "What a neuron of a gated MLP reads: the projection that is multiplied (in), or the gate.",
                choices=("in", "gate"),
            ),
            *KEEP,
        ),
        arguments=("matrix",),
    ),
    Entry(
        "virtual-circuits",
        "compgraph.connectivity.structural.virtual_circuits",
        "token-to-token maps of heads: copying, matching, attention by position",
        "compute",
        serves=TRANSFORMER,
        options=(
            Option("positions", 64, "Length of the sequence for attention by position.", minimum=2),
            _ROTATED,
        ),
    ),
)

_FUNCTIONAL = "compgraph.connectivity.functional"

FUNCTIONAL: Table = table(
    Entry(
        "pearson",
        f"{_FUNCTIONAL}.pearson",
        "correlation over the data, streamed in one pass",
        "compute",
        options=(Option("keep", 0, "Keep only so many of each node's edges, in blocks; 0 for all pairs.", minimum=0),),
        arguments=("matrix",),
    ),
    Entry("covariance", f"{_FUNCTIONAL}.covariance", "covariance, in the units of what was recorded", "compute"),
    Entry("spearman", f"{_FUNCTIONAL}.spearman", "correlation of ranks, which heavy tails cannot dominate", "compute"),
    Entry(
        "partial",
        f"{_FUNCTIONAL}.partial",
        "correlation of two nodes given all the others, from a regularised precision matrix",
        "compute",
        options=(
            Option(
                "estimator",
                "ledoit-wolf",
                "How the precision is regularised.",
                choices=("ledoit-wolf", "oas", "empirical", "graphical-lasso"),
            ),
            Option("penalty", 0.0, "Of the graphical lasso; 0 chooses it along a path.", minimum=0.0),
        ),
    ),
    Entry(
        "mutual-information",
        f"{_FUNCTIONAL}.mutual_information",
        "mutual information in nats",
        "compute",
        options=(
            Option(
                "estimator",
                "gaussian-copula",
                "Estimator; nearest neighbours are for small sets.",
                choices=("gaussian-copula", "nearest-neighbour"),
            ),
            Option("neighbours", 3, "Of a sample, for nearest-neighbour.", minimum=1),
            Option("seed", 0, "Seed of the noise that parts equal values, for nearest-neighbour.", minimum=0),
        ),
    ),
    Entry(
        "lagged",
        f"{_FUNCTIONAL}.lagged",
        "strongest correlation over distances along the text",
        "compute",
        serves=TRANSFORMER,
        options=(Option("lags", 4, "Largest distance in positions.", minimum=1),),
    ),
    Entry(
        "dynamic",
        f"{_FUNCTIONAL}.dynamic",
        "how much the correlation changes from window to window along the text",
        "compute",
        serves=TRANSFORMER,
        options=(
            Option("window", 16, "Positions of a window.", minimum=1),
            Option("step", 0, "Positions from one window to the next; 0 for no overlap.", minimum=0),
        ),
    ),
    Entry(
        "contrast",
        f"{_FUNCTIONAL}.contrast",
        "correlations less those over another dataset, with a permutation test",
        "compute",
        needs=("against",),
        options=(
            Option("n_permutations", 999, "Random divisions of the items behind p.", minimum=1),
            Option("seed", 0, "Seed of the divisions.", minimum=0),
        ),
        arguments=("against",),
    ),
    Entry(
        "coherence",
        f"{_FUNCTIONAL}.coherence",
        "shared rhythms along the text, whatever their phases",
        "compute",
        serves=TRANSFORMER,
        options=(
            Option("window", 16, "Positions of a window.", minimum=4),
            Option("low", 0.0, "Frequencies above this, in cycles per position.", minimum=0.0),
            Option("high", 0.5, "Frequencies up to this.", minimum=0.0),
        ),
    ),
    Entry(
        "cka",
        f"{_FUNCTIONAL}.cka",
        "linear centred kernel alignment of nodes of many units",
        "compute",
        options=(Option("debiased", True, "Use the unbiased estimate."),),
    ),
    Entry(
        "cca",
        f"{_FUNCTIONAL}.cca",
        "mean squared canonical correlation of nodes of many units",
        "compute",
        options=(Option("debiased", True, "Take off what independent nodes would have."),),
    ),
    Entry(
        "rsa",
        f"{_FUNCTIONAL}.rsa",
        "rank correlation of the distances that two nodes put between items",
        "compute",
        options=(
            Option("conditions", "item", "Column of the item table whose values are compared."),
            Option("most", 500, "Conditions to use at most.", minimum=4),
            Option("distance", "euclidean", "Between patterns.", choices=("euclidean", "correlation")),
            Option("permutations", 0, "Relabellings of the conditions behind p-values; 0 for none.", minimum=0),
            Option("seed", 0, "Seed of the draws.", minimum=0),
        ),
    ),
    Entry(
        "coactivation",
        f"{_FUNCTIONAL}.coactivation",
        "which sparse features are active together",
        "compute",
        options=(
            Option("measure", "phi", "Weight of an edge.", choices=("phi", "pmi", "lift")),
            Option("active_above", 0.0, "A node is active where one of its units exceeds this."),
            Option("min_count", 1, "Fewest joint rows of an edge.", minimum=1),
        ),
    ),
)
