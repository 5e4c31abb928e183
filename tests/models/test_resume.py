"""A pass that starts behind a site gives the logits of the whole pass, at the scored positions alone too."""

from __future__ import annotations

import pytest
import torch

from compgraph.connectivity.effective.walk import walk
from compgraph.data.batches import Batch
from compgraph.metrics import Targets
from tests.models.tiny import VARIANTS, tiny_mask, tiny_network, tiny_tokens


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("side", [None, "left", "right"])
def test_resumed_behind_every_site(variant, side):
    net, tokens = tiny_network(variant, dtype=torch.float64), tiny_tokens(3, 7)
    mask = None if side is None else tiny_mask([7, 4, 5], 7, side)
    positions = torch.tensor([6, 3, 4]) if side == "right" else torch.tensor([6, 6, 5])
    batch = Batch(range(3), tokens, None, mask, positions, Targets(None, None))
    context = net.context(tokens, mask)
    with torch.no_grad():
        whole = net.run(tokens, mask).logits
        expected = whole[torch.arange(3), positions]
        steps = [step for step in walk(net, batch, context) if step.site != "logits"]
        assert [step.site for step in steps] == net.steps
        for step in steps:
            everywhere = net.resume(step.site, step.after, step.before, context, None)
            scored = net.resume(step.site, step.after, step.before, context, positions)
            torch.testing.assert_close(everywhere, whole, rtol=0, atol=1e-12)
            torch.testing.assert_close(scored, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", ["gpt2", "neox", "gemma2"])
def test_units_without_logits(variant):
    net, tokens, mask = tiny_network(variant, dtype=torch.float64), tiny_tokens(3, 7), tiny_mask([7, 4, 5], 7, "left")
    sites = [*(site.name for site in net.architecture.node_sites[:-1]), "attn.1.pattern"]
    with torch.no_grad():
        expected = net.run(tokens, mask, capture=sites).units
        found = net.capture(tokens, mask, sites)
    assert list(found) == list(expected)
    assert all(torch.equal(found[site], expected[site]) for site in sites)
