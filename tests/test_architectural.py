"""Edges that an architecture allows: counts that are known, and the canonical order."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.architectural import architectural_edges, edge_channels, input_sites, output_sites
from compgraph.architecture import Architecture, Site, transformer_architecture
from compgraph.errors import GraphError
from compgraph.partition import Partition
from compgraph.patterns import with_patterns


def gpt2_small(**changes) -> Architecture:
    shape = {"n_layers": 12, "n_heads": 12, "d_head": 64, "d_model": 768, "d_mlp": 3072, "vocabulary": 50257}
    return transformer_architecture("gpt2", **(shape | changes))


TINY = transformer_architecture("gpt2", n_layers=2, n_heads=2, d_head=2, d_model=4, d_mlp=3, vocabulary=5)
CHAIN = Architecture(
    "sequential",
    "sequential",
    (
        Site("input", "input", 0, 4, shape=(1, 2, 2)),
        Site("conv.0", "conv", 1, 4, shape=(2, 2, 1)),
        Site("logits", "logits", 2, 3),
    ),
    {"conv.0": ("input",), "logits": ("conv.0",)},
)


def test_gpt2_small_has_the_known_numbers_of_edges() -> None:
    net = gpt2_small()
    part = Partition.heads(net)
    assert part.n_nodes == 158
    assert len(architectural_edges(net, part)[0]) == 32_491
    assert len(architectural_edges(net, part, split_qkv=False)[0]) == 11_611
    assert edge_channels(net) == ("", "q", "k", "v")
    assert edge_channels(net, split_qkv=False) == ("",)


def test_parallel_blocks_hide_a_layers_attention_from_its_mlp() -> None:
    net = gpt2_small(parallel=True)
    part = Partition.heads(net)
    source, target, _ = architectural_edges(net, part, split_qkv=False)
    assert len(source) == 11_611 - 12 * 12
    names = np.array(part.node_names, dtype=object)
    into_mlp = set(names[source[names[target] == "mlp.1"]])
    assert "attn.0/head.3" in into_mlp and "attn.1/head.3" not in into_mlp and "mlp.0" in into_mlp


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("word", ["modules", "heads"])
def test_against_the_definition_edge_by_edge(word: str, split: bool) -> None:
    part = getattr(Partition, word)(TINY)
    nodes = part.nodes(TINY)
    names = edge_channels(TINY, split)
    expected = []
    for v in range(part.n_nodes):
        site = nodes["site"][v]
        for channel in TINY.channels.get(site, ("",)) if split else ("",):
            for u in range(part.n_nodes):
                if nodes["site"][u] in TINY.reads.get(site, ()):
                    expected.append((u, v, names.index(channel)))
    found = list(zip(*(column.tolist() for column in architectural_edges(TINY, part, split)), strict=True))
    assert found == expected


def crossing() -> Partition:
    """Parts of attn.0 that cut through its heads; attn.1 stays by head."""
    labels = {site.name: np.zeros(site.n_units, int) for site in TINY.node_sites}
    size = TINY.site("attn.0").n_units
    labels["attn.0"] = np.arange(size) * 3 // size
    labels["attn.1"] = np.arange(size) // (size // TINY.site("attn.1").n_heads)
    return Partition.from_labels(labels)


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("part", [Partition.units(TINY), crossing()], ids=["units", "crossing"])
def test_patterns_are_nodes_where_parts_cut_through_heads(part: Partition, split: bool) -> None:
    architecture, refined = with_patterns(TINY, part)
    names = edge_channels(TINY, split)
    nodes = refined.nodes(architecture)
    expected = set()
    for v, site in enumerate(nodes["site"]):
        fine = f"{site}.pattern" in refined.labels
        pattern = site.endswith(".pattern")
        real = site.removesuffix(".pattern")
        if pattern:
            channels = ("q", "k")
        else:
            channels = ("v",) if fine else TINY.channels.get(site, ("",))
        for u, other in enumerate(nodes["site"]):
            if other in TINY.reads.get(real, ()):
                expected |= {(u, v, names.index(c) if split else 0) for c in channels}
            if other == f"{site}.pattern":
                size = TINY.site(site).n_units // TINY.site(site).n_heads
                units = np.flatnonzero(refined.labels[site] == nodes["label"][v]) // size
                if nodes["label"][u] in units:
                    expected.add((u, v, 0))
    found = list(zip(*(column.tolist() for column in architectural_edges(TINY, part, split)), strict=True))
    assert len(found) == len(set(found)) and set(found) == expected
    assert [t for _, t, _ in found] == sorted(t for _, t, _ in found)
    assert "attn.0/head.1/pattern" in refined.node_names
    assert with_patterns(architecture, refined) == (architecture, refined)


def test_types_and_no_edges_inside_a_site() -> None:
    part = Partition.heads(TINY)
    source, target, channel = architectural_edges(TINY, part)
    assert (source.dtype, target.dtype, channel.dtype) == (np.int32, np.int32, np.int8)
    sites = part.nodes()["site"]
    assert (sites[source] != sites[target]).all()


def test_chain() -> None:
    part = Partition.channels(CHAIN)
    source, target, channel = architectural_edges(CHAIN, part)
    assert [*zip(source.tolist(), target.tolist(), strict=True)] == [
        (0, 1), (0, 2), (1, 3), (2, 3), (1, 4), (2, 4), (1, 5), (2, 5)
    ]  # fmt: skip
    assert not channel.any()
    assert edge_channels(CHAIN) == ("",)


def test_sites_left_out_have_no_edges() -> None:
    part = Partition.heads(TINY).restrict(["attn.0", "mlp.1"])
    source, target, channel = architectural_edges(TINY, part)
    assert (source.tolist(), target.tolist(), channel.tolist()) == ([0, 1], [2, 2], [0, 0])
    empty = architectural_edges(TINY, Partition.from_labels({}))
    assert [len(column) for column in empty] == [0, 0, 0]


def test_views_are_refused() -> None:
    with pytest.raises(GraphError, match=r"'resid\.0' is a view"):
        architectural_edges(TINY, Partition.mixed(TINY, {"resid.0": "modules"}))


def test_ends() -> None:
    assert input_sites(TINY) == {"embed"} and output_sites(TINY) == {"logits"}
    assert input_sites(CHAIN) == {"input"} and output_sites(CHAIN) == {"logits"}
