"""Everything that can be named in a config file, and the module that holds it.

Adding a task, a method, a metric, a figure or a stage is one file and one entry here. The tables are plain data
so that the config, the Snakefile and ``compgraph --help`` can read them without importing the libraries behind them.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compgraph.errors import DataError

BOTH = ("transformer", "sequential")
TRANSFORMER = ("transformer",)
SEQUENTIAL = ("sequential",)


@dataclass(frozen=True)
class Option:
    """A setting that belongs to one method: a key of its config entry and a flag of its verb.

    Attributes
    ----------
    name : str
        Key in the config, keyword of the method's function; the flag is the same with dashes.
    default : int, float, str or bool
        Its value where the config is silent; its type is the option's type.
    help : str
        One sentence for the config's comments and the verb's help.
    minimum : float, optional
        Smallest valid number.
    choices : tuple of str
        The valid words, if the option is a word from a list.
    """

    name: str
    default: int | float | str | bool
    help: str
    minimum: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One registered thing.

    Attributes
    ----------
    name : str
        Its name in config files and on the command line.
    module : str
        The module that holds it.
    summary : str
        One line for help texts and reports.
    function : str
        The function of the module that does the work.
    serves : tuple of str
        The kinds of network it is defined for: ``"transformer"``, ``"sequential"``.
    needs_counterfactual : bool
        Whether it reads a corrupted input for every clean one.
    needs_answers : bool
        Whether it compares with the right answers.
    needs_reference : bool
        Whether it compares with the clean run of the whole model: it is flat there.
    differentiable : bool
        Whether it has a gradient.
    at_clean : bool
        Whether the gradient it uses is that of the clean run.
    clean_at_one : tuple of str
        Options that leave it no gradient but that of the clean run where they are 1.
    uses_gradient : bool
        Whether it differentiates the metric.
    metric : str
        For effective methods: the metric where none is named.
    cost : str
        For effective methods: the function of `COSTS` that estimates passes and memory.
    reads_metric : bool
        For effective methods: whether scores depend on the metric.
    averages_examples : bool
        For effective methods: whether scores are means over examples, so that they have bootstrap intervals.
    takes_baseline : bool
        For attributions: whether it compares with a baseline.
    recomputes : bool
        For effective methods: whether layers can be run again on the way back, to save memory.
    takes_reference : bool
        For baselines: whether means, covariances, samples or constants can come from other data.
    per_node : bool
        For baselines: whether it is made for the nodes of one partition.
    lower_is_better : bool
        For metrics: whether a smaller value means that the network does better (divergences, losses).
    requires : tuple of str
        Importable libraries that are not part of the plain installation.
    needs : tuple of str
        Settings of its section that it cannot do without, though other methods can.
    options : tuple of Option
        Its own settings, beyond those that all methods of the section share.
    arguments : tuple of str
        Further keywords of the library call, which a config has no word for.
    stage : str
        For figures: the section whose results it draws.
    method : str
        For figures: the only method of that section whose results it draws; empty for all.
    tables : tuple of str
        For figures of ``tests``: the result's tables that it draws, in the order of its arguments.
    settings : tuple of (str, str)
        For figures: further arguments.
    per : str
        For figures: one for each ``"result"``, for each ``"place"`` (all results of the stage at one model,
        checkpoint and dataset), or for each ``"model"`` (all checkpoints of one model and dataset).
    reads : tuple of str
        For figures: what it reads besides: the ``"graph"`` its result was made from, or the results of other
        sections for the same model and dataset.
    """

    name: str
    module: str
    summary: str
    function: str
    serves: tuple[str, ...] = BOTH
    needs_counterfactual: bool = False
    needs_answers: bool = False
    needs_reference: bool = False
    at_clean: bool = False
    clean_at_one: tuple[str, ...] = ()
    uses_gradient: bool = True
    metric: str = "logit_difference"
    cost: str = ""
    reads_metric: bool = True
    averages_examples: bool = True
    recomputes: bool = False
    takes_baseline: bool = True
    takes_reference: bool = False
    per_node: bool = False
    lower_is_better: bool = False
    differentiable: bool = True
    requires: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    arguments: tuple[str, ...] = ()
    stage: str = ""
    method: str = ""
    tables: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    per: str = "result"
    reads: tuple[str, ...] = ()


Table = dict[str, Entry]


def _table(*entries: Entry) -> Table:
    return {entry.name: entry for entry in entries}


def _task(name: str, summary: str) -> Entry:
    return Entry(name, f"compgraph.data.tasks.{name}", summary, "generate", serves=TRANSFORMER)


TASKS: Table = _table(
    _task("ioi", "indirect object identification: who received the thing"),
    _task("greater_than", "a year's end must be later than its beginning"),
    _task("agreement", "subject-verb agreement, with attractors between"),
    _task("induction", "repeat what followed the same token earlier"),
    _task("modular_addition", "a + b modulo a prime"),
    _task("gendered_pronoun", "the pronoun that fits a name"),
    _task("docstring", "the next argument name in a docstring"),
)

_ATTRIBUTIONS = "compgraph.attribution.methods"

ATTRIBUTIONS: Table = _table(
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

_KEEP = (
    Option("keep", 0, "Keep only so many of each target's edges, the strongest, and sums of the others.", minimum=0),
    Option("keep_overall", 0, "Keep (besides) the strongest edges of the whole, so many.", minimum=0),
)
_ROTATED = Option("rotated", 20, "Random rotations behind z and p where no formula gives them; 0: none.", minimum=0)

STRUCTURAL: Table = _table(
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
        options=(_ROTATED,),
    ),
    Entry(
        "path-norm",
        "compgraph.connectivity.structural.path_norm",
        "share of the squared path norm that passes through an edge, its root",
        "compute",
        serves=SEQUENTIAL,
        options=(_ROTATED,),
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
            *_KEEP,
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

FUNCTIONAL: Table = _table(
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

_STEPS = Option("steps", 5, "Points on the path.", minimum=1)
_GRAD_DROP = Option("grad_drop", False, "Mean absolute score over backward passes that skip a layer each.")

_SERIES = (
    Option("signal", "norm", "A node's number at a token position.", choices=("norm", "mean", "pc")),
    Option(
        "readout",
        "metric",
        "The number of logits: the metric, or the entropy of the output.",
        choices=("metric", "entropy"),
    ),
    Option("max_order", 2, "Most lags to choose from.", minimum=1),
    Option("criterion", "bic", "Chooses the number of lags.", choices=("bic", "aic", "max")),
    Option("intercept", "position", "Means removed: one a position, or one for all.", choices=("position", "constant")),
    Option("ridge", 0.0, "Penalty on coefficients of standardised signals; above 0, scores are held out.", minimum=0.0),
    Option("choose_ridge", False, "Choose the penalty by generalised cross-validation."),
    Option("fdr", 0.05, "False discovery rate of the column significant.", minimum=0.0),
)
"""Options of the methods that read time series."""

EFFECTIVE: Table = _table(
    Entry(
        "eap",
        "compgraph.connectivity.effective.eap",
        "edge attribution patching: change of the write times gradient at the read",
        "compute",
        cost="eap",
        recomputes=True,
        at_clean=True,
        options=(
            Option("qk_fix", False, "Score edges into queries and keys by the exact change of the pattern."),
            _GRAD_DROP,
            *_KEEP,
        ),
        arguments=("matrix",),
    ),
    Entry(
        "clean-corrupted",
        "compgraph.connectivity.effective.clean_corrupted",
        "as eap, with the gradient averaged over the clean and the baseline run",
        "compute",
        cost="clean_corrupted",
        recomputes=True,
        options=_KEEP,
        arguments=("matrix",),
    ),
    Entry(
        "eap-ig-inputs",
        "compgraph.connectivity.effective.eap_ig_inputs",
        "as eap, with gradients integrated along the input from baseline to clean",
        "compute",
        cost="eap_ig_inputs",
        recomputes=True,
        options=(_STEPS, _GRAD_DROP, *_KEEP),
        arguments=("matrix",),
    ),
    Entry(
        "eap-ig-activations",
        "compgraph.connectivity.effective.eap_ig_activations",
        "as eap, with gradients integrated along the write of each site in turn",
        "compute",
        cost="eap_ig_activations",
        recomputes=True,
        clean_at_one=("steps",),
        options=(_STEPS,),
    ),
    Entry(
        "information-flow-routes",
        "compgraph.connectivity.effective.information_flow_routes",
        "share of the stream that each source contributes, without metric or gradient",
        "compute",
        cost="information_flow_routes",
        reads_metric=False,
        takes_baseline=False,
        serves=TRANSFORMER,
        uses_gradient=False,
    ),
    Entry(
        "exact",
        "compgraph.connectivity.effective.exact",
        "change of the metric when the edge alone is ablated, by running it",
        "compute",
        cost="exact",
        uses_gradient=False,
    ),
    Entry(
        "acdc",
        "compgraph.connectivity.effective.acdc",
        "edges removed one after another, from the output back, while the output stays the same",
        "compute",
        cost="acdc",
        averages_examples=False,
        uses_gradient=False,
        metric="kl",
        options=(
            Option("tau", 0.01, "An edge goes if its removal makes the metric worse by less than this.", minimum=0.0),
            Option(
                "taus", "", "Several such thresholds, as '0.001,0.01', or 'autocircuit': scores are then thresholds."
            ),
            Option("absolute", False, "An edge stays if its removal changes the metric either way."),
        ),
    ),
    Entry(
        "edge-pruning",
        "compgraph.connectivity.effective.edge_pruning",
        "masks on all edges learned together, under a pressure to be sparse",
        "compute",
        cost="edge_pruning",
        averages_examples=False,
        metric="kl",
        options=(
            Option("steps", 300, "Optimisation steps.", minimum=1),
            Option("target", 0.94, "Share of the edges to remove; a little above 1 presses harder.", minimum=0.0),
            Option("learning_rate", 0.2, "Step size of the optimiser.", minimum=0.0),
            Option("examples", 32, "Examples drawn for a step.", minimum=1),
            Option("writer_masks", True, "One more mask for every node, on all it writes."),
            Option("start", 1.0, "Log-odds that masks start from."),
        ),
        arguments=("checkpoint", "report"),
    ),
    Entry(
        "eap-gp",
        "compgraph.connectivity.effective.eap_gp",
        "as eap, with gradients averaged along a path that follows the model's own gradient to the baseline's output",
        "compute",
        cost="eap_gp",
        recomputes=True,
        options=(
            _STEPS,
            Option("step_size", 1.0, "Length of a step, in units of the embedding.", minimum=0.0),
        ),
    ),
    Entry(
        "ceap",
        "compgraph.connectivity.effective.ceap",
        "conductance: gradients along the input's path, each times the piece of the path that the write takes there",
        "compute",
        cost="ceap",
        recomputes=True,
        options=(
            _STEPS,
            Option("resamples", 0, "Disjoint samples of the data to compare circuits between; 0 for none.", minimum=0),
        ),
    ),
    Entry(
        "relp",
        "compgraph.connectivity.effective.relp",
        "as eap, with the gradient replaced by rules of layer-wise relevance propagation",
        "compute",
        cost="relp",
        recomputes=True,
        serves=TRANSFORMER,
        at_clean=True,
        options=(Option("attention_rule", False, "Hold attention patterns constant too."),),
    ),
    Entry(
        "gradient-norm",
        "compgraph.connectivity.effective.gradient_norm",
        "norm of the change of the write times norm of the gradient at the read: an upper bound of eap",
        "compute",
        cost="gradient_norm",
        at_clean=True,
    ),
    Entry(
        "attention-rollout",
        "compgraph.connectivity.effective.attention_rollout",
        "change of the write at the positions that attention, rolled out from the output, looks at",
        "compute",
        cost="attention_rollout",
        reads_metric=False,
        serves=TRANSFORMER,
        uses_gradient=False,
    ),
    Entry(
        "node-ig",
        "compgraph.connectivity.effective.node_ig",
        "integrated gradients of each node, handed on to the edges that feed it, as in sparse feature circuits",
        "compute",
        cost="node_ig",
        clean_at_one=("steps", "edge_steps"),
        options=(
            Option("steps", 10, "Points on the path of a site's units.", minimum=1),
            Option("edge_steps", 1, "Points on the path of what a node reads; 1 is the clean run.", minimum=1),
            Option("node_threshold", 0.0, "Nodes with a smaller effect at a position get no edges there.", minimum=0.0),
        ),
    ),
    Entry(
        "granger",
        "compgraph.connectivity.effective.granger",
        "how much a node's past and present help to predict another over token positions, given all the others",
        "compute",
        cost="series",
        reads_metric=False,
        takes_baseline=False,
        serves=TRANSFORMER,
        averages_examples=False,
        uses_gradient=False,
        options=_SERIES,
    ),
    Entry(
        "transfer-entropy",
        "compgraph.connectivity.effective.transfer_entropy",
        "Gaussian transfer entropy over token positions, given all other nodes, in nats",
        "compute",
        cost="series",
        reads_metric=False,
        takes_baseline=False,
        serves=TRANSFORMER,
        averages_examples=False,
        uses_gradient=False,
        options=(
            *_SERIES,
            Option("permutations", 0, "Surrogates per node from exchanged examples; 0: analytic test.", minimum=0),
        ),
    ),
    Entry(
        "random",
        "compgraph.connectivity.effective.random_scores",
        "a random number for every edge: the null",
        "compute",
        cost="nothing",
        reads_metric=False,
        takes_baseline=False,
        averages_examples=False,
        uses_gradient=False,
        options=(Option("distribution", "normal", "Of the random numbers.", choices=("normal", "uniform")),),
    ),
)


_BY = Option(
    "by",
    "abs",
    "What strong means: large absolute, positive (signed) or negative scores.",
    choices=("abs", "signed", "negative"),
)
_SUPPORT = "Sign of a supporting edge: negative where the metric is high if the model does well, else signed."

SELECTIONS: Table = _table(
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

SPARSIFICATIONS: Table = _table(
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


def _metric(
    name: str, summary: str, *, reference: bool = False, differentiable: bool = True, lower: bool = False
) -> Entry:
    return Entry(
        name,
        "compgraph.metrics",
        summary,
        name,
        needs_answers=not reference,
        needs_reference=reference,
        differentiable=differentiable,
        lower_is_better=lower or reference,
    )


METRICS: Table = _table(
    _metric("logit_difference", "logit of the answers minus logit of the distractors"),
    _metric("probability", "probability of the answers"),
    _metric("probability_difference", "probability of the answers minus that of the distractors"),
    _metric("cross_entropy", "minus log probability of the answers", lower=True),
    _metric("kl", "Kullback-Leibler divergence from the whole model's output", reference=True),
    _metric("total_variation", "total variation distance from the whole model's output", reference=True),
    _metric("accuracy", "share of examples whose most probable output is an answer", differentiable=False),
    _metric("reciprocal_rank", "one over the rank of the best answer; its mean is the MRR", differentiable=False),
    _metric("margin", "logit of the answer minus the largest other logit; above 0 where the answer is right"),
)

BASELINES: Table = _table(
    Entry(
        "counterfactual",
        "compgraph.ablation.baselines",
        "the value on the corrupted input",
        "Counterfactual",
        needs_counterfactual=True,
    ),
    Entry("zero", "compgraph.ablation.baselines", "zero", "Zero"),
    Entry("mean", "compgraph.ablation.means", "mean over positions and examples", "Mean", takes_reference=True),
    Entry(
        "position-mean",
        "compgraph.ablation.means",
        "mean over examples at the same token position",
        "PositionMean",
        takes_reference=True,
    ),
    Entry(
        "resample",
        "compgraph.ablation.resample",
        "the value on another clean input, drawn at random",
        "Resample",
        takes_reference=True,
    ),
    Entry(
        "noise",
        "compgraph.ablation.noise",
        "Gaussian noise with the site's own mean and covariance",
        "Noise",
        takes_reference=True,
    ),
    Entry(
        "optimal",
        "compgraph.ablation.optimal",
        "a constant per node, learned so that ablating the node alone changes the output least",
        "Optimal",
        takes_reference=True,
        per_node=True,
        options=(
            Option("steps", 200, "Steps of Adam.", minimum=1),
            Option("examples", 16, "Examples of a step.", minimum=1),
            Option("learning_rate", 0.05, "Of the first step, in standard deviations of the node's units.", minimum=0),
            Option("metric", "kl", "Loss of an example; a metric of which more is better is maximised."),
        ),
    ),
)

_DICTIONARIES = "compgraph.dictionaries.fit"
_COMPONENTS = (Option("max_iter", 500, "Most iterations.", minimum=1),)

DICTIONARIES: Table = _table(
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


def _unit_graph(default: str) -> tuple[Option, ...]:
    """Options of the methods that read a graph of units."""
    return (
        Option(
            "graph",
            default,
            "Which graph of the units: nearest neighbours (knn), all pairs by correlation, covariance or partial "
            "correlation, significant correlations, or coactivation.",
            choices=("correlation", "covariance", "partial", "knn", "significant", "coactivation"),
        ),
        Option("neighbours", 0, "knn: neighbours of a unit; 0 for about the root of their number.", minimum=0),
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

ROIS: Table = _table(
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
                "How weights are distributed; auto: not modelled (none) where all are 1, else real-normal.",
                choices=("auto", "real-normal", "real-exponential", "none"),
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


COMMUNITIES: Table = _table(
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


def _test(name: str, summary: str, needs: tuple[str, ...] = ()) -> Entry:
    return Entry(name, f"compgraph.evaluation.trials.{name.replace('-', '_')}", summary, "run", needs=needs)


TESTS: Table = _table(
    _test("circuit-tests", "equivalence, independence, minimality, sufficiency and partial necessity of a circuit"),
    _test("minimality", "what a circuit keeps against random ones, and which of its edges or nodes it needs"),
    _test("knock-out", "what circuits do alone, what the network does without them, and what both can do"),
    _test("stability", "agreement of circuits made from disjoint samples of the examples"),
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
)
"""What circuits, blocks and regions are put to: `run(given, **settings) -> Outcome`."""

FAMILIES: Table = _table(
    *(
        Entry(name, "compgraph.models.families", summary, name, serves=TRANSFORMER)
        for name, summary in {
            "gpt2": "GPT-2",
            "gpt_neox": "GPT-NeoX and Pythia",
            "llama": "Llama",
            "mistral": "Mistral",
            "qwen2": "Qwen 2",
            "qwen3": "Qwen 3",
            "gemma2": "Gemma 2",
        }.items()
    )
)

STATISTICS: Table = _table(
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

NULLS: Table = _table(
    *(
        Entry(name, f"compgraph.statistics.nulls.{module}", summary, name.replace("-", "_"))
        for name, module, summary in (
            ("effects", "weights", "weights permuted beyond an effect of either end; keeps edges and typical weights"),
            ("strength", "weights", "weights permuted beyond what strengths explain; keeps edges and strengths"),
            ("weights", "weights", "weights permuted over the edges; keeps edges"),
            ("swap", "rewiring", "ends of edges exchanged; keeps degrees"),
            ("level-pair-swap", "rewiring", "ends exchanged within pairs of sites; keeps degrees and depth"),
            ("stubs", "stubs", "halves of edges joined anew by level; keeps degrees"),
            ("maxent", "maxent", "every allowed pair drawn by itself; keeps degrees on average"),
            ("node-permutation", "relabelling", "nodes of a site relabelled; for associations only"),
            ("network", "network", "graphs of randomised networks; keeps the architecture"),
        )
    )
)


def _figure(name: str, stage: str, summary: str, per: str = "result", reads: tuple[str, ...] = ()) -> Entry:
    return Entry(name, f"compgraph.figures.{name}", summary, "draw", stage=stage, per=per, reads=reads)


def _against(axis: str, summary: str) -> Entry:
    name, settings = f"faithfulness-{axis.split('_')[-1]}", (("axis", axis),)
    module = "compgraph.figures.faithfulness"
    return Entry(name, module, summary, "draw", stage="evaluation", per="place", settings=settings)


def _figure_of_test(method: str, summary: str, *tables: str) -> Entry:
    module = f"compgraph.figures.{method.replace('-', '_')}"
    return Entry(method, module, summary, "draw", stage="tests", method=method, tables=tables)


FIGURES: Table = _table(
    _figure("structural", "structural", "structural connectivity between the nodes"),
    _figure("functional", "functional", "functional connectivity between the nodes"),
    _figure("dictionaries", "dictionaries", "how often features are active, and how training went"),
    _figure("effective", "effective", "the strongest effective edges, drawn by level"),
    _figure("faithfulness", "evaluation", "faithfulness against the share of edges kept", per="place"),
    _against("n_nodes", "faithfulness against the number of nodes that the circuit has"),
    _against("mean_degree", "faithfulness against the circuit's mean degree"),
    _figure("blocks", "sbm", "the weight matrix sorted by block", reads=("graph",)),
    Entry(
        "three-connectivities",
        "compgraph.figures.three_connectivities",
        "kinds of connectivity against each other, with what chance gives",
        "draw",
        stage="comparison",
        reads=("graphs",),
    ),
    _figure_of_test("circuit-tests", "the five tests of a circuit, with their p-values", "tests"),
    _figure_of_test("minimality", "the loss without each edge of a circuit, against chance", "edges", "circuit"),
    _figure_of_test("knock-out", "circuits alone, and the network without them", "circuits"),
    _figure_of_test("stability", "agreement of circuits from disjoint samples", "circuits"),
    _figure_of_test("separability", "attribution of each block by task", "shares", "blocks", "index"),
    _figure_of_test("block-ablation", "tasks by tasks: blocks removed, and alone kept", "tasks"),
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
        "overlap of regions with heads, and faithfulness of circuits over each",
        "draw",
        stage="evaluation",
        per="place",
        reads=("rois",),
    ),
    _figure("emergence", "statistics", "what changes during training", per="model", reads=("evaluation", "sbm")),
)


def _stage(name: str, module: str, summary: str, requires: tuple[str, ...] = ()) -> Entry:
    return Entry(name, f"compgraph.cli.{module}", summary, "command", requires=requires)


STAGES: Table = _table(
    _stage("train", "train", "Train a model from its recipe and save its checkpoints."),
    _stage("import-model", "import_model", "Register a pretrained model: a folder or a hub name."),
    _stage("data", "data", "Make a dataset: prompts, text windows or images, for one model."),
    _stage("activations", "activations", "Record activations into one buffer."),
    _stage("attributions", "attributions", "Record attributions of a metric into one buffer."),
    _stage("dictionaries", "dictionaries", "Train or load dictionaries: features of sites."),
    _stage("structural", "structural", "Structural graph: from the weights alone."),
    _stage("functional", "functional", "Functional graph: co-variation of recorded activations."),
    _stage("effective", "effective", "Effective graph: causal influence between parts."),
    _stage("rois", "rois", "Regions of interest: groups of similar units."),
    _stage("ablation", "ablation", "Run the network as a graph with fewer and fewer edges or nodes."),
    _stage("evaluation", "evaluation", "Table of how faithful these runs are."),
    _stage("communities", "communities", "Communities of a graph."),
    _stage("sbm", "sbm", "Stochastic block model of a graph.", requires=("graph_tool",)),
    _stage("tests", "tests", "Test a circuit, blocks or regions against chance."),
    _stage("statistics", "statistics", "Network statistics of a graph."),
    _stage("comparison", "comparison", "Every two of some graphs, edge by edge."),
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


def missing(entry: Entry) -> list[str]:
    """Libraries that an entry needs and that are not installed; nothing is imported to find out."""
    return [library for library in entry.requires if importlib.util.find_spec(library) is None]


def load(entry: Entry) -> Callable[..., Any]:
    """Import an entry's module and return its function.

    Parameters
    ----------
    entry : Entry
        From one of the tables above.

    Returns
    -------
    callable
        ``entry.function`` of ``entry.module``.
    """
    function: Callable[..., Any] = getattr(importlib.import_module(entry.module), entry.function)
    return function


COSTS = "compgraph.connectivity.effective.costs"
"""The module of the functions that `Entry.cost` names."""


def only_clean(entry: Entry, options: Mapping[str, Any]) -> str:
    """The option, `steps: 1`, that leaves a method no gradient but that of the clean run; empty if none does."""
    values = {option.name: option.default for option in entry.options} | dict(options)
    return next((f"{name}: 1" for name in entry.clean_at_one if values[name] == 1), "")


def settings_of(entry: Entry, given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """All options of an entry, those that are not given at their defaults.

    Parameters
    ----------
    what : str
        What the entry is, for messages.

    Raises
    ------
    DataError
        An option that it does not have, a number below the smallest valid one, a value of another type.
    """
    known = {option.name: option for option in entry.options}
    for name, value in given.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise DataError(f"{what} {entry.name!r} has no option {name!r}; its options: {listed}")
        option = known[name]
        kinds = (int, float) if isinstance(option.default, float) else (type(option.default),)
        if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(option.default, bool):
            raise DataError(
                f"{what} {entry.name!r}: {name} is {value!r}; it must be of type {kinds[-1].__name__}, such as "
                f"{option.default!r}"
            )
        if option.minimum is not None and float(value) < option.minimum:
            raise DataError(f"{what} {entry.name!r}: {name} is {value}; it must be at least {option.minimum}")
    return {name: given.get(name, option.default) for name, option in known.items()}


def load_cost(entry: Entry) -> Callable[..., Any]:
    """Import the function that estimates what an effective method costs."""
    function: Callable[..., Any] = getattr(importlib.import_module(COSTS), entry.cost)
    return function
