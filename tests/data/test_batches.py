"""Batches: order, padding cut off, fields moved together."""

from __future__ import annotations

import numpy as np
import torch

from compgraph.data.batches import batches
from compgraph.data.prompts import PromptPairs
from tests.models.tiny import tiny_network


def test_order_and_common_padding():
    net = tiny_network("gpt2")
    clean = np.arange(30).reshape(5, 6)
    mask = np.ones((5, 6), bool)
    mask[:3, :2] = False
    mask[0, :3] = False
    pairs = PromptPairs(clean, clean[:, ::-1].copy(), [1] * 5, [2] * 5, mask=mask)
    first, second = batches(net, pairs, 3)
    assert first.rows.tolist() == [0, 1, 2] and second.rows.tolist() == [3, 4]
    assert first.clean.tolist() == clean[:3, 2:].tolist()
    assert first.corrupted.tolist() == clean[:3, ::-1][:, 2:].tolist()
    assert first.mask.shape == (3, 4) and not first.mask[0, 0]
    assert first.positions.tolist() == [3, 3, 3] and second.positions.tolist() == [5, 5]
    assert second.clean.shape == (2, 6)


def test_cutting_padding_changes_no_logit():
    net = tiny_network("llama", dtype=torch.float64)
    clean = np.random.default_rng(0).integers(0, 41, (2, 8))
    mask = np.ones((2, 8), bool)
    mask[0, :5] = mask[1, :3] = False
    pairs = PromptPairs(clean, None, [1, 1], [2, 2], mask=mask)
    (batch,) = batches(net, pairs, 2)
    assert batch.clean.shape == (2, 5) and batch.corrupted is None
    whole = net.run(torch.from_numpy(clean), torch.from_numpy(mask), positions=torch.from_numpy(pairs.positions))
    cut = net.run(batch.clean, batch.mask, positions=batch.positions)
    torch.testing.assert_close(cut.logits, whole.logits)
