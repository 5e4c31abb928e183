"""Input-output weights against explicit products, and the strongest of them against all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.connectivity.blockwise.score_matrix import open_score_matrix
from compgraph.connectivity.structural import cosines, edges, structural_connectivity
from compgraph.errors import DataError, GraphError
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.partition import Partition
from tests.connectivity.structural.dense import Dense, by_feature, featured
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


def vectors(net, via):
    """Site -> what every unit writes and reads (values at attention), centred: [units, d_model] each."""
    dense, found = Dense(net), {}
    for site in net.architecture.node_sites[1:-1]:
        encoder = dense.encoder(site.name)
        block = dense.block(site.name)
        if site.kind == "attn":
            read = torch.cat(dense.heads(site.name, "v"), 1)
        else:
            gate = via == "gate" and block.w_gate is not None
            read = dense.gained(block.w_gate if gate else block.w_in, block.mlp_norm)
        found[site.name] = dense.rows(site.name) @ dense.centre, (read @ encoder).T
    return found


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("score", ["cosine", "product"])
def test_units_equal_products_of_their_vectors(variant, score):
    net = tiny_network(variant, dtype=torch.float64)
    for via in ("in", "gate"):
        table = structural_connectivity(net, Partition.units(net), "input-output", score=score, via=via).edges
        found = vectors(net, via)
        for source, target, channel in (("attn.0", "mlp.1", ""), ("mlp.0", "attn.1", "v"), ("mlp.0", "mlp.1", "")):
            written, read = found[source][0], found[target][1]
            expected = read @ written.T
            if score == "cosine":
                expected = expected / (read.norm(dim=1)[:, None] * written.norm(dim=1))
            some = table[
                table.source.str.startswith(source)
                & table.target.str.startswith(target)
                & (table.channel == channel)
                & ~table.source.str.endswith("pattern")
                & ~table.target.str.endswith("pattern")
            ]
            np.testing.assert_allclose(some.weight, expected.flatten(), atol=1e-10)


@pytest.mark.parametrize("variant", ["gpt2", "llama"])
def test_features_equal_products_of_their_vectors(variant):
    net = featured(tiny_network(variant, dtype=torch.float64))
    table = structural_connectivity(net, by_feature(net), "input-output", score="product").edges
    found = vectors(net, "in")
    for source, target, channel in (("mlp.0", "mlp.1", ""), ("attn.0", "attn.1", "v"), ("mlp.0", "attn.1", "v")):
        some = table[(table.channel == channel) & table.source.str.startswith(source)]
        some = some[some.target.str.startswith(target) & ~some.source.str.endswith("pattern")]
        matrix = some.weight.to_numpy().reshape(6, 6)
        expected = found[target][1] @ found[source][0].T
        np.testing.assert_allclose(matrix[:5, :5], expected[:5, :5], atol=1e-10)
        assert matrix[5, 5] == pytest.approx(float(expected[5:, 5:].norm()), abs=1e-10)  # error to error: not signed
        assert matrix[5, 0] == pytest.approx(float(expected[5:, 0].norm()), abs=1e-10)


@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
@pytest.mark.parametrize("score", ["cosine", "product"])
def test_the_strongest_are_those_of_all(variant, score, monkeypatch, tmp_path):
    monkeypatch.setattr(cosines, "BLOCK", 3000)  # several blocks
    net = tiny_network(variant, dtype=torch.float64)
    part = Partition.units(net)
    whole = structural_connectivity(net, part, "input-output", score=score)
    some = structural_connectivity(
        net, part, "input-output", score=score, keep=3, keep_overall=50, matrix=tmp_path / "all.json"
    )
    number = {edge: k for k, edge in enumerate(zip(whole.source, whole.target, whole.channel, strict=True))}
    at = np.array([number[edge] for edge in zip(some.source, some.target, some.channel, strict=True)])
    strength = np.abs(whole.weight)
    wanted = set(np.argsort(-strength, kind="stable")[:50])
    for target in np.unique(whole.target):
        into = np.flatnonzero(whole.target == target)
        wanted |= set(into[np.argsort(-strength[into], kind="stable")[:3]])
    assert np.sort(strength[at]) == pytest.approx(np.sort(strength[sorted(wanted)]), abs=1e-12)
    np.testing.assert_allclose(some.weight, whole.weight[at], atol=1e-12)
    np.testing.assert_allclose(some.columns["z"], whole.columns["z"][at], atol=1e-8)
    assert some.attributes["n_edges_scored"] == whole.n_edges
    np.testing.assert_allclose(some.node_columns["in_sum"], whole.node_scores("in"), atol=1e-9)
    adjusted, exact = some.columns["p_adjusted"], benjamini_hochberg(whole.columns["p"])[at]
    tested = ~np.isnan(exact)
    assert (adjusted[tested] >= exact[tested] * (1 - 1e-6)).all() and (np.isnan(adjusted) == ~tested).all()
    assert np.median(adjusted[tested] / exact[tested]) < 1.05
    stored = open_score_matrix(tmp_path / "all.json").between("mlp.1", "mlp.0")
    table = whole.edges
    some = table[table.source.str.startswith("mlp.0") & table.target.str.startswith("mlp.1")]
    np.testing.assert_allclose(stored.flatten(), some.weight, rtol=1e-6, atol=1e-7)


def test_signed_z_and_two_sided_p_of_single_vectors():
    net = tiny_network("gpt2", dtype=torch.float64)
    table = structural_connectivity(net, Partition.units(net), "input-output").edges
    some = table[table.source.str.startswith("mlp.0/neuron") & table.target.str.startswith("mlp.1/neuron")]
    np.testing.assert_allclose(some.z, some.weight * np.sqrt(23))
    assert some.p[some.weight.abs().idxmax()] == some.p.min()


def test_bad_input_is_refused(monkeypatch):
    net = tiny_network("gpt2")
    part = Partition.units(net)
    with pytest.raises(GraphError, match="score 'dot' is not known; valid are cosine, product"):
        structural_connectivity(net, part, "input-output", score="dot")
    with pytest.raises(GraphError, match="keep is -1"):
        structural_connectivity(net, part, "input-output", keep=-1)
    monkeypatch.setattr(edges, "available_memory", lambda: 10**6)
    with pytest.raises(DataError, match=r"20,269 edges need about .* keep only the strongest"):
        structural_connectivity(net, part, "input-output")
