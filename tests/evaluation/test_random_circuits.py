"""Random circuits: what they keep, that they are uniform, connected, repeatable and exchangeable with the circuit."""

from __future__ import annotations

from collections import Counter
from itertools import chain, combinations, pairwise, product

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from compgraph.architecture import Architecture, Site
from compgraph.errors import GraphError
from compgraph.evaluation.random_circuits import is_connected, pruned, random_circuits, sample_circuits
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import strongest
from compgraph.partition import Partition
from tests.circuits.graphs import architecture, scored

KINDS = ("size", "layers", "degree")
LARGE = {"n_layers": 4, "n_heads": 4, "mlp": True}


def sequential_architecture():
    """Input of six units, two hidden layers of five, four classes."""
    sizes = {"input": 6, "linear.0": 5, "linear.1": 5, "logits": 4}
    names = list(sizes)
    sites = tuple(Site(name, name.split(".")[0], level, size) for level, (name, size) in enumerate(sizes.items()))
    reads = {name: (before,) for before, name in pairwise(names)}
    return Architecture("sequential", "sequential", sites, reads, dict.fromkeys(reads, ("",)))


def circuit_of(graph, k):
    """What is connected of the k strongest edges, those at input and output favoured."""
    ends = np.isin(graph.source, graph.inputs) | np.isin(graph.target, graph.outputs)
    return pruned(graph, strongest(np.abs(graph.weight) * (1 + 4 * ends), k))


def profile(graph, mask, kind):
    """What a kind of draw keeps, computed edge by edge."""
    counts: Counter = Counter()
    site = graph.node_columns["site"]
    for edge in np.flatnonzero(mask):
        s, t, c = int(graph.source[edge]), int(graph.target[edge]), int(graph.channel[edge])
        if kind == "layers":
            counts[site[s], site[t], c] += 1
        elif kind == "degree":
            counts["out", s, c] += 1
            counts["in", t, c] += 1
        counts["edges"] += 1
    return counts


def prune_changes_nothing(graph, mask):
    return graph.subgraph(mask).prune().n_edges == mask.sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("shape", [LARGE, LARGE | {"parallel": True}], ids=["sequential", "parallel"])
def test_keeps_exactly_what_it_says_and_connectivity(kind, connected, shape):
    graph = scored(seed=1, **shape)
    for k in (40, 120, graph.n_edges - 30):
        mask = circuit_of(graph, k)
        assert mask.sum() > 10
        draws = sample_circuits(graph, mask, 25, kind, seed=3, connected=connected, effort=0.3)
        assert draws.masks.shape == (25, graph.n_edges) and draws.masks.dtype == bool
        for draw in draws.masks:
            assert profile(graph, draw, kind) == profile(graph, mask, kind)
            assert not connected or prune_changes_nothing(graph, draw)
            assert is_connected(graph, draw) == prune_changes_nothing(graph, draw)
        if kind != "degree":
            assert len(np.unique(draws.masks, axis=0)) > 20  # they are not all the circuit
    assert not connected or kind == "degree" or draws.acceptance > 0


@pytest.mark.parametrize("kind", KINDS)
def test_parts_finer_than_heads_and_chains_of_layers(kind):
    fine = architecture(n_layers=2, n_heads=2, mlp=True)
    plain = sequential_architecture()
    for net, partition in ((fine, Partition.units(fine)), (plain, Partition.units(plain))):
        graph = ComputationalGraph.from_architecture(net, partition)
        mask = pruned(graph, np.random.default_rng(0).random(graph.n_edges) < 0.5)
        draws = sample_circuits(graph, mask, 10, kind, effort=0.3)
        assert mask.sum() > 20 and draws.overlap < 0.99
        for draw in draws.masks:
            assert profile(graph, draw, kind) == profile(graph, mask, kind) and prune_changes_nothing(graph, draw)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_draws(kind):
    graph = scored(seed=2, **LARGE)
    mask = circuit_of(graph, 60)
    first, again, other = (random_circuits(graph, mask, 10, kind, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def values_only(n_heads):
    """Two layers of heads that read values alone, so that all circuits can be gone through."""
    graph = scored(seed=5, n_layers=2, n_heads=n_heads)
    return graph.subgraph(np.isin(graph.channel, [graph.channels.index(""), graph.channels.index("v")]))


def mask_from(graph, *chains):
    """Edges along chains of short names: `e` (input), `a0` (head 0 of layer 0), `b2` (head 2 of layer 1), `l`."""
    full = {"e": "embed", "l": "logits"}
    number = {name: k for k, name in enumerate(graph.node_names)}
    mask = np.zeros(graph.n_edges, bool)
    for line in chains:
        nodes = [number[full.get(x) or f"attn.{'ab'.index(x[0])}/head.{x[1]}"] for x in line.split()]
        for s, t in pairwise(nodes):
            mask |= (graph.source == s) & (graph.target == t)
    return mask


def connected_like(graph, mask, kind):
    """Every connected circuit with the profile of a given one, by going through all choices of sources per target."""
    if kind == "degree":
        degrees = [int((mask & (graph.target == node)).sum()) for node in range(graph.n_nodes)]
        ports = [combinations(np.flatnonzero(graph.target == node), n) for node, n in enumerate(degrees)]
        choices = [[*chain.from_iterable(one)] for one in product(*ports)]
    else:
        choices = list(combinations(range(graph.n_edges), int(mask.sum())))
    subsets = np.zeros((len(choices), graph.n_edges), bool)
    np.put_along_axis(subsets, np.array(choices), True, 1)
    enter, leave = (np.eye(graph.n_nodes)[end] for end in (graph.target, graph.source))
    inner = np.setdiff1d(np.arange(graph.n_nodes), [*graph.inputs, *graph.outputs])
    fine = ((subsets @ enter > 0) == (subsets @ leave > 0))[:, inner].all(1)
    if kind == "degree":
        fine &= (subsets @ leave == mask @ leave).all(1)
    wanted = profile(graph, mask, kind)
    return [circuit for circuit in subsets[fine] if profile(graph, circuit, kind) == wanted]


@pytest.mark.parametrize(
    ("kind", "n_heads", "chains", "least"),
    [
        ("size", 3, ["e a0 b0 l", "e b0", "e l"], 90),
        ("size", 3, ["e a0 l", "e b0 l"], 40),
        ("layers", 3, ["e a0 b0 l", "e a1 b0", "e b1 l", "a1 l"], 30),
        ("layers", 3, ["e a0 b0 l", "e a1 b1 l"], 18),
        ("degree", 4, ["e a0 b0 l", "e a1 b1 l", "e a2 b2 l", "e b0", "a3 l", "e a3 b3 l"], 24),
        ("degree", 3, ["e a0 b0 l", "e a1 b1 l", "e a2 b2 l", "a0 l", "a2 b0"], 5),
    ],
)
def test_draws_are_uniform_over_all_connected_circuits_of_the_kind(kind, n_heads, chains, least):
    graph = values_only(n_heads)
    mask = mask_from(graph, *chains)
    every = connected_like(graph, mask, kind)
    assert len(every) >= least and all(prune_changes_nothing(graph, circuit) for circuit in every)
    draws = random_circuits(graph, mask, 12 * len(every), kind)
    counts = Counter(draw.tobytes() for draw in draws)
    found = [counts[circuit.tobytes()] for circuit in every]
    assert sum(found) == len(draws)
    assert chisquare(found).pvalue > 1e-3


def test_a_whole_and_an_empty_circuit_are_all_there_is():
    graph = scored(seed=0, **LARGE)
    for mask in (np.zeros(graph.n_edges, bool), np.ones(graph.n_edges, bool)):
        for kind in KINDS:
            assert (random_circuits(graph, mask, 3, kind) == mask).all()


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_among_draws_are_uniform_even_where_chains_do_not_mix(kind):
    """A circuit that is itself such a random one ranks evenly among its draws, whatever is measured."""
    graph = scored(seed=4, **LARGE)
    weight = np.random.default_rng(0).normal(size=graph.n_edges)
    start = circuit_of(graph, 80)
    circuits = random_circuits(graph, start, 120, kind, seed=99)
    ranks = []
    for seed, circuit in enumerate(circuits):
        draws = sample_circuits(graph, circuit, 19, kind, seed=seed, effort=0.02).masks
        value, null = weight[circuit].sum(), np.array([weight[draw].sum() for draw in draws])
        ranks.append(((null > value).sum() + np.random.default_rng(seed).random()) / 20)
    assert kstest(ranks, "uniform").pvalue > 1e-3


def test_overlaps_tell_mixed_chains_from_stuck_ones():
    graph = scored(seed=4, **LARGE)
    mask = circuit_of(graph, 80)
    good, bad = (sample_circuits(graph, mask, 50, "size", effort=effort) for effort in (1, 0.002))
    assert abs(good.overlap - good.between) < 0.05 and bad.overlap > 2 * good.overlap
    assert good.overlap == pytest.approx(np.mean([(draw & mask).sum() / mask.sum() for draw in good.masks]))
    pairs = [(a & b).sum() / mask.sum() for i, a in enumerate(good.masks) for b in good.masks[:i]]
    assert good.between == pytest.approx(np.mean(pairs))


def test_bad_requests():
    graph = scored(seed=0, **LARGE)
    mask = circuit_of(graph, 60)
    loose = mask.copy()
    last = graph.node_names.index("attn.3/head.0")
    loose[(graph.source == last) | (graph.target == last)] = False
    loose[np.flatnonzero(graph.target == last)[0]] = True
    cases = [
        ({"kind": "shape"}, "kind 'shape' is not known"),
        ({"n": 0}, "n is 0"),
        ({"effort": 0.0}, "effort is 0"),
        ({"circuit": loose}, "1 of the circuit's .* edges are on no path"),
        ({"circuit": mask[:-1]}, "must be boolean of shape"),
    ]
    for arguments, message in cases:
        with pytest.raises(GraphError, match=message):
            sample_circuits(**({"graph": graph, "circuit": mask, "n": 3} | arguments))
    assert random_circuits(graph, loose, 3, connected=False).sum(1).tolist() == [loose.sum()] * 3
