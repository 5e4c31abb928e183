"""Adam against that of torch."""

from __future__ import annotations

import torch

from compgraph.dictionaries.adam import Adam


def test_steps_are_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(50, generator=generator, dtype=torch.float64)
    theirs, ours = start.clone().requires_grad_(), start.clone()
    optimiser, adam = torch.optim.Adam([theirs]), Adam(ours)
    for step in range(30):
        # From gradients that drown in the smallest number of the method to such as do not.
        gradient = 10.0 ** (step % 10 - 9) * torch.randn(50, generator=generator, dtype=torch.float64)
        theirs.grad = gradient
        optimiser.param_groups[0]["lr"] = 0.01 / (1 + step)
        optimiser.step()
        adam.step(gradient, 0.01 / (1 + step))
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-14)
    assert (ours - start).abs().max() > 1e-3
