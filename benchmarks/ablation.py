"""Cost of running a network as a circuit, in plain forward passes of `transformers`.

    python -m benchmarks.ablation [--repeats 9] [--only heads neurons features memory] [--processor]

One thread; the plain pass (default attention, logits at all positions) runs in turn with the circuits, on the same
tokens. Edges are ranked by `eap`. Where all edges are kept, all nodes of a site read the same stream; `99 %` is what
it costs when none do. `alone` leaves out the baseline run, which is made once per batch for all circuits; `in all` is a
call of `run_masks` as a user makes it; `zero` the same under that baseline, which needs no run. Neuron-level circuits
are 1 % of all edges, drawn at random.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

from benchmarks.measuring import GPT2, SHAPES, SMALL, Subject, peak_bytes, ratios, seconds, subject
from compgraph.ablation.baselines import make_baseline
from compgraph.ablation.circuits import CircuitMasks, masks_for
from compgraph.ablation.run import run_masks
from compgraph.ablation.sweeps import prepared_runs
from compgraph.connectivity.effective import effective_connectivity
from compgraph.dictionaries import attach, sparse_autoencoder
from compgraph.graph import ComputationalGraph
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""MIB's grid of kept shares of edges."""
GOALS = {
    "all edges": {GPT2: 1.1, SMALL: 2.5},
    "99 % of the edges": {GPT2: 1.1, SMALL: 2.5},
    "best 5 %, pruned": {GPT2: 0.8, SMALL: 1.5},
    "best 1 %, pruned": {GPT2: 0.4, SMALL: 0.7},
    "ten-point curve": {GPT2: 6.0, SMALL: 12.0},
    "neurons, exact": {SMALL: 10.0},
    "neurons, frozen": {SMALL: 5.0},
}
MEMORY_GOAL = 2.0
FEATURES, ACTIVE, READ = 1024, 0.02, 8
"""Features of each dictionary in the feature-level figure, share of tokens at which one is active, features read."""


def drain(one: Subject, frame: CircuitMasks, masks: np.ndarray, **options: object) -> Callable[[], object]:
    """A call that runs circuits and throws their logits away."""
    return lambda: [None for _ in run_masks(one.net, frame, masks, one.pairs, **options)]  # type: ignore[arg-type]


def alone(one: Subject, frame: CircuitMasks, masks: np.ndarray) -> Callable[[], object]:
    """The same without the baseline run, which is made here."""
    made = make_baseline("counterfactual", one.net, one.pairs)
    runs = [run for _, run in prepared_runs(one.net, frame, masks, one.pairs, made)]

    def call() -> None:
        with torch.no_grad():
            for run in runs:
                run()

    return call


def head_circuits(one: Subject) -> tuple[CircuitMasks, dict[str, np.ndarray]]:
    """The circuits of the head-level figures."""
    graph = effective_connectivity(one.net, one.pairs, Partition.heads(one.net), "eap")
    frame = masks_for(one.net, graph)

    def best(share: float, prune: bool) -> np.ndarray:
        circuit = graph.top(int(share * graph.n_edges))
        return frame.mask(circuit.prune() if prune else circuit)

    return frame, {
        "all edges": best(1.0, False)[None],
        "99 % of the edges, at random": (np.random.default_rng(0).random((1, frame.n_edges)) < 0.99),
        "best 5 %, pruned": best(0.05, True)[None],
        "best 1 %, pruned": best(0.01, True)[None],
        "ten-point curve": np.stack([best(share, False) for share in FRACTIONS]),
    }


def random_circuit(net: Transformer, share: float) -> tuple[CircuitMasks, np.ndarray]:
    """A share of the edges between all units."""
    frame = CircuitMasks(net, Partition.units(net), split_qkv=True)
    return frame, (np.random.default_rng(0).random(frame.n_edges) < share)[None]


def report(shape: str, base: float, found: Mapping[str, tuple[float, float]]) -> None:
    """A line per figure."""
    print(f"{shape}: a plain forward pass takes {base * 1e3:.0f} ms")
    for name, (least, median) in found.items():
        goal = next((goals[shape] for key, goals in GOALS.items() if name.startswith(key) and shape in goals), None)
        print(f"  {name}: {median:.2f} forward passes (fastest: {least:.2f}{f'; goal: {goal}' if goal else ''})")


def heads(shape: str, repeats: int, clock: Callable[[], float]) -> None:
    """Head-level circuits with q, k and v apart."""
    one = subject(shape)
    frame, circuits = head_circuits(one)
    calls = {}
    for name, masks in circuits.items():
        calls[f"{name}, in all"] = drain(one, frame, masks)
        calls[f"{name}, alone"] = alone(one, frame, masks)
        calls[f"{name}, zero"] = drain(one, frame, masks, baseline="zero")
    report(shape, *ratios(one.forward, calls, repeats, clock))


def neurons(repeats: int) -> None:
    """A random neuron-level circuit with 1 % of the edges."""
    one = subject(SMALL)
    frame, masks = random_circuit(one.net, 0.01)
    print(f"{masks.sum():,} of {frame.n_edges:,} edges between units")
    calls = {f"neurons, {scale}": drain(one, frame, masks, norm_scale=scale) for scale in ("exact", "frozen")}
    report(SMALL, *ratios(one.forward, calls, repeats))


def with_features(net: Transformer, tokens: torch.Tensor, kind: str) -> Transformer:
    """The network with a dictionary at the write of every site of a kind, features active at about 2 % of tokens."""
    names = [site.name for site in net.architecture.node_sites if site.kind == kind]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        writes = net.capture(tokens, None, [f"{name}/write" for name in names])
    made = {}
    for name in names:
        x = writes[f"{name}/write"].flatten(0, 1)
        encoder = torch.randn(x.shape[1], FEATURES, generator=generator) / x.shape[1] ** 0.5
        bias = -torch.quantile(x @ encoder, 1 - ACTIVE, dim=0)
        made[name] = sparse_autoencoder("write", encoder, encoder.T.contiguous(), bias)
    return attach(net, made)


def between_features(net: Transformer, kind: str) -> tuple[CircuitMasks, np.ndarray, int]:
    """A circuit in which every feature reads eight others, and the number of features that it needs."""
    sites = [site.name for site in net.architecture.node_sites if site.kind == kind]
    units = Partition.units(net)
    whole = {site.name: np.zeros(site.n_units, int) for site in net.architecture.node_sites}
    partition = Partition.from_labels(whole | {name: units.labels[name] for name in sites})
    frame = CircuitMasks(net, partition, split_qkv=True)
    graph: ComputationalGraph = frame.full
    is_feature, first = np.zeros((2, graph.n_nodes), bool)
    for name in sites:
        nodes = frame.refined.node_slice(name)
        is_feature[nodes.start : nodes.stop - 1] = True  # the last is the error
    first[frame.refined.node_slice(sites[0])] = True
    among = is_feature[graph.source] & is_feature[graph.target]
    into = np.bincount(graph.target[among], minlength=graph.n_nodes)[graph.target]
    drawn = np.random.default_rng(0).random(frame.n_edges) < READ / np.maximum(into, 1)
    # What is no feature reads and is read like in the model, but for errors, and features read the embedding.
    keep = np.where(among, drawn, ~is_feature[graph.target])
    keep |= first[graph.target] & is_feature[graph.target] & (graph.source == 0)
    return frame, keep[None], int((frame.nodes(keep) & is_feature).sum())


def features(shape: str, repeats: int, kind: str) -> None:
    """Features that read eight others each, as many passes of one site as there are live features as the measure."""
    one = subject(shape)
    net = with_features(one.net, one.tokens, kind)
    site = [site.name for site in net.architecture.node_sites if site.kind == kind][1]
    frame, masks, live = between_features(net, kind)
    stream = torch.randn(one.pairs.n, one.tokens.shape[1], net.spec.d_model)
    context = net.context(one.tokens, None)

    def module() -> None:
        with torch.no_grad():
            if kind == "mlp":
                net.represent(site, net.mlp_units(1, net.read_mlp(1, stream).pre))
            else:
                net.represent(site, net.attend(1, net.read_attention(1, stream).pre, context))

    call = drain(Subject(one.model, net, one.pairs, one.tokens), frame, masks)
    for warm in (call, module):
        warm()
    rounds = [(seconds(call), seconds(module), seconds(one.forward)) for _ in range(max(3, repeats // 3))]
    gains = [live * once / took for took, once, _ in rounds]
    cost = np.median([took / plain for took, _, plain in rounds])
    print(
        f"{shape}: {live:,} live features at {kind} sites, {masks.sum():,} edges: {cost:.1f} forward passes; one pass"
        f" of the site for each would take {np.median(gains):.0f} times as long (most: {max(gains):.0f}; goal: 50)"
    )


def peak(shape: str, name: str) -> int:
    """Peak of a figure of the heads, or of a plain forward pass (`name` empty), after a warm-up."""
    torch.set_num_threads(1)
    one = subject(shape)
    call: Callable[[], object] = one.forward
    if name:
        frame, circuits = head_circuits(one)
        call = drain(one, frame, circuits[name])
    call()
    return peak_bytes(call)


def memory(shape: str) -> None:
    """Peak memory against that of a plain forward pass, weights counted in both, each in a process of its own."""
    weights = sum(p.numel() * p.element_size() for p in subject(shape).model.parameters())
    names = ["all edges", "best 5 %, pruned", "ten-point curve"]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        plain, *peaks = pool.starmap(peak, [(shape, ""), *((shape, name) for name in names)], chunksize=1)
    print(f"{shape}: plain forward {plain / 2**20:.0f} MiB beside {weights / 2**20:.0f} MiB of weights")
    for name, used in zip(names, peaks, strict=True):
        ratio = (used + weights) / (plain + weights)
        print(f"  {name}: {used / 2**20:.0f} MiB; with the weights {ratio:.2f} times that (goal: {MEMORY_GOAL})")


def main() -> None:
    """Measure every shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parts = ("heads", "neurons", "features", "memory")
    parser.add_argument("--processor", action="store_true", help="time of the processor, for heads on a busy machine")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for shape in SHAPES:
        if "heads" in options.only:
            heads(shape, options.repeats, time.process_time if options.processor else time.perf_counter)
    if "neurons" in options.only:
        neurons(options.repeats)
    if "features" in options.only:
        for kind in ("mlp", "attn"):
            features(SMALL, options.repeats, kind)
    for shape in SHAPES:
        if "memory" in options.only:
            memory(shape)


if __name__ == "__main__":
    main()
