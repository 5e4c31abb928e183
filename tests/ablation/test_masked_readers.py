"""Scales of norms from the Gram matrix of writers, where large writes cancel, in float32 against float64 streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.masked_readers import Anchors, scales
from compgraph.ablation.unit_plan import Sparse
from tests.models.tiny import tiny_network


@pytest.mark.parametrize("sign", [1, -1])
def test_scales_keep_their_digits_where_writes_cancel(sign):
    net, generator = tiny_network("gpt2"), torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    stream, writers, changes = random(6, 16), random(40, 16), random(40, 6)
    changes[:3] = torch.tensor([1100.0, 700.0, 1300.0], dtype=torch.float64)[:, None]
    writers[2] = -(1.1 * writers[0] + 0.7 * writers[1]) / 1.3 + 3e-4 * writers[5]
    kept = [[0], [1, 4, 5, 7], [0, 1, 2, 3]]
    rows = Sparse(sign, np.concatenate(kept), np.array([0, 1, 5, 9]), [np.arange(1)] * 3)
    found = scales(rows, Anchors(net, stream.float(), writers.float(), changes.float(), None))
    start = stream if sign == 1 else stream + changes.T @ writers
    streams = torch.stack([start + sign * changes[k].T @ writers[k] for k in kept])
    expected = torch.rsqrt(streams.square().mean(-1) + net.spec.norm_eps)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4)
