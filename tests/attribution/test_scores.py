"""Sums of attributions over nodes, streamed, against sums over everything at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph.errors import DataError, GraphError
from compgraph.partition import Partition
from tests.attribution.test_record import record
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network


@pytest.mark.parametrize("rows", [1, 7, 20, 1000])
def test_scores_and_their_errors_whatever_the_chunks(tmp_path, rows):
    net, pairs = tiny_network("llama"), make_pairs(n=9, padded=True)
    sites = ["attn.*", "mlp.*"]
    rng = np.random.default_rng(0)
    labels = {"attn.0": np.full(24, 0), "mlp.1": rng.integers(-1, 3, 36), "embed": np.zeros(24, int)}
    partition = Partition.from_labels(labels)
    buffer = record(tmp_path, net, pairs, sites=sites, chunk_bytes=rows * 36 * 4)
    table = cg.node_scores(buffer, partition)
    assert set(table["site"]) == {"attn.0", "mlp.1"}  # embed has no attributions
    values = cg.node_attributions(net, pairs, sites=sites)
    for row in table.itertuples():
        units = labels[row.site] == row.label
        sums = np.array([values.read(row.site)[values.item == i][:, units].sum() for i in range(pairs.n)])
        assert row.size == units.sum()
        assert row.score == pytest.approx(sums.mean(), rel=1e-4, abs=1e-6)
        assert row.stderr == pytest.approx(sums.std(ddof=1) / np.sqrt(pairs.n), rel=1e-4, abs=1e-6)


def test_heads_are_sums_of_units_and_modules_sums_of_heads():
    net, pairs = tiny_network("neox", dtype=torch.float64), make_pairs()
    found = cg.node_attributions(net, pairs)
    tables = [cg.node_scores(found, getattr(Partition, word)(net)) for word in ("units", "heads", "modules")]
    totals = [table.groupby("site")["score"].sum() for table in tables]
    for total in totals[1:]:
        np.testing.assert_allclose(total, totals[0], rtol=0, atol=1e-12 * np.abs(totals[0]).max())


def test_one_example_has_no_error_to_speak_of():
    net, pairs = tiny_network("gpt2"), make_pairs(n=2)
    pairs = cg.PromptPairs(pairs.clean[:1], pairs.corrupted[:1], pairs.answers[:1], pairs.distractors[:1])
    assert (cg.node_scores(cg.node_attributions(net, pairs), Partition.heads(net))["stderr"] == 0).all()


def test_what_has_no_scores(tmp_path):
    net, pairs = tiny_network("gpt2"), make_pairs()
    found = cg.node_attributions(net, pairs, sites="mlp.*")
    with pytest.raises(DataError, match=r"none of the partition's sites has attributions; there are mlp\.0, mlp\.1"):
        cg.node_scores(found, Partition.heads(net).restrict(["attn.0"]))
    with pytest.raises(GraphError):
        cg.node_scores(found, Partition.heads(tiny_network("llama")))
    with pytest.raises(DataError, match=r"site 'embed' has no attributions here; there are mlp.0, mlp.1"):
        found.read("embed")
    buffer = cg.record_activations(net, pairs, tmp_path / "b.json", sites="mlp.*")
    with pytest.raises(DataError, match="this buffer holds a unit's activation"):
        cg.node_scores(buffer, Partition.heads(net))
