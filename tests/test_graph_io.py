"""The folder of a graph: round trips, reproducible bytes, and every way it can be wrong."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compgraph.architecture import transformer_architecture
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition

TINY = transformer_architecture("gpt2", n_layers=2, n_heads=2, d_head=2, d_model=4, d_mlp=3, vocabulary=5)


def heads_graph() -> ComputationalGraph:
    part = Partition.heads(TINY)
    n_edges = ComputationalGraph.from_architecture(TINY, part).n_edges
    weight = np.random.default_rng(0).normal(size=n_edges)
    return ComputationalGraph.from_architecture(
        TINY, part, weight, kind="effective", attributes={"metric": "kl"}, columns={"stderr": weight**2}
    )


def assert_same(a: ComputationalGraph, b: ComputationalGraph) -> None:
    assert a.nodes.equals(b.nodes)
    assert a.edges.equals(b.edges)
    for name in ("channels", "directed", "kind", "attributes", "partition", "architecture"):
        assert getattr(a, name) == getattr(b, name), name


@st.composite
def graphs(draw: st.DrawFn) -> ComputationalGraph:
    n = draw(st.integers(0, 6))
    names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=n, max_size=n, unique=True))
    directed = draw(st.booleans())
    pairs = [(i, j) for i in range(n) for j in range(n) if (i != j if directed else i < j)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    width = draw(st.sampled_from([32, 64]))
    number = st.floats(allow_nan=False, allow_infinity=False, width=width)
    weight = np.array([draw(number) for _ in chosen], dtype=f"float{width}")
    flags = np.array([draw(st.booleans()) for _ in chosen], dtype=bool)
    return ComputationalGraph(
        names, [i for i, _ in chosen], [j for _, j in chosen], None, weight, directed=directed,
        columns={"flag": flags, "z": np.where(flags, np.nan, 1.0)},
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
def test_round_trip(graph: ComputationalGraph, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("graph") / "g"
    graph.save(folder)
    again = ComputationalGraph.load(folder)
    assert_same(graph, again)
    assert again.weight.dtype == graph.weight.dtype
    assert again.columns["flag"].dtype == bool


def test_round_trip_with_partition_and_architecture(tmp_path) -> None:
    graph = heads_graph()
    graph.save(tmp_path / "g")
    assert_same(graph, ComputationalGraph.load(tmp_path / "g"))
    pruned = graph.top(12).prune()
    pruned.save(tmp_path / "p")
    again = ComputationalGraph.load(tmp_path / "p")
    assert_same(pruned, again)
    assert again.prune().n_nodes == again.n_nodes


def test_same_graph_same_bytes(tmp_path) -> None:
    heads_graph().save(tmp_path / "a")
    heads_graph().save(tmp_path / "b")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert [str(p) for p in files] == [
        "edges.parquet", "graph.json", "nodes.parquet", "partition/labels.npy", "partition/partition.json"
    ]  # fmt: skip
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_saving_again_replaces_all_of_it(tmp_path) -> None:
    heads_graph().save(tmp_path / "g")
    ComputationalGraph.from_matrix(np.ones((3, 3))).save(tmp_path / "g")
    assert not (tmp_path / "g" / "partition").exists()
    assert ComputationalGraph.load(tmp_path / "g").n_edges == 3
    assert [p.name for p in tmp_path.iterdir()] == ["g"]


def test_saving_into_a_new_empty_folder_is_fine(tmp_path) -> None:
    (tmp_path / "g").mkdir()
    heads_graph().save(tmp_path / "g")
    assert ComputationalGraph.load(tmp_path / "g").n_edges == 46


def test_nothing_foreign_is_overwritten(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for target in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(GraphError, match="is in the way"):
            heads_graph().save(target)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.fixture
def folder(tmp_path):
    heads_graph().save(tmp_path / "g")
    return tmp_path / "g"


def damage_page(folder, **changes) -> None:
    page = json.loads((folder / "graph.json").read_text())
    page.update(changes)
    (folder / "graph.json").write_text(json.dumps({k: v for k, v in page.items() if v != "gone"}))


def damage_edges(folder, change) -> None:
    change(pd.read_parquet(folder / "edges.parquet")).to_parquet(folder / "edges.parquet")


def shifted(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(target=np.minimum(table.target.to_numpy() + 5, 99).astype("int32"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "graph.json").unlink(), "not a readable graph"),
        (lambda f: (f / "graph.json").write_text("{"), "not a readable graph"),
        (lambda f: (f / "edges.parquet").unlink(), "there is no table .*edges.parquet"),
        (lambda f: (f / "nodes.parquet").write_bytes(b"PAR1"), "nodes.parquet is not a readable table"),
        (lambda f: damage_page(f, format=2), "in graph format 2, and this version reads 1: .* newer compgraph"),
        (lambda f: damage_page(f, channels="gone"), "lacks 'channels'"),
        (lambda f: damage_page(f, n_edges=7), "has 46 rows, but graph.json says 7"),
        (lambda f: damage_page(f, kind="other"), "kind 'other'"),
        (lambda f: damage_page(f, partition="sha256:0"), "another partition"),
        (lambda f: damage_edges(f, lambda t: t.drop(columns="stderr")), "has columns"),
        (lambda f: damage_edges(f, lambda t: t.astype({"source": "int64"})), "column 'source' is int64"),
        (lambda f: damage_edges(f, lambda t: t.assign(weight=np.inf)), "not finite"),
        (lambda f: damage_edges(f, shifted), "but there are 8 nodes"),
    ],
)
def test_damage_is_named(folder, damage, message: str) -> None:
    damage(folder)
    with pytest.raises(GraphError, match=message):
        ComputationalGraph.load(folder)


def test_a_flipped_bit_is_noticed(folder) -> None:
    path = folder / "edges.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(GraphError, match="not a readable table"):
        ComputationalGraph.load(folder)
