"""Bad input of effective methods: one clear error before any pass; not-finite numbers named with their site."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from compgraph.catalogue import EFFECTIVE
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.prompts import PromptPairs
from compgraph.errors import CompgraphError, DataError, GraphError, ModelError
from compgraph.models.counting import count_passes
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import Images, chain, make_pairs
from tests.models.tiny import tiny_network


def several(logits, targets):
    """Two numbers an example."""
    return logits[:, :2]


def undefined(logits, targets):
    """Not a number."""
    return logits[:, 0] * float("nan")


def root(logits, targets):
    """Finite, with an infinite gradient."""
    return (logits[:, 0] - logits[:, 0].detach()).abs().sqrt()


def refused(error, message, net, pairs, method="eap", partition=None, **options):
    """The call ends in this error and no pass was made."""
    with count_passes() as made, pytest.raises(error, match=message):
        effective_connectivity(net, pairs, partition or Partition.modules(net), method, **options)
    assert (made.forward, made.backward) == (0, 0)


@pytest.fixture
def net():
    return tiny_network("gpt2", dtype=torch.float64)


@pytest.mark.parametrize("name", ["clean", "corrupted", "answers", "distractors"])
@pytest.mark.parametrize("value", [10**6, -2])
def test_ids_that_the_network_does_not_have(net, name, value):
    pairs = make_pairs(n=3, t=4)
    getattr(pairs, name)[1, -1] = value  # after the pairs' own checks
    message = rf"example '{pairs.ids[1]}': {name} holds {value}; this network's ids are 0 to {net.spec.vocabulary - 1}"
    refused(DataError, message, net, pairs)
    if name in ("answers", "distractors"):
        pairs = Images()
        setattr(pairs, name, getattr(pairs, name).copy())
        getattr(pairs, name)[1, 0] = value
        refused(DataError, rf"{name} holds {value}; this network's ids are 0 to ", chain(), pairs)


def test_pairs_of_differing_lengths(net):
    pairs = make_pairs(n=3, t=4)
    with pytest.raises(DataError, match="clean"):
        PromptPairs(pairs.clean, pairs.corrupted[:, :3], pairs.answers, pairs.distractors)
    pairs.corrupted = pairs.corrupted[:, :3]
    refused(DataError, r"corrupted has shape \[3, 3\] and clean \[3, 4\]; a counterfactual must be as long", net, pairs)


def test_data_of_another_kind(net):
    refused(DataError, r"a transformer network reads token ids \[n, t\]; the data are float", net, Images())
    refused(DataError, "a sequential network reads images; the data are int64", chain(), make_pairs())


def test_prompts_longer_than_the_network_reads(net):
    n = len(net.weights.positions) + 1
    message = rf"has {n} tokens; this network reads at most {n - 1}"
    refused(DataError, message, net, make_pairs(n=2, t=n), baseline="zero")


@pytest.mark.parametrize("name", [name for name, e in EFFECTIVE.items() if any(o.name == "steps" for o in e.options)])
def test_zero_steps(net, name):
    refused(CompgraphError, "steps is 0; it must be at least 1", net, make_pairs(), name, steps=0)


@pytest.mark.parametrize("name", [name for name, entry in EFFECTIVE.items() if entry.at_clean])
def test_metrics_that_are_flat_in_the_clean_run(net, name):
    refused(
        DataError,
        f"'kl' is at its minimum in the clean run, so that {name} would",
        net,
        make_pairs(),
        name,
        metric="kl",
    )


def test_metrics_that_are_flat_on_the_only_points_of_a_path(net):
    message = "all that eap-ig-activations looks at with steps: 1; take steps of at least 2"
    refused(DataError, message, net, make_pairs(), "eap-ig-activations", metric="kl", steps=1)
    before_any_pass = PromptPairs(make_pairs().clean)  # without what a baseline is made from
    for options, only in (({}, "edge_steps"), ({"steps": 1}, "steps"), ({"steps": 1, "edge_steps": 2}, "steps")):
        message = f"all that node-ig looks at with {only}: 1; take {only} of at least 2"
        refused(DataError, message, net, before_any_pass, "node-ig", metric="kl", **options)


def test_methods_that_do_not_serve_a_network(net):
    for name in (name for name, entry in EFFECTIVE.items() if "sequential" not in entry.serves):
        refused(ModelError, f"'{name}' does not serve sequential networks", chain(), Images(), name)
    refused(GraphError, "'random' does not average over examples", net, make_pairs(), "random", bootstrap=10)


def test_metrics_without_what_they_need(net):
    pairs = make_pairs(n=3, t=4)
    without = PromptPairs(pairs.clean, pairs.corrupted, pairs.answers)
    refused(DataError, "this metric needs distractors, which the data do not have", net, without)
    refused(DataError, "'accuracy' has no gradient", net, pairs, metric="accuracy")
    assert effective_connectivity(net, pairs, Partition.modules(net), "exact", metric="accuracy").n_edges > 0
    assert effective_connectivity(net, without, Partition.modules(net), "information-flow-routes").n_edges > 0


def test_metrics_of_another_shape(net):
    message = r"gives \[2, 2\] for 2 examples; one number an example is needed"
    refused(DataError, message, net, make_pairs(n=3), metric=f"{__name__}:several")


# ---------------------------------------------------------------- numbers that are not finite


def broken(net, place):
    """The network with weights of one place too large for its arithmetic."""
    blocks = list(net.weights.blocks)
    field, layer = place
    blocks[layer] = replace(blocks[layer], **{field: getattr(blocks[layer], field) * float("inf")})
    return Transformer(net.spec, replace(net.weights, blocks=type(net.weights.blocks)(blocks)))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("w_in", 0), "the units of mlp.0 are the first in the clean run that are not finite"),
        (("w_v", 1), "the units of attn.1 are the first in the clean run that are not finite"),
        (("w_out", 1), "the logits of the clean run are not finite, and all sites before them are"),
    ],
)
def test_the_first_site_that_is_not_finite_is_named(net, place, said):
    pairs = make_pairs(n=3, t=4)
    with pytest.raises(DataError, match=rf"eap: scores of example '{pairs.ids[0]}' .*are not finite: {said}"):
        effective_connectivity(broken(net, place), pairs, Partition.modules(net))


def test_metrics_and_gradients_that_are_not_finite(net):
    pairs, partition = make_pairs(n=3, t=4), Partition.modules(net)
    with pytest.raises(DataError, match=r"the metric '.*undefined' of the clean run is not finite, and the logits are"):
        effective_connectivity(net, pairs, partition, metric=f"{__name__}:undefined")
    last = net.steps[-1]
    with pytest.raises(
        DataError, match=f"the gradient at {last} is the first, from the output back, that is not finite"
    ):
        effective_connectivity(net, pairs, partition, metric=f"{__name__}:root")


def test_what_is_finite_in_the_clean_run_is_said_to_be(net, monkeypatch):
    pairs = make_pairs(n=3, t=4)
    rows = np.isin(np.arange(net.spec.vocabulary), pairs.clean)
    token = next(t for t in np.unique(pairs.corrupted) if not rows[t])
    embedding = net.weights.embedding.clone()
    embedding[int(token)] = float("nan")
    assert net.weights.unembedding is not embedding
    poisoned = Transformer(net.spec, replace(net.weights, embedding=embedding))
    with pytest.raises(
        DataError, match="all is finite in the clean run, so it is on the way from there to the baseline"
    ):
        effective_connectivity(poisoned, pairs, Partition.modules(net), "eap-ig-inputs")
