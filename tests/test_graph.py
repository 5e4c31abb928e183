"""ComputationalGraph: construction, selection, pruning against brute force, tables."""

from __future__ import annotations

import re
import subprocess
import sys

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compgraph.architecture import Architecture, Site, transformer_architecture
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition

TINY = transformer_architecture("gpt2", n_layers=2, n_heads=2, d_head=2, d_model=4, d_mlp=3, vocabulary=5)


def heads_graph(seed: int = 0) -> ComputationalGraph:
    part = Partition.heads(TINY)
    blank = ComputationalGraph.from_architecture(TINY, part)
    weight = np.random.default_rng(seed).normal(size=blank.n_edges)
    return ComputationalGraph.from_architecture(TINY, part, weight, kind="effective", attributes={"n": 3})


def small(weight: list[float], **options) -> ComputationalGraph:
    names = [f"n{k}" for k in range(len(weight) + 1)]
    return ComputationalGraph(names, range(len(weight)), range(1, len(weight) + 1), None, weight, **options)


def test_node_scores_are_sums_of_edges() -> None:
    graph = ComputationalGraph(
        ["a", "b", "c"], [0, 0, 1], [1, 2, 2], [0, 0, 1], np.array([1, -2, 4], np.float32), channels=("", "q")
    )
    assert graph.node_scores().tolist() == [-1, 4, 0]
    assert graph.node_scores("in").tolist() == [0, 1, 2]
    assert graph.node_scores(absolute=True).tolist() == [3, 4, 0]
    assert graph.node_scores("in", absolute=True).tolist() == [0, 1, 6]
    assert graph.node_scores().dtype == np.float64
    both = ComputationalGraph(["a", "b", "c"], [0, 1], [1, 2], None, [1.0, -3.0], directed=False)
    assert both.node_scores("out").tolist() == both.node_scores("in").tolist() == [1, -2, -3]
    assert both.top(0).node_scores().tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="by must be 'out' or 'in', not 'both'"):
        graph.node_scores("both")  # type: ignore[arg-type]


# ---- construction ------------------------------------------------------------------------------------


def test_tables() -> None:
    graph = heads_graph()
    assert list(graph.nodes.columns) == ["name", "site", "label", "size", "level"]
    assert list(graph.edges.columns) == ["source", "target", "channel", "weight"]
    first = graph.edges.iloc[1]
    assert (first.source, first.target, first.channel) == ("embed", "attn.0/head.0", "k")
    assert graph.edges["source"].cat.categories.tolist() == list(graph.node_names)
    assert graph.nodes["level"].tolist() == [0, 1, 1, 2, 3, 3, 4, 5]
    assert graph.inputs.tolist() == [0] and graph.outputs.tolist() == [7]


def test_types_are_kept_or_widened() -> None:
    assert small([1, 2]).weight.dtype == np.float64
    assert small(np.array([1, 2], np.float32)).weight.dtype == np.float32
    assert small(np.array([1, 2], np.float16)).weight.dtype == np.float64
    graph = small([1.0])
    assert (graph.source.dtype, graph.channel.dtype) == (np.int32, np.int8)


def test_arrays_are_read_only_but_the_callers_are_not() -> None:
    weight = np.array([1.0, 2.0])
    graph = small(weight, columns={"stderr": weight * 2})
    with pytest.raises(ValueError, match="read-only"):
        graph.weight[0] = 5
    with pytest.raises(ValueError, match="read-only"):
        graph.columns["stderr"][0] = 5
    weight[0] = 7


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_must_be_finite(bad: float) -> None:
    with pytest.raises(GraphError, match="edge 1, n1 -> n2, has a weight that is not finite"):
        small([1.0, bad, bad])


@pytest.mark.parametrize(
    ("source", "target", "weight", "message"),
    [
        ([0, 5], [1, 2], [1.0, 1], "edge 1 has source 5, but there are 3 nodes"),
        ([0, 0], [1, -1], [1.0, 1], "edge 1 has target -1"),
        ([0, 1], [1, 1], [1.0, 1], "edge 1, b -> b, joins a node to itself"),
        ([0, 0], [1, 1], [1.0, 2], "edge 1, a -> b, is listed twice"),
        ([1, 0, 1], [2, 1, 2], [1.0, 1, 1], "edge 2, b -> c, is listed twice"),
        ([0], [1, 2], [1.0], "'target' has shape (2,), not (1,)"),
        ([0.5], [1], [1.0], "'source' must hold integers"),
        ([0], [1], ["x"], "weights must be real numbers"),
        ([[0]], [[1]], [[1.0]], "'source' has shape (1, 1), not (1,)"),
    ],
)
def test_bad_edges(source: list, target: list, weight: list, message: str) -> None:
    with pytest.raises(GraphError, match=re.escape(message)):
        ComputationalGraph(["a", "b", "c"], source, target, None, weight)


def test_same_pair_in_two_channels_is_fine_but_not_twice_in_one() -> None:
    options = {"channels": ("", "q")}
    graph = ComputationalGraph(["a", "b"], [0, 0], [1, 1], [0, 1], [1.0, 2], **options)
    assert graph.n_edges == 2
    with pytest.raises(GraphError, match=re.escape("a -> b (q), is listed twice")):
        ComputationalGraph(["a", "b"], [0, 0], [1, 1], [1, 1], [1.0, 2], **options)
    with pytest.raises(GraphError, match="channel 2, but there are 2 channels"):
        ComputationalGraph(["a", "b"], [0], [1], [2], [1.0], **options)


def test_undirected_edges_are_turned_and_listed_once() -> None:
    graph = ComputationalGraph(["a", "b", "c"], [2, 0], [1, 1], None, [1.0, 2], directed=False)
    assert graph.source.tolist() == [1, 0] and graph.target.tolist() == [2, 1]
    with pytest.raises(GraphError, match="listed twice"):
        ComputationalGraph(["a", "b"], [0, 1], [1, 0], None, [1.0, 1], directed=False)


def test_bad_descriptions() -> None:
    with pytest.raises(GraphError, match="name 'a' is used twice"):
        ComputationalGraph(["a", "a"], [0], [1], None, [1.0])
    with pytest.raises(GraphError, match="kind 'causal' is not one of"):
        small([1.0], kind="causal")
    with pytest.raises(GraphError, match="plain JSON"):
        small([1.0], attributes={"x": np.zeros(2)})
    with pytest.raises(GraphError, match="plain JSON"):
        small([1.0], attributes={"x": float("nan")})
    with pytest.raises(GraphError, match="'stderr' has shape"):
        small([1.0, 2.0], columns={"stderr": [1.0]})
    with pytest.raises(GraphError, match="given by its own argument"):
        small([1.0], columns={"weight": [1.0]})
    with pytest.raises(GraphError, match="channels must be"):
        small([1.0], channels=("q", "q"))
    with pytest.raises(GraphError, match="'n0' is no part"):
        small([1.0], partition=Partition.heads(TINY))
    with pytest.raises(GraphError, match="need a column 'name'"):
        ComputationalGraph({"site": ["a"]}, [], [], None, [])
    with pytest.raises(GraphError, match="'size' must hold integers"):
        ComputationalGraph({"name": ["a"], "size": [1.5]}, [], [], None, [])


def test_nodes_as_a_table() -> None:
    graph = heads_graph()
    again = ComputationalGraph(graph.nodes, graph.source, graph.target, graph.channel, graph.weight,
                               channels=graph.channels)  # fmt: skip
    assert again.nodes.equals(graph.nodes)


def test_partition_mismatch_is_found_by_from_architecture() -> None:
    other = transformer_architecture(
        "gpt2", n_layers=2, n_heads=2, d_head=2, d_model=4, d_mlp=9, vocabulary=5
    )
    with pytest.raises(GraphError, match=r"'mlp\.0' has 3 labels.*9 units"):
        ComputationalGraph.from_architecture(other, Partition.heads(TINY))


# ---- matrices ----------------------------------------------------------------------------------------


def test_from_matrix_undirected() -> None:
    matrix = np.array([[9.0, 1, 0], [1, np.nan, -2], [0, -2, 9]])
    graph = ComputationalGraph.from_matrix(matrix, names=["a", "b", "c"])
    assert not graph.directed
    assert graph.weight.tolist() == [1, 0, -2]
    assert np.array_equal(graph.matrix(), [[0, 1, 0], [1, 0, -2], [0, -2, 0]])
    assert ComputationalGraph.from_matrix(matrix, drop_zeros=True).weight.tolist() == [1, -2]
    assert graph.node_names == ("a", "b", "c")


def test_from_matrix_directed() -> None:
    matrix = np.arange(9.0).reshape(3, 3)
    graph = ComputationalGraph.from_matrix(matrix, directed=True)
    assert np.array_equal(graph.matrix(), matrix - np.diag(np.diag(matrix)))
    assert graph.node_names[2] == "node.2"
    assert (np.diff(graph.target) >= 0).all()


def test_from_matrix_refuses() -> None:
    with pytest.raises(GraphError, match=re.escape("[0, 1] is 1.0 and [1, 0] is 2.0")):
        ComputationalGraph.from_matrix([[0, 1.0], [2.0, 0]])
    with pytest.raises(GraphError, match="must be square"):
        ComputationalGraph.from_matrix(np.zeros((2, 3)))
    with pytest.raises(GraphError, match="not finite"):
        ComputationalGraph.from_matrix([[0, np.nan], [np.nan, 0]])
    with pytest.raises(GraphError, match="2 rows, but 3 nodes"):
        ComputationalGraph.from_matrix(np.zeros((2, 2)), names=["a", "b", "c"])


def test_from_matrix_takes_rounding_for_symmetry() -> None:
    x = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    matrix = x @ x.T
    matrix[0, 1] = np.nextafter(matrix[0, 1], np.float32(9))
    assert ComputationalGraph.from_matrix(matrix).n_edges == 435


def test_matrix_joins_channels() -> None:
    graph = ComputationalGraph(
        ["a", "b"], [0, 0, 0], [1, 1, 1], [0, 1, 2], [1.0, -4, 2], channels=("q", "k", "v")
    )
    assert graph.matrix()[0, 1] == -1
    assert graph.matrix(signed=False)[0, 1] == 7
    assert graph.matrix(reduce="max")[0, 1] == -4
    assert graph.matrix(signed=False, reduce="max")[0, 1] == 4
    assert graph.matrix(reduce="mean")[0, 1] == pytest.approx(-1 / 3)
    with pytest.raises(ValueError, match="'sum', 'max' or 'mean'"):
        graph.matrix(reduce="median")


# ---- selection ---------------------------------------------------------------------------------------

weights = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(weight=weights, k=st.integers(0, 14), by=st.sampled_from(["abs", "signed", "negative"]))
def test_top_is_a_stable_sort(weight: list[float], k: int, by: str) -> None:
    strength = {"abs": np.abs, "signed": np.array, "negative": np.negative}[by](weight)
    best = sorted(range(len(weight)), key=lambda i: (-strength[i], i))[:k]
    graph = small(weight)
    assert np.flatnonzero(graph.top_mask(k, by=by)).tolist() == sorted(best)
    assert graph.top(k, by=by).source.tolist() == sorted(best)


@settings(max_examples=50, deadline=None)
@given(weight=weights, t=st.sampled_from([-1.0, 0.0, 1.0, 2.5]))
def test_threshold_keeps_the_bound(weight: list[float], t: float) -> None:
    graph = small(weight)
    assert graph.threshold(t).weight.tolist() == [w for w in weight if abs(w) >= t]
    assert graph.threshold(t, by="signed").weight.tolist() == [w for w in weight if w >= t]
    assert graph.threshold(t, by="negative").weight.tolist() == [w for w in weight if -w >= t]


def test_selection_is_recorded_and_keeps_nodes_and_columns() -> None:
    graph = heads_graph()
    graph = ComputationalGraph.from_architecture(
        TINY, Partition.heads(TINY), graph.weight, kind="effective", columns={"z": graph.weight * 2}
    )
    kept = graph.top(9).threshold(0.1).prune()
    assert [next(iter(step)) for step in kept.attributes["selection"]] == ["top", "threshold", "prune"]
    assert "selection" not in graph.attributes
    assert graph.top(9).n_nodes == graph.n_nodes
    assert np.array_equal(kept.columns["z"], kept.weight * 2)
    assert kept.partition is graph.partition and kept.kind == "effective"


def test_bad_selection() -> None:
    graph = small([1.0, 2.0])
    with pytest.raises(ValueError, match="at least 0"):
        graph.top(-1)
    with pytest.raises(ValueError, match="'abs', 'signed' or 'negative'"):
        graph.top(1, by="size")
    with pytest.raises(TypeError):
        graph.top(1.5)
    with pytest.raises(ValueError, match="finite"):
        graph.threshold(float("nan"))
    with pytest.raises(GraphError, match=re.escape("boolean of shape (2,), not bool of (3,)")):
        graph.subgraph([True, False, True])
    with pytest.raises(GraphError, match="boolean"):
        graph.subgraph([0, 1])


def test_mask_of_finds_a_pruned_circuit_again() -> None:
    graph = heads_graph(3)
    mask = graph.top_mask(14)
    circuit = graph.subgraph(edges=mask).prune()
    found = graph.mask_of(circuit)
    assert found.sum() == circuit.n_edges
    assert not (found & ~mask).any()
    assert np.array_equal(graph.subgraph(found).weight, circuit.weight)
    with pytest.raises(GraphError, match="is not an edge of the larger graph"):
        graph.top(3).mask_of(graph)
    with pytest.raises(GraphError, match="node 'n0' of the smaller graph"):
        graph.mask_of(small([1.0]))


def test_mask_of_undirected() -> None:
    graph = ComputationalGraph.from_matrix(np.ones((4, 4)), names=list("abcd"))
    other = ComputationalGraph(list("dcba"), [0, 1], [3, 2], None, [1.0, 1.0], directed=False)
    assert np.flatnonzero(graph.mask_of(other)).tolist() == [2, 3]


# ---- prune -------------------------------------------------------------------------------------------


def chain_of(sizes: list[int]) -> Architecture:
    """Every site reads all the sites before it."""
    names = ["embed", *(f"mlp.{k}" for k in range(len(sizes) - 2)), "logits"]
    sites = tuple(Site(name, name.split(".")[0], k, sizes[k]) for k, name in enumerate(names))
    return Architecture(
        "transformer", "test", sites, {name: tuple(names[:k]) for k, name in enumerate(names) if k}
    )


@st.composite
def dags(draw: st.DrawFn) -> ComputationalGraph:
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=5))
    net = chain_of(sizes)
    part = Partition.from_labels({site.name: np.arange(site.n_units) for site in net.sites})
    full = ComputationalGraph.from_architecture(net, part)
    mask = draw(st.lists(st.booleans(), min_size=full.n_edges, max_size=full.n_edges))
    return full.subgraph(np.array(mask, dtype=bool))


@settings(max_examples=150, deadline=None)
@given(graph=dags())
def test_prune_keeps_exactly_the_nodes_on_paths(graph: ComputationalGraph) -> None:
    plain = graph.to_networkx()
    starts = [graph.node_names[k] for k in graph.inputs]
    ends = [graph.node_names[k] for k in graph.outputs]
    on_path = {
        name
        for name in plain
        if any(nx.has_path(plain, s, name) for s in starts) and any(nx.has_path(plain, name, e) for e in ends)
    }
    pruned = graph.prune()
    assert set(pruned.node_names) == on_path
    assert set(pruned.to_networkx().edges) == {(u, v) for u, v in plain.edges if {u, v} <= on_path}
    again = pruned.prune()
    assert again.node_names == pruned.node_names and again.n_edges == pruned.n_edges


@settings(max_examples=50, deadline=None)
@given(graph=dags())
def test_prune_is_the_fixed_point_of_dropping_dangling_nodes(graph: ComputationalGraph) -> None:
    plain = graph.to_networkx()
    starts = {graph.node_names[k] for k in graph.inputs}
    ends = {graph.node_names[k] for k in graph.outputs}
    while dangling := [
        name
        for name in plain
        if (not plain.in_degree(name) and name not in starts)
        or (not plain.out_degree(name) and name not in ends)
    ]:
        plain.remove_nodes_from(dangling)
    assert set(plain.edges) == set(graph.prune().to_networkx().edges)


def test_a_head_read_only_through_k_survives() -> None:
    full = heads_graph()
    table = full.edges
    by_k = (table.source == "embed") & (table.target == "attn.0/head.1") & (table.channel == "k")
    out = (table.source == "attn.0/head.1") & (table.target == "logits")
    pruned = full.subgraph((by_k | out).to_numpy()).prune()
    assert pruned.node_names == ("embed", "attn.0/head.1", "logits")
    assert pruned.n_edges == 2


def test_prune_of_no_path_is_empty_and_still_a_graph(tmp_path) -> None:
    nothing = heads_graph().top(0).prune()
    assert (nothing.n_nodes, nothing.n_edges) == (0, 0)
    assert nothing.prune().n_nodes == 0
    assert nothing.matrix().shape == (0, 0)
    nothing.save(tmp_path / "g")
    assert ComputationalGraph.load(tmp_path / "g").n_nodes == 0


def test_prune_with_more_parallel_edges_than_a_byte_counts() -> None:
    net = chain_of([1, 1, 1])
    part = Partition.from_labels({site.name: [0] for site in net.sites})
    channels = [f"c{k}" for k in range(64)]
    source = np.repeat([0, 0, 1], 64)
    target = np.repeat([1, 2, 2], 64)
    codes = np.tile(np.arange(64), 3)
    graph = ComputationalGraph(part, source, target, codes, np.ones(192), channels=channels, architecture=net)
    assert graph.prune().n_edges == 192


def test_prune_refuses_what_has_no_input_and_output() -> None:
    with pytest.raises(GraphError, match="undirected"):
        ComputationalGraph.from_matrix(np.ones((3, 3))).prune()
    with pytest.raises(GraphError, match="has no architecture"):
        ComputationalGraph.from_matrix(np.ones((3, 3)), directed=True).prune()
    with pytest.raises(GraphError, match="has no architecture"):
        _ = small([1.0]).inputs


# ---- the rest ----------------------------------------------------------------------------------------


def test_repr() -> None:
    graph = heads_graph()
    assert repr(graph) == "ComputationalGraph(effective, directed: 8 nodes, 46 edges, channels q k v)"
    text = graph._repr_html_()
    assert "8 nodes" in text and text.count("<tr>") == 6
    strongest = graph.edges.iloc[int(np.argmax(np.abs(graph.weight)))]
    assert f"<tr><td>{strongest.source}</td><td>{strongest.target}</td>" in text


@pytest.mark.parametrize("graph", [heads_graph(), ComputationalGraph.from_matrix(np.eye(4)[::-1], kind="functional")])
def test_plot_is_the_figure_of_the_kind(graph: ComputationalGraph) -> None:
    figure = graph.plot(width="single")
    assert figure.get_size_inches()[0] < 4 and figure.axes


def test_a_graph_of_no_kind_has_no_figure() -> None:
    with pytest.raises(GraphError, match="no figure is made for kind 'generic'"):
        ComputationalGraph.from_matrix(np.eye(4)[::-1], kind="generic").plot()


def test_import_is_light() -> None:
    code = (
        "import sys, compgraph.graph; heavy = ('torch', 'pandas', 'scipy', 'pyarrow', 'networkx', 'igraph'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
