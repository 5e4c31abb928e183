"""What a method costs, before it starts: passes through the network, and memory beyond the model's.

One function a method, named by its entry in the catalogue (`catalogue.Entry.cost`): the setting and the method's own
options in, a `Cost` out. Passes are exact where a method's course is known beforehand; that of `acdc` shows on the way.
Memory is rough: what the batch that the method will choose holds at its peak, and what every edge of the graph takes.
What was really made is counted (`compgraph.models.counting`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compgraph.connectivity.effective import edge_pruning as pruning
from compgraph.connectivity.effective import exact as interventions
from compgraph.connectivity.effective import information_flow_routes as routes
from compgraph.connectivity.effective import large, scratch, time_series
from compgraph.connectivity.effective.acdc import MEMORY_FOR_STATES, thresholds_of
from compgraph.connectivity.effective.acdc import MEMORY_PER_STEP as MEMORY_OF_TRIALS
from compgraph.connectivity.effective.acdc_graphs import needs_graphs
from compgraph.connectivity.effective.attribution import MEMORY_PER_BATCH, scorer_of
from compgraph.connectivity.effective.cost import Cost, Question
from compgraph.connectivity.effective.grad_drop import example_by_example
from compgraph.connectivity.effective.gradient_norm import scorer_of_norms
from compgraph.connectivity.effective.left_out import CIRCUITS, needs_whole_runs
from compgraph.connectivity.effective.node_ig import scorer_of_nodes
from compgraph.connectivity.effective.passes import Scorer
from compgraph.connectivity.effective.qk_fix import MEMORY_PER_STEP as MEMORY_OF_PATTERNS
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.stream_sources import BLOCK_BYTES
from compgraph.models.transformer import Transformer
from compgraph.patterns import SUFFIX, with_patterns


def _gradients(
    setting: Setting, forward: float, backward: float, scorer: Scorer | None = None, *, extra: int = 0
) -> Cost:
    """A method that averages scores over gradient passes (`attribution.attribute`): passes beside the baseline's."""
    ask = Question(setting)
    scorer = scorer or scorer_of(setting.net, setting.partition, setting.split_qkv, setting.recompute)
    each = scorer.bytes_per_example(setting.pairs)
    size = ask.batch(MEMORY_PER_BATCH // each)
    if setting.recompute:  # what a pass keeps is in the scorer's own account
        memory = size * (each + ask.logits) + BLOCK_BYTES + ask.graph + extra
        return Cost(ask.baseline + ask.reference + forward + backward, backward, memory, size)
    memory = size * (each + ask.gradient_pass) + ask.graph + extra
    return Cost(ask.baseline + ask.reference + forward, backward, memory, size)


def _dropping(setting: Setting, net: Transformer, forward: float, passes: float, *, extra: int = 0) -> Cost:
    """With `grad_drop`: a backward pass a layer for each of so many passes."""
    one = example_by_example(setting, scorer_of(net, setting.partition, setting.split_qkv))
    return _gradients(one, forward, passes * net.spec.n_layers, extra=extra + Question(setting).layers_of_scores)


def _strongest(setting: Setting, forward: float, backward: float) -> Cost:
    """A method that keeps the strongest edges only (`large`)."""
    ask = Question(setting)
    each = large.unit_scorer_of(setting).bytes_per_example(setting.pairs)
    size = ask.batch(MEMORY_PER_BATCH // each)
    rows = min(scratch.ROW_MEMORY, int(max(1.0, backward)) * ask.n * each // 2)
    memory = size * (each + ask.gradient_pass) + rows + 3 * large.MEMORY
    return Cost(ask.baseline + ask.reference + forward, backward, memory, size)


def eap(
    setting: Setting,
    *,
    qk_fix: bool = False,
    grad_drop: bool = False,
    keep: int = 0,
    keep_overall: int = 0,
    matrix: Any = None,
) -> Cost:
    """A forward and a backward pass; with `grad_drop` a backward pass a layer."""
    if keep or keep_overall or matrix:
        return _strongest(setting, 1, 1)
    extra = MEMORY_OF_PATTERNS if qk_fix else 0
    if grad_drop and isinstance(setting.net, Transformer):
        return _dropping(setting, setting.net, 1, 1, extra=extra)
    return _gradients(setting, 1, 1, extra=extra)


def clean_corrupted(setting: Setting, *, keep: int = 0, keep_overall: int = 0, matrix: Any = None) -> Cost:
    """Two forward and backward passes."""
    return (_strongest if keep or keep_overall or matrix else _gradients)(setting, 2, 2)


def eap_ig_inputs(
    setting: Setting,
    *,
    steps: int = 5,
    grad_drop: bool = False,
    keep: int = 0,
    keep_overall: int = 0,
    matrix: Any = None,
) -> Cost:
    """A forward and a backward pass a step, and the clean run."""
    if keep or keep_overall or matrix:
        return _strongest(setting, 1 + steps, steps)
    if grad_drop and isinstance(setting.net, Transformer):
        return _dropping(setting, setting.net, 1 + steps, steps)
    return _gradients(setting, 1 + steps, steps)


def eap_ig_activations(setting: Setting, *, steps: int = 5) -> Cost:
    """The clean run, and `steps` - 1 more for every site that writes."""
    sites = len(setting.net.architecture.node_sites) - 1
    runs = 1 + sites * (steps - 1)
    return _gradients(setting, runs, runs)


def eap_gp(setting: Setting, *, steps: int = 5, step_size: float = 1.0) -> Cost:
    """Two forward and backward passes a step; the clean run, and the output to be reached."""
    cost = _gradients(setting, 2 * steps + 2, 2 * steps)
    return replace(cost, forward=cost.forward - steps) if setting.recompute else cost  # the path is not recomputed


def ceap(setting: Setting, *, steps: int = 5, resamples: int = 0) -> Cost:
    """A forward and a backward pass a step, and the clean run."""
    return _gradients(setting, 1 + steps, steps, extra=16 * resamples * Question(setting).n_edges)


def relp(setting: Setting, *, attention_rule: bool = False) -> Cost:
    """As `eap`."""
    return _gradients(setting, 1, 1)


def gradient_norm(setting: Setting) -> Cost:
    """As `eap`."""
    scorer = scorer_of_norms(setting.net, setting.partition, setting.split_qkv)
    return _gradients(setting, 1, 1, scorer, extra=2 * BLOCK_BYTES)


def node_ig(setting: Setting, *, steps: int = 10, edge_steps: int = 1, node_threshold: float = 0.0) -> Cost:
    """Gradients from every source site on, at every point of its path."""
    scorer = scorer_of_nodes(setting, steps, edge_steps, node_threshold)
    shares = Question(setting).shares
    if not isinstance(setting.net, Transformer):
        behind = steps * sum(shares.values())
        return _gradients(setting, 1 + behind, behind, scorer)
    sources = [name.removesuffix(SUFFIX) for name in scorer.sources]
    behind = (steps - 1) * sum(shares[name] for name in sources)
    return _gradients(setting, 2 + behind, 1 + behind, scorer)


def exact(setting: Setting) -> Cost:
    """For every edge the part of a pass behind its target, on the clean run and the baseline's."""
    ask = Question(setting)
    if needs_whole_runs(setting):
        runs = -(-ask.n_edges // CIRCUITS)
        forward = ask.n_edges + runs * (1 + ask.baseline + ask.reference)
        memory = ask.graph + min(ask.n * ask.streams_of_sources * 4, MEMORY_PER_BATCH) + CIRCUITS * ask.n_edges
        return Cost(forward, 0, memory, ask.batch(ask.n))
    size = ask.batch(interventions.examples_per_batch(setting))
    memory = ask.graph + interventions.MEMORY_PER_STEP + size * ask.streams_of_sources
    if not isinstance(setting.net, Transformer):
        return Cost(1 + ask.baseline + ask.n_edges, 0, memory, size)
    return Cost(3 + ask.baseline + ask.runs_behind_targets, 0, memory, size)


def acdc(setting: Setting, *, tau: float = 0.01, taus: Any = "", absolute: bool = False) -> Cost:
    """A trial an edge and threshold, from its target on or, with dictionaries and parts finer than heads, whole: fewer
    where nodes die, more where guesses are wrong."""
    ask = Question(setting)
    each = ask.streams_of_sources + ask.forward_pass
    each_time = ask.n_edges if needs_graphs(setting.net, setting.partition) else ask.runs_from_targets
    trials = len(thresholds_of(taus) if len(taus) else (tau,)) * each_time
    at_once = min(MEMORY_OF_TRIALS, ask.n * setting.partition.n_nodes * each)
    memory = ask.graph + at_once + min(MEMORY_FOR_STATES, ask.n * each)
    return Cost(ask.baseline + ask.reference + trials, 0, memory, ask.batch(ask.n), rough=True)


def edge_pruning(setting: Setting, *, steps: int = 300, examples: int = 32, **_: Any) -> Cost:
    """A step: baseline, clean run where the metric compares with it, a masked forward and backward pass."""
    ask = Question(setting)
    share = steps * min(examples, ask.n) / ask.n
    each = pruning.runner_of(setting.net, setting.partition).bytes_per_example(ask.time)
    size = min(ask.batch(pruning.MEMORY_PER_PASS // each), examples)
    memory = ask.graph + size * (each + ask.gradient_pass)
    return Cost(share * (ask.baseline + ask.reference + 1), share, memory, size)


def information_flow_routes(setting: Setting) -> Cost:
    """The clean run, and a walk over its sites."""
    ask, scorer = Question(setting), routes.scorer_of_shares(setting)
    size = ask.batch(routes.examples_per_batch(scorer, setting.pairs))
    each = routes.bytes_per_example(scorer, setting.pairs) + ask.forward_pass
    return Cost(2, 0, ask.graph + size * each + BLOCK_BYTES, size)


def attention_rollout(setting: Setting) -> Cost:
    """The clean run and the baseline's."""
    ask = Question(setting)
    each = scorer_of_norms(setting.net, setting.partition, setting.split_qkv).bytes_per_example(setting.pairs)
    size = ask.batch(MEMORY_PER_BATCH // (each + 1))
    return Cost(1 + ask.baseline, 0, ask.graph + size * (each + ask.forward_pass) + BLOCK_BYTES, size)


def series(setting: Setting, *, signal: str = "norm", max_order: int = 2, permutations: int = 0, **_: Any) -> Cost:
    """The clean run; once more for principal components, and for surrogates."""
    ask = Question(setting)
    lagged = (max_order + 1) * with_patterns(setting.net, setting.partition)[1].n_nodes
    memory = min(time_series.MEMORY_PER_BATCH, ask.n * ask.forward_pass) + 6 * 8 * lagged**2 + ask.graph
    memory += time_series.MEMORY_FOR_COMPONENTS if signal == "pc" else 0
    return Cost(1 + (signal == "pc") + (permutations > 0), 0, memory, ask.batch(ask.n))


def nothing(setting: Setting, **_: Any) -> Cost:
    """No pass at all."""
    ask = Question(setting)
    return Cost(0, 0, ask.graph, ask.n)
