from __future__ import annotations

import pytest
import torch

from compgraph.errors import ModelError
from compgraph.models.randomised import randomised
from compgraph.models.sequential import Sequential
from tests.models.tiny import VARIANTS, tiny_network, tiny_tokens

HOW = ("reinitialised", "shuffled", "rotated")


def chain() -> Sequential:
    layers = [
        {"type": "conv", "channels": 3, "kernel": 2},
        {"type": "relu"},
        {"type": "flatten"},
        {"type": "linear", "features": 4},
    ]
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(shape, generator=generator)
        for name, shape in {
            "conv.0.weight": (3, 1, 2, 2), "conv.0.bias": (3,), "logits.weight": (4, 12), "logits.bias": (4,)
        }.items()
    }  # fmt: skip
    return Sequential(layers, (1, 3, 3), weights)


def tensors(net) -> dict[str, torch.Tensor]:
    """Every trained tensor that a test compares."""
    if isinstance(net, Sequential):
        return net.weights
    block = net.weights.blocks[0]
    named = {name: getattr(block, name) for name in ("w_q", "w_v", "w_o", "w_in", "w_out", "b_in")}
    named |= {"embedding": net.weights.embedding, "gain": block.attn_norm.gain}
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def networks():
    return [*(tiny_network(variant) for variant in VARIANTS), chain()]


@pytest.mark.parametrize("net", networks(), ids=[*VARIANTS, "chain"])
@pytest.mark.parametrize("how", HOW)
def test_every_family_runs_with_other_weights_of_the_same_shapes(net, how: str) -> None:
    made = randomised(net, how, seed=1)
    values = torch.ones(2, 1, 3, 3) if net.kind == "sequential" else tiny_tokens(2, 5)
    before, after = net.run(values).logits, made.run(values).logits
    assert after.shape == before.shape
    assert torch.isfinite(after).all()
    assert not torch.allclose(before, after, atol=1e-4)
    assert made.digest != net.digest
    assert made.architecture == net.architecture
    again, other = (randomised(net, how, seed=seed).run(values).logits for seed in (1, 2))
    assert torch.equal(after, again)
    assert not torch.allclose(after, other, atol=1e-4)


@pytest.mark.parametrize("net", [tiny_network("gpt2"), tiny_network("llama"), chain()], ids=["gpt2", "llama", "chain"])
def test_what_is_kept(net) -> None:
    shuffled, rotated = (tensors(randomised(net, how, seed=0)) for how in ("shuffled", "rotated"))
    for name, tensor in tensors(net).items():
        assert torch.equal(shuffled[name].flatten().sort().values, tensor.flatten().sort().values)
        if tensor.ndim > 1:
            pair = (tensor.double(), rotated[name].double())
            matrix, turned = (one.flatten(1) if one.ndim == 4 else one for one in pair)
            assert not torch.allclose(matrix, turned, atol=1e-3)
            torch.testing.assert_close(torch.linalg.svdvals(turned), torch.linalg.svdvals(matrix), atol=1e-5, rtol=1e-5)
        else:
            assert torch.equal(rotated[name], tensor)


def test_new_entries_have_the_moments_of_the_old() -> None:
    net = tiny_network("gpt2")
    old, new = net.weights.embedding, randomised(net, "reinitialised", seed=0).weights.embedding
    assert new.mean() == pytest.approx(float(old.mean()), abs=0.1 * float(old.std()))
    assert new.std() == pytest.approx(float(old.std()), rel=0.1)


def test_tied_tensors_stay_tied_and_the_network_is_not_changed() -> None:
    net = tiny_network("gpt2")
    before = net.weights.embedding.clone()
    made = randomised(net, "shuffled", seed=0)
    assert made.weights.unembedding.data_ptr() == made.weights.embedding.data_ptr()
    assert torch.equal(net.weights.embedding, before)


def test_another_word_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'mixed'; valid are reinitialised, shuffled, rotated"):
        randomised(chain(), "mixed")
