"""Assembly: bases, norms, noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.models.compiled import compile_case
from compgraph.models.compiled.assembly import BALLAST, assemble
from compgraph.models.compiled.program import Head, Layer, Program, Space


def tokens(case, n=8):
    return torch.from_numpy(case.examples(n)["clean"])


def test_assembly_is_the_program():
    """One head by hand against the same sums in plain numpy."""
    rng = np.random.default_rng(0)
    space = Space(tok=3, out=2)
    q, k, v = (rng.normal(size=(5, width)) for width in (2, 2, 3))
    o = rng.normal(size=(3, 5))
    embedding, positions, unembedding = rng.normal(size=(4, 5)), rng.normal(size=(6, 5)), rng.normal(size=(4, 5))
    program = Program(space, embedding, positions, unembedding, [Layer([Head(q, k, v, o, role="one")])])
    assert program.nodes() == {"embed": "embed", "logits": "logits", "mlp.0": "mlp.0", "one": "attn.0/head.0"}
    net = assemble(program)
    row = np.array([1, 3, 0])
    x = embedding[row] + positions[:3]
    scores = np.where(np.tri(3) > 0, (x @ q) @ (x @ k).T, -np.inf)
    pattern = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = (x + pattern @ (x @ v) @ o) @ unembedding.T
    np.testing.assert_allclose(net.run(torch.from_numpy(row)[None]).logits[0].numpy(), expected, atol=1e-12)
    assert not net.spec.has_mlp and net.spec.norm == "none"


@pytest.mark.parametrize("norm", ["none", "rms", "layer"])
def test_a_rotation_changes_the_basis_and_not_the_function(norm):
    plain, turned = compile_case("two-branch", norm=norm), compile_case("two-branch", norm=norm, rotation=5)
    rows = tokens(plain)
    with torch.no_grad():
        torch.testing.assert_close(plain.net.run(rows).logits, turned.net.run(rows).logits, rtol=0, atol=1e-9)
    coordinates = turned.net.weights.embedding
    assert (plain.net.weights.embedding != 0).sum(1).max() <= 2
    assert ((coordinates.abs() > 1e-3).sum(1) > coordinates.shape[1] / 2).all()
    other = compile_case("two-branch", norm=norm, rotation=6).net.weights.embedding
    assert not torch.allclose(coordinates, other)


@pytest.mark.parametrize("rotation", [None, 3])
def test_layer_norm_finds_streams_of_mean_zero(rotation):
    net = compile_case("frac-prevs", norm="layer", rotation=rotation).net
    rows = tokens(compile_case("frac-prevs"))
    streams = []

    def keep(x):
        streams.append(x)
        return x

    with torch.no_grad():
        net.run(rows, edit={f"resid.{layer}": keep for layer in range(2)})
    assert len(streams) == 2
    for x in streams:
        assert x.mean(-1).abs().max() < 1e-12
        square = x.pow(2).sum(-1)
        assert square.min() > BALLAST**2 and square.max() < BALLAST**2 * (1 + 1e-3)


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_norms_are_undone(norm):
    plain, normed = compile_case("sort"), compile_case("sort", norm=norm)
    rows = tokens(plain)
    with torch.no_grad():
        gap = (plain.net.run(rows).logits - normed.net.run(rows).logits).abs().max()
    assert 0 < gap < 1e-3
    assert normed.net.spec.norm == norm


def test_noise_has_the_size_that_was_asked_for():
    plain, noisy = compile_case("two-back"), compile_case("two-back", noise=0.1, seed=1)
    for name in ("w_q", "w_k", "w_v", "w_o", "w_in", "w_out"):
        before, after = (
            torch.stack([getattr(block, name) for block in case.net.weights.blocks]) for case in (plain, noisy)
        )
        assert float((after - before).std() / before.pow(2).mean().sqrt()) == pytest.approx(0.1, rel=0.1)
    for name in ("embedding", "unembedding"):
        before, after = getattr(plain.net.weights, name), getattr(noisy.net.weights, name)
        assert float((after - before).std() / before.pow(2).mean().sqrt()) == pytest.approx(0.1, rel=0.15)
    assert torch.equal(plain.net.weights.positions, noisy.net.weights.positions)
    assert plain.net.digest == compile_case("two-back").net.digest != noisy.net.digest
    again, other = compile_case("two-back", noise=0.1, seed=1), compile_case("two-back", noise=0.1, seed=2)
    assert torch.equal(noisy.net.weights.embedding, again.net.weights.embedding)
    assert not torch.equal(noisy.net.weights.embedding, other.net.weights.embedding)


def test_dtype():
    net = compile_case("reverse", dtype=torch.float32, norm="rms").net
    assert net.dtype == torch.float32
    case = compile_case("reverse")
    rows = tokens(case)
    with torch.no_grad():
        single, double = net.run(rows).logits, case.net.run(rows).logits
    assert single.dtype == torch.float32
    assert (single.double() - double).abs().max() < 1e-2
