"""Every compiled case does its task, by its true edges and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.run import run_circuits
from compgraph.data.prompts import PromptPairs
from compgraph.errors import ModelError
from compgraph.graph import ComputationalGraph
from compgraph.models.compiled import CASES, CompiledCase, compile_case
from compgraph.partition import Partition

VARIANTS = {
    "plain": {},
    "bare": {"decoys": False},
    "rotated": {"rotation": 1},
    "rms": {"norm": "rms"},
    "layer, rotated": {"norm": "layer", "rotation": 2},
}
APPROXIMATE = ("rms", "layer, rotated")
"""Where a norm is steady only to about 1e-4."""


def mask_of(case: CompiledCase) -> tuple[ComputationalGraph, np.ndarray]:
    graph = ComputationalGraph.from_architecture(case.net, Partition.heads(case.net))
    ends = zip(graph.source, graph.target, graph.channel, strict=True)
    named = [(graph.node_names[s], graph.node_names[t], graph.channels[c]) for s, t, c in ends]
    assert case.true_edges <= set(named)
    return graph, np.array([edge in case.true_edges for edge in named])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CASES)
def test_the_true_edges_and_only_they_carry_the_task(name, variant):
    case = compile_case(name, **VARIANTS[variant])
    pairs = PromptPairs(**case.examples(16))
    graph, true = mask_of(case)
    without = [graph.subgraph(np.arange(graph.n_edges) != edge) for edge in np.flatnonzero(true)]
    with torch.no_grad():
        run = case.net.run(torch.from_numpy(pairs.clean), positions=torch.from_numpy(pairs.positions))
    logits = run.logits
    assert (logits.argmax(-1).numpy() == pairs.answers[:, 0]).all()
    only, *ablated = run_circuits(case.net, [graph.subgraph(true), *without], pairs)
    atol = 1e-3 if variant in APPROXIMATE else 1e-12  # of logits of 10
    torch.testing.assert_close(only, logits, rtol=0, atol=atol)
    for edge, changed in zip(np.flatnonzero(true), ablated, strict=True):
        wrong = changed.argmax(-1) != logits.argmax(-1)
        assert wrong.any(), f"{name} does not need {graph.edges.iloc[edge].to_dict()}"


@pytest.mark.parametrize("name", CASES)
def test_the_margin_is_wide(name):
    """The right class has logit 10, no other one more than attention's softness gives it."""
    case = compile_case(name)
    data = case.examples(40, seed=3)
    tokens, at = torch.from_numpy(data["clean"]), torch.from_numpy(data["positions"])
    with torch.no_grad():
        logits = case.net.run(tokens, positions=at).logits
    answers = torch.from_numpy(data["answers"])[:, None]
    assert logits.gather(1, answers).min() > 9.9
    assert logits.scatter(1, answers, -1).max() < 0.1


@pytest.mark.parametrize("name", CASES)
def test_decoys_change_nothing(name):
    with_them, without = compile_case(name), compile_case(name, decoys=False)
    data = with_them.examples(16, seed=1)
    tokens = torch.from_numpy(data["clean"])
    with torch.no_grad():
        torch.testing.assert_close(with_them.net.run(tokens).logits, without.net.run(tokens).logits, rtol=0, atol=1e-12)
    assert with_them.net.spec.n_heads == without.net.spec.n_heads + 3
    assert len(with_them.true_edges) == len(without.true_edges)


@pytest.mark.parametrize("name", CASES)
def test_a_little_noise_is_survived(name):
    noise = 0.002 if name == "occurrences" else 0.01  # a count read off a softmax's denominator is delicate
    noisy, clean = compile_case(name, noise=noise, seed=4), compile_case(name)
    data = noisy.examples(24)
    tokens, at = torch.from_numpy(data["clean"]), torch.from_numpy(data["positions"])
    with torch.no_grad():
        logits, exact = (case.net.run(tokens, positions=at).logits for case in (noisy, clean))
    assert (logits.argmax(-1).numpy() == data["answers"]).all()
    assert (logits - exact).abs().max() > 1e-2  # and felt


def test_the_true_edges_by_name():
    assert compile_case("induction").true_edges == {
        ("embed", "attn.0/head.1", "v"),
        ("embed", "attn.1/head.1", "q"),
        ("attn.0/head.1", "attn.1/head.1", "k"),
        ("embed", "attn.1/head.1", "v"),
        ("attn.1/head.1", "logits", ""),
    }
    assert compile_case("induction", decoys=False).true_edges == {
        (source.replace("head.1", "head.0"), target.replace("head.1", "head.0"), channel)
        for source, target, channel in compile_case("induction").true_edges
    }


@pytest.mark.parametrize("name", CASES)
def test_examples(name):
    case = compile_case(name)
    data = case.examples(50, seed=2)
    again = case.examples(50, seed=2)
    assert all(np.array_equal(data[key], again[key]) for key in data)
    assert not np.array_equal(data["clean"], case.examples(50, seed=3)["clean"])
    assert (data["answers"] != data["distractors"]).all()
    assert set(data["positions"]) <= set(case.positions)
    assert data["clean"].shape == data["corrupted"].shape == (50, case.net.spec.max_positions)
    assert data["clean"].max() < case.net.spec.vocabulary and data["clean"].min() >= 0
    assert len(set(data["answers"])) > 2
    swapped = torch.from_numpy(data["corrupted"]), torch.from_numpy(data["positions"])
    with torch.no_grad():
        logits = case.net.run(swapped[0], positions=swapped[1]).logits
    assert (logits.argmax(-1).numpy() == data["distractors"]).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("quicksort", {}, "'quicksort' is not known; valid are previous-token"),
        ("sort", {"layers": 2}, "no option 'layers'; valid are norm"),
        ("sort", {"norm": "batch"}, "norm 'batch' is not known"),
        ("sort", {"noise": -1.0}, "noise -1.0 is out of range"),
    ],
)
def test_bad_requests(name, options, message):
    with pytest.raises(ModelError, match=message):
        compile_case(name, **options)
