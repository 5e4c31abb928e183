"""Edges that an architecture allows: counts that are known, and the canonical order."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.architectural import architectural_edges, edge_channels, input_sites, output_sites
from compgraph.architecture import Architecture, Site, transformer_architecture
from compgraph.errors import GraphError
from compgraph.partition import Partition


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
@pytest.mark.parametrize("word", ["modules", "heads", "units"])
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


def test_types_and_no_edges_inside_a_site() -> None:
    part = Partition.units(TINY)
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
