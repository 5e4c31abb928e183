"""The backward half of a gradient pass: all at once from a tape, or a layer at a time, each run again on the way.

A pass that keeps everything holds the activations of all layers until its gradients are known. `Layers` keeps the
stream in front of each layer instead, one tensor a layer, and on the way back runs a layer again to differentiate
it alone: one forward pass more, and the activations of one layer at a time (Chen et al. 2016, arXiv 1604.06174,
where it saves the memory of training). Values and gradients are those of the plain pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.passes import Edit
from compgraph.data.batches import Batch
from compgraph.models.counting import count_backward
from compgraph.models.positions import Context
from compgraph.models.tape import Hooks, Tape
from compgraph.models.transformer import Transformer

STREAM = "stream"
"""Among the channels of a site's gradients: that at the stream that it reads."""


@dataclass
class Gradients:
    """Gradients at what a tape holds.

    Attributes
    ----------
    at_reads
        Site -> channel -> gradient at the pre-activations; sites with a stream of their own on the tape have the
        gradient there instead, as channel `STREAM`.
    at_units
        Site -> gradient at the tape's units.
    units
        What the whole pass captured, without gradients.
    at_start
        Gradient at the stream where the tape starts, if asked for.
    """

    tape: Tape
    at_reads: dict[str, dict[str, Tensor]]
    at_units: Units
    units: Units
    at_start: Tensor | None = None


def gradients(
    tape: Tape,
    output: Tensor,
    units: Units,
    upstream: Tensor | None = None,
    start: Tensor | None = None,
    *,
    keep: bool = False,
) -> Gradients:
    """Differentiate an output of a taped pass.

    Parameters
    ----------
    units
        What the pass captured.
    upstream
        Gradient at the output; None where it is a scalar.
    start
        A stream that the tape starts from, whose gradient is wanted too.
    keep
        Whether the pass will be differentiated again.
    """
    divided = [(s, reading) for s, reading in tape.readings.items() if s not in tape.streams]
    keys = [(site, channel) for site, reading in divided for channel in reading.pre]
    inputs = [tape.readings[s].pre[c] for s, c in keys]
    keys += [(site, STREAM) for site in tape.streams]
    inputs += [*tape.streams.values(), *tape.units.values()]
    begin = [] if start is None else [start]
    values = torch.autograd.grad(output, [*inputs, *begin], upstream, retain_graph=keep)
    at_reads: dict[str, dict[str, Tensor]] = {}
    for (site, channel), value in zip(keys, values, strict=False):
        at_reads.setdefault(site, {})[channel] = value
    at_units = dict(zip(tape.units, values[len(keys) : len(inputs)], strict=True))
    return Gradients(tape, at_reads, at_units, units, values[-1] if begin else None)


@dataclass
class Layers:
    """A forward pass that keeps the stream at the borders of layers.

    Attributes
    ----------
    borders
        Stream [batch, time, d_model] in front of every layer.
    final
        Stream behind the last one at the scored positions [batch, d_model], a leaf of `logits`.
    logits
        [batch, vocabulary], differentiable.
    units
        What was to be captured.
    tape
        Of the reading of `logits`.
    """

    net: Transformer
    batch: Batch
    context: Context
    edit: Mapping[str, Edit]
    whole: Collection[str]
    at_units: Collection[str]
    borders: list[Tensor]
    final: Tensor
    logits: Tensor
    units: Units
    tape: Tape

    @classmethod
    def run(
        cls,
        net: Transformer,
        batch: Batch,
        edit: Mapping[str, Edit],
        capture: Collection[str],
        whole: Collection[str],
        at_units: Collection[str],
    ) -> Layers:
        """The forward pass.

        Parameters
        ----------
        edit, capture
            As `Transformer.run`; an edit is applied again when its layer is.
        whole
            Sites whose gradient is wanted at their stream (`Tape.whole`).
        at_units
            Sites at whose units a gradient is wanted too.
        """
        assert batch.positions is not None
        hooks, borders = Hooks(edit, frozenset(capture), frozenset(), None), []
        with torch.no_grad():
            context = net.context(batch.clean, batch.mask)
            x = net.add_positions(hooks.pass_through("embed", net.embed_units(batch.clean)), context)
            for layer in range(net.spec.n_layers):
                borders.append(x)
                x = net.advance(x, x, _steps(net, layer), context, hooks)
            final = x[torch.arange(len(x), device=x.device), batch.positions]
        tape = Tape(whole=whole)
        with torch.enable_grad():
            final.requires_grad_()
            logits = net.finish(final, None, Hooks(edit, frozenset(), frozenset(), tape)).logits
            count_backward(logits)
        return cls(net, batch, context, edit, whole, at_units, borders, final, logits, hooks.units, tape)

    def back(self, total: Tensor, *, keep: bool = False) -> Iterator[Gradients]:
        """Gradients of a scalar of the logits: at what `logits` reads, then in every layer from the last to the first.

        `keep`: the same will be asked again.
        """
        found = gradients(self.tape, total, self.units, start=self.final, keep=keep)
        assert found.at_start is not None and self.batch.positions is not None
        upstream = self.final.new_zeros(self.borders[-1].shape)
        upstream[torch.arange(len(upstream), device=upstream.device), self.batch.positions] = found.at_start
        yield found
        for layer in reversed(range(self.net.spec.n_layers)):
            del found
            found = self._layer(layer, upstream)
            upstream = upstream if found.at_start is None else found.at_start
            yield found

    def _layer(self, layer: int, upstream: Tensor) -> Gradients:
        """Run a layer again and differentiate it; nothing in front of the first is differentiated."""
        start = self.borders[layer].detach().requires_grad_(layer > 0)
        tape = Tape(whole=self.whole)
        hooks = Hooks(self.edit, frozenset(self.at_units), frozenset(), tape)
        with torch.enable_grad():
            out = self.net.advance(start, start, _steps(self.net, layer), self.context, hooks)
        tape.units = hooks.units
        return gradients(tape, out, self.units, upstream, start if layer > 0 else None)


def _steps(net: Transformer, layer: int) -> Sequence[str]:
    sites = 1 + net.spec.has_mlp
    return net.steps[layer * sites : (layer + 1) * sites]
