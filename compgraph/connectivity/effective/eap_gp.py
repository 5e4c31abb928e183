"""Edge attribution patching along the gradient path (EAP-GP).

Like `eap`, with the gradient at v's input averaged over k runs whose input x_1 … x_k follows the model: from the
clean input embedding x_0,

    h_j = ∇ |G(x_j) - G(baseline)|²,        x_j+1 = x_j - h_j / |h_j|

G being the logits at all real positions. The path leaves regions where the metric's gradient vanishes, where a
straight path would stay (L. Zhang et al. 2025, arXiv 2502.06852, NeurIPS 2025).

What is known of the definition: the paper's authors published no code. The formulas above and k = 5 are
second-hand, read in two re-implementations that cite its Eq. 8 [2]; both take one joint path of the input, where the
paper writes a path for every node, which would cost as many times more as there are nodes [NF]. That the norm is
taken per example over positions and width, without padding, with a floor of 1e-12, is our reading [NF].

The step has length 1 whatever the scale of the embedding (`step_size` changes that), the path need not end at the
baseline's input, and where h = 0 it stays. Cost: 2 k forward and backward passes and 3 forward passes (clean, and
the baseline's input twice).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from compgraph.connectivity.effective.attribution import attribute
from compgraph.connectivity.effective.passes import GradientPass, PassContext
from compgraph.connectivity.effective.setting import Setting
from compgraph.data.batches import Batch
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.models.transformer import Transformer

FLOOR = 1e-12
MEMORY_FOR_LOGITS = 2**27
"""Bytes that the logits of all positions may take at once; examples are independent, so a batch can be cut."""


def compute(setting: Setting, *, steps: int = 5, step_size: float = 1.0) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    steps
        k, at least 1.
    step_size
        Length of a step, in units of the embedding; above 0.

    Raises
    ------
    DataError
        No steps, or steps of no length.
    """
    if steps < 1:
        raise DataError(f"eap-gp: steps is {steps}; it must be at least 1")
    if not step_size > 0:
        raise DataError(f"eap-gp: step_size is {step_size}; it must be above 0")
    return attribute(setting, partial(along_the_gradient, steps=steps, step_size=step_size), method="eap-gp")


def along_the_gradient(context: PassContext, steps: int, step_size: float) -> Iterator[GradientPass]:
    """Runs from the inputs that the path visits."""
    net, batch, first = context.net, context.batch, context.first_site
    is_transformer = isinstance(net, Transformer)
    start = net.embed_units(batch.clean) if is_transformer else net.input_units(batch.clean)  # type: ignore[attr-defined]
    size = _examples_at_once(net, batch)
    paths = []
    for cut in range(0, len(batch), size):
        rows = slice(cut, cut + size)
        paths.append(_path(net, batch, first, rows, start[rows], context.baseline[first][rows], steps, step_size))
    for x in torch.cat(paths, 1):
        yield GradientPass(1 / steps, {first: partial(_replaced, new=x)})


def _path(
    net: Network, batch: Batch, first: str, rows: slice, x: Tensor, end: Tensor, steps: int, step_size: float
) -> Tensor:
    """x_1 … x_k of some examples of a batch: [steps, examples, …]."""
    with torch.no_grad():
        aim = _outputs(net, batch, first, rows, end)
    found = []
    for _ in range(steps):
        x = x.detach().requires_grad_()
        distance = (_outputs(net, batch, first, rows, x) - aim).pow(2)
        if batch.mask is not None:
            distance = distance * batch.mask[rows, :, None]
        h = torch.autograd.grad(distance.sum(), x)[0]
        length = h.flatten(1).norm(dim=1).clamp_min(FLOOR)
        x = x.detach() - step_size * h / length.reshape(-1, *(1,) * (h.dim() - 1))
        found.append(x)
    return torch.stack(found)


def _outputs(net: Network, batch: Batch, first: str, rows: slice, x: Tensor) -> Tensor:
    """Logits at every position of a run from the input x."""
    mask = None if batch.mask is None else batch.mask[rows]
    return net.run(batch.clean[rows], mask, edit={first: partial(_replaced, new=x)}).logits


def _replaced(old: Tensor, new: Tensor) -> Tensor:
    return new


def _examples_at_once(net: Network, batch: Batch) -> int:
    time = batch.clean.shape[1] if batch.mask is not None or batch.positions is not None else 1
    logits = net.architecture.site("logits").n_units * time * torch.finfo(net.dtype).bits // 8
    return int(max(1, min(len(batch), MEMORY_FOR_LOGITS // (4 * logits))))
