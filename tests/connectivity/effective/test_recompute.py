"""Layers run again on the way back: the same scores from a fraction of the memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from compgraph.catalogue import EFFECTIVE
from compgraph.connectivity.effective import effective_connectivity, feature_products, products, streams
from compgraph.errors import ModelError
from compgraph.partition import Partition
from tests.connectivity.effective.feature_brute import with_features
from tests.connectivity.effective.test_cost import assert_estimated
from tests.connectivity.effective.test_dictionaries import ORDERS
from tests.connectivity.effective.test_eap import ONE_PER_FAMILY, Images, chain, make_pairs
from tests.models.tiny import tiny_network

OPTIONS = {
    "eap-ig-inputs": {"steps": 3},
    "eap-ig-activations": {"steps": 2},
    "eap-gp": {"steps": 2},
    "ceap": {"steps": 2},
}
ABLE = [name for name, entry in EFFECTIVE.items() if entry.recomputes]


def both(net, pairs, partition, method, **asked):
    """Scores of all edges without and with recomputation."""
    return [
        effective_connectivity(net, pairs, partition, method, recompute=recompute, **asked).edges
        for recompute in (False, True)
    ]


def assert_same(plain, again):
    for column in {"weight", "stderr"} & set(plain):
        scale = np.nanmax(np.abs(plain[column]), initial=0)
        np.testing.assert_allclose(again[column], plain[column], rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("method", ABLE)
@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_scores_are_those_of_the_plain_pass(method, variant, monkeypatch):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=5, t=6)
    monkeypatch.setattr(streams, "BLOCK_BYTES", 2**12)  # a few positions at a time
    for partition, asked in [
        (Partition.heads(net), {"baseline": "counterfactual"}),
        (Partition.modules(net), {"split_qkv": False, "baseline": "zero", "batch_size": 2}),
        (Partition.units(net), {"baseline": "position-mean"}),
    ]:
        assert_same(*both(net, pairs, partition, method, **asked, **OPTIONS.get(method, {})))


@pytest.mark.parametrize("method", ABLE)
@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_features_and_errors(method, variant, monkeypatch):
    net = with_features(
        tiny_network(variant, dtype=torch.float64), {"mlp.0": "hidden", "attn.1": "write", "mlp.1": "write"}
    )
    pairs, options = make_pairs(n=3, t=6), OPTIONS.get(method, {})
    monkeypatch.setattr(streams, "BLOCK_BYTES", 2**12)
    for few, dense in ORDERS.values():
        monkeypatch.setattr(products, "FEW", few)
        monkeypatch.setattr(feature_products, "DENSE", dense)
        assert_same(*both(net, pairs, Partition.units(net), method, **options))
    assert_same(*both(net, pairs, Partition.modules(net), method, baseline="zero", **options))


def test_grad_drop_and_metrics_that_compare_with_the_clean_run():
    net, pairs = tiny_network("gemma2", dtype=torch.float64), make_pairs(n=3, t=6)
    assert_same(*both(net, pairs, Partition.heads(net), "eap", grad_drop=True))
    assert_same(*both(net, pairs, Partition.modules(net), "eap-ig-inputs", metric="kl", bootstrap=10))


@pytest.mark.parametrize("method", ABLE)
def test_passes_are_estimated(method):
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=8, t=6)
    assert_estimated(net, pairs, Partition.heads(net), method, OPTIONS.get(method, {}), recompute=True)


def test_refused_where_layers_cannot_be_run_one_by_one():
    net, pairs = tiny_network("gpt2"), make_pairs(n=2, t=6)
    heads = Partition.heads(net)
    with pytest.raises(ModelError, match=r"'gradient-norm' has no such option; those that do: eap, clean-corrupted"):
        effective_connectivity(net, pairs, heads, "gradient-norm", recompute=True)
    for option in ({"qk_fix": True}, {"keep": 3}, {"keep_overall": 3}):
        with pytest.raises(ModelError, match=f"cannot be combined with {next(iter(option))}"):
            effective_connectivity(net, pairs, heads, "eap", recompute=True, **option)
    images = chain()
    with pytest.raises(ModelError, match="this is a sequential network"):
        effective_connectivity(images, Images(), Partition.modules(images), "eap", recompute=True)


LIMITED = """
import resource, sys
import torch
from compgraph.connectivity.effective import effective_connectivity
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network

torch.set_num_threads(1)
net = tiny_network("gpt2", n_layer=24, n_embd=64, n_head=4, n_positions=256)
pairs = make_pairs(n=1, t=256)
effective_connectivity(net, make_pairs(n=1, t=4), Partition.heads(net), recompute=True)
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
limit = used * 1024 + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
effective_connectivity(net, pairs, Partition.heads(net), recompute=sys.argv[2] == "recompute")
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of data memory are Linux's")
@pytest.mark.parametrize(("how", "fits"), [("plain", False), ("recompute", True)])
def test_runs_where_the_plain_pass_does_not_fit(how, fits):
    done = subprocess.run([sys.executable, "-c", LIMITED, "64", how], capture_output=True, text=True)
    assert (done.returncode == 0) == fits, done.stderr
    assert fits or "memory" in done.stderr
