"""Partitions: granularities, checks, files."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compgraph.architecture import Architecture, Site, transformer_architecture
from compgraph.errors import GraphError
from compgraph.partition import Partition

GPT2_SMALL = transformer_architecture(
    "gpt2", n_layers=12, n_heads=12, d_head=64, d_model=768, d_mlp=3072, vocabulary=50257
)
TINY = transformer_architecture("gpt2", n_layers=2, n_heads=3, d_head=2, d_model=6, d_mlp=5, vocabulary=11)
CNN = Architecture(
    "sequential",
    "sequential",
    (
        Site("input", "input", 0, 18, shape=(2, 3, 3)),
        Site("conv.0", "conv", 1, 16, shape=(4, 2, 2)),
        Site("linear.0", "linear", 2, 7),
        Site("logits", "logits", 3, 3),
    ),
    {"conv.0": ("input",), "linear.0": ("conv.0",), "logits": ("linear.0",)},
)


def test_heads_of_gpt2_small() -> None:
    part = Partition.heads(GPT2_SMALL)
    assert part.n_nodes == 158
    assert part.node_names[:3] == ("embed", "attn.0/head.0", "attn.0/head.1")
    assert part.node_names[-1] == "logits"
    assert part.part_sizes("attn.3").tolist() == [64] * 12
    assert part.node_index("attn.0")[[0, 63, 64]].tolist() == [1, 1, 2]


def test_modules_skip_views() -> None:
    part = Partition.modules(TINY)
    assert part.sites == ("embed", "attn.0", "mlp.0", "attn.1", "mlp.1", "logits")
    assert part.node_names == part.sites
    assert part.part_names("mlp.1") == ("",)


def test_units_leave_stream_and_vocabulary_whole() -> None:
    part = Partition.units(TINY)
    assert part.n_nodes == 1 + 2 * (6 + 5) + 1
    assert part.node_names[1] == "attn.0/unit.0"
    assert part.node_names[7] == "mlp.0/neuron.0"


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("modules", {"input": 1, "conv.0": 1, "linear.0": 1, "logits": 1}),
        ("heads", {"input": 1, "conv.0": 1, "linear.0": 1, "logits": 3}),
        ("channels", {"input": 2, "conv.0": 4, "linear.0": 7, "logits": 3}),
        ("units", {"input": 18, "conv.0": 16, "linear.0": 7, "logits": 3}),
    ],
)
def test_sequential_granularities(word: str, names: dict[str, int]) -> None:
    part = getattr(Partition, word)(CNN)
    assert {site: part.n_parts(site) for site in part.sites} == names
    assert part.check(CNN) is part


def test_sequential_part_names() -> None:
    part = Partition.channels(CNN)
    assert part.node_names[2] == "conv.0/channel.0"
    assert part.node_names[6] == "linear.0/neuron.0"
    assert part.node_names[-1] == "logits/class.2"
    assert part.labels["conv.0"].tolist() == [k for k in range(4) for _ in range(4)]


def test_channels_of_a_transformer_are_refused() -> None:
    with pytest.raises(GraphError, match="modules, heads, units"):
        Partition.channels(TINY)


def test_mixed_first_match_wins_and_default() -> None:
    rois = Partition.from_labels({"mlp.1": [0, 1, -1, 0, 1]}, reasons={"mlp.1": {"constant": [2]}})
    part = Partition.mixed(TINY, {"attn.0": "heads", "attn.*": "units", "mlp.1": rois})
    assert part.n_parts("attn.0") == 3
    assert part.n_parts("attn.1") == 6
    assert part.part_names("mlp.1") == ("roi.0", "roi.1")
    assert part.part_names("mlp.0") == ("",)
    assert part.reasons == {"mlp.1": {"constant": (2,)}}
    assert "resid.0" not in part.labels


def test_mixed_views_only_when_asked_for() -> None:
    assert "resid.0" not in Partition.mixed(TINY, {"*": "units"}).labels
    part = Partition.mixed(TINY, {"resid.*": "units"})
    assert part.n_parts("resid.1") == 6
    assert part.sites.index("resid.0") == part.sites.index("mlp.0") + 1


def test_mixed_refuses_what_matches_nothing() -> None:
    with pytest.raises(GraphError, match=re.escape("'conv.*' matches no site")):
        Partition.mixed(TINY, {"conv.*": "units"})
    with pytest.raises(GraphError, match="granularity 'neurons'"):
        Partition.mixed(TINY, {"mlp.*": "neurons"})
    with pytest.raises(GraphError, match=re.escape("no labels for site 'mlp.0'")):
        Partition.mixed(TINY, {"mlp.*": Partition.from_labels({"mlp.1": [0] * 5})})


def test_check_names_site_and_numbers() -> None:
    with pytest.raises(GraphError, match=r"'mlp\.0' has 4 labels.*5 units"):
        Partition.from_labels({"mlp.0": [0] * 4}).check(TINY)
    with pytest.raises(GraphError, match=r"'conv\.0' is not one of"):
        Partition.channels(CNN).restrict(["conv.0"]).check(TINY)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 2], None, "label 2 of 's', which has 2 units"),
        ([0, 0, 2], None, "part 'roi.1' of 's' has no unit"),
        ([0, -2], None, "run from -2"),
        ([0.0, 1.0], None, "vector of integers"),
        ([[0], [1]], None, "vector of integers"),
        ([0, 1], ["a"], "label 1 of 's' has no name"),
        ([0, 1], ["a", "a"], "'a' of 's' is used twice"),
        ([0, 1], ["", "b"], "each needs a name"),
        ([0, 0], ["a", "b"], "part 'b' of 's' has no unit"),
    ],
)
def test_bad_labels(labels: list, names: list[str] | None, message: str) -> None:
    with pytest.raises(GraphError, match=re.escape(message)):
        Partition.from_labels({"s": labels}, names=None if names is None else {"s": names})


def test_empty_parts_must_be_recorded() -> None:
    part = Partition({"s": np.array([0, 0, -1])}, {"s": ("a", "b")}, empty={"s": ("b",)})
    assert part.part_sizes("s").tolist() == [2, 0]
    with pytest.raises(GraphError, match="said to be empty"):
        Partition({"s": np.array([0, 1])}, {"s": ("a", "b")}, empty={"s": ("b",)})


def test_reasons_must_be_about_dead_units() -> None:
    with pytest.raises(GraphError, match="unit 0 of 's' is not dead"):
        Partition.from_labels({"s": [0, -1]}, reasons={"s": {"constant": [0]}})


def test_labels_are_frozen_int32_and_copied() -> None:
    mine = np.array([0, 1, 1])
    part = Partition.from_labels({"s": mine})
    mine[0] = 1
    assert part.labels["s"].dtype == np.int32
    assert part.labels["s"].tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        part.labels["s"][0] = 5


def test_digest_is_stable_and_equality_follows_it() -> None:
    part = Partition.heads(TINY)
    # Written down: a change of this value orphans every saved partition.
    assert part.digest == "sha256:" + DIGEST_OF_TINY_HEADS
    assert part == Partition.mixed(TINY, {"attn.*": "heads"})
    assert hash(part) == hash(Partition.heads(TINY))
    assert part != Partition.modules(TINY)
    assert part != Partition.from_labels(part.labels)
    assert part != "heads"


DIGEST_OF_TINY_HEADS = "084dba91cb349611303760b433f03a99e25cc9a735972ab7d0a844c3b31c1598"


def test_nodes_columns() -> None:
    nodes = Partition.heads(TINY).nodes(TINY)
    assert nodes["level"].tolist() == [0, 1, 1, 1, 2, 3, 3, 3, 4, 5]
    assert nodes["size"].tolist() == [6, 2, 2, 2, 5, 2, 2, 2, 5, 11]
    assert nodes["label"].tolist() == [0, 0, 1, 2, 0, 0, 1, 2, 0, 0]
    assert nodes["site"][4] == "mlp.0"


def test_refines() -> None:
    coarse = Partition.from_labels({"s": [0, 0, 1, 1, -1]})
    assert Partition.from_labels({"s": [0, 1, 2, 2, -1]}).refines(coarse)
    assert Partition.from_labels({"s": [0, -1, 1, 1, -1]}).refines(coarse)
    assert coarse.refines(coarse)
    assert not Partition.from_labels({"s": [0, 1, 1, 2, -1]}).refines(coarse)
    assert not Partition.from_labels({"s": [0, 0, 1, 1, 2]}).refines(coarse)
    assert not Partition.from_labels({"t": [0, 0, 1, 1, 2]}).refines(coarse)
    with pytest.raises(GraphError, match="4 units here and 5"):
        Partition.from_labels({"s": [0, 0, 1, 1]}).refines(coarse)
    assert Partition.units(TINY).refines(Partition.heads(TINY))
    assert Partition.heads(TINY).refines(Partition.modules(TINY))
    assert not Partition.heads(TINY).refines(Partition.units(TINY))


def test_unknown_site_lists_the_known() -> None:
    with pytest.raises(GraphError, match=r"no site 'mlp\.9'; it has embed, attn\.0"):
        Partition.modules(TINY).node_index("mlp.9")
    with pytest.raises(GraphError, match=r"no site 'mlp\.9'"):
        Partition.modules(TINY).restrict(["mlp.0", "mlp.9"])


@st.composite
def partitions(draw: st.DrawFn) -> Partition:
    labels = {}
    for site in draw(st.lists(st.sampled_from("abcde"), unique=True, max_size=4)):
        raw = draw(st.lists(st.integers(-1, 4), max_size=12))
        rank = {value: k for k, value in enumerate(sorted(set(raw) - {-1}))}
        labels[site] = np.array([rank.get(value, -1) for value in raw], dtype=np.int64)
    return Partition.from_labels(labels)


@settings(max_examples=50, deadline=None)
@given(part=partitions())
def test_round_trip_and_node_index(part: Partition, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("partition")
    part.save(folder)
    again = Partition.load(folder)
    assert again == part
    assert again.sites == part.sites
    for site in part.sites:
        index = part.node_index(site)
        live = index >= 0
        names = np.array(part.node_names, dtype=object)[index[live]]
        wanted = [f"{site}/roi.{k}" for k in part.labels[site][live]]
        assert names.tolist() == wanted


def test_files_are_reproducible_and_checked(tmp_path) -> None:
    part = Partition.from_labels({"mlp.0": [0, 1, -1]}, reasons={"mlp.0": {"constant": [2]}})
    part.save(tmp_path / "a")
    part.save(tmp_path / "b")
    for name in ("partition.json", "labels.npy"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert Partition.load(tmp_path / "a").reasons == part.reasons

    np.save(tmp_path / "a" / "labels.npy", np.array([1, 0, -1], dtype="<i4"))
    with pytest.raises(GraphError, match="other labels"):
        Partition.load(tmp_path / "a")
    np.save(tmp_path / "a" / "labels.npy", np.array([1, 0], dtype="<i4"))
    with pytest.raises(GraphError, match="disagrees"):
        Partition.load(tmp_path / "a")
    (tmp_path / "a" / "labels.npy").write_bytes(b"")
    with pytest.raises(GraphError, match="not a readable partition"):
        Partition.load(tmp_path / "a")

    page = json.loads((tmp_path / "b" / "partition.json").read_text())
    (tmp_path / "b" / "partition.json").write_text(json.dumps(page | {"format": 99}))
    with pytest.raises(GraphError, match="in partition format 99, and this version reads 1"):
        Partition.load(tmp_path / "b")
    del page["sites"][0]["names"]
    (tmp_path / "b" / "partition.json").write_text(json.dumps(page))
    with pytest.raises(GraphError, match="lacks what a partition needs"):
        Partition.load(tmp_path / "b")
    with pytest.raises(GraphError, match="not a readable partition"):
        Partition.load(tmp_path / "nowhere")


def test_causal_partitions_are_complete_ordered_and_have_whole_logits() -> None:
    part = Partition.heads(TINY)
    assert part.check_causal(TINY) is part
    with pytest.raises(GraphError, match=r"site 'mlp\.0' is missing"):
        part.restrict([s for s in part.sites if s != "mlp.0"]).check_causal(TINY)
    backwards = Partition(dict(reversed(part.labels.items())), dict(reversed(part.names.items())))
    with pytest.raises(GraphError, match="must come in the order"):
        backwards.check_causal(TINY)
    split = Partition.mixed(TINY, {"logits": Partition.from_labels({"logits": np.arange(11) % 2})})
    with pytest.raises(GraphError, match="logits are in 2 parts"):
        split.check_causal(TINY)
    assert Partition.channels(CNN).check_causal(CNN).n_parts("logits") == 3
