"""Losses of a network in which one node at a time is held at a constant: node ablation of every node alone.

A pass starts behind the node's site, from the clean run, and copies of a batch, one for each of several nodes, are one
pass. All of it is differentiable in the constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from compgraph.data.batches import Batch
from compgraph.metrics import Metric, Targets
from compgraph.models.counting import count_backward, count_forward
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition

MEMORY = 2**28
"""Bytes of activations that a pass with gradients may keep, unless one node alone takes more."""
KEPT = 12
"""Numbers that a block keeps for the way back, for each of a token's coordinates and neurons."""

Constants = Callable[[str], Tensor]
"""Site -> the constants of all of its units [n_units]; asked for once per pass, so that each has a graph of its own."""
Finish = Callable[[Tensor], Tensor]
"""Units of a site in several copies of a batch, one behind the other -> logits."""


@dataclass(frozen=True)
class SingleNodes:
    """Runs with one node ablated.

    Attributes
    ----------
    net, partition
        Dead units stay clean.
    measure
        The loss of an example; its `Targets.reference` is the clean run.
    """

    net: Network
    partition: Partition
    measure: Metric

    def losses(self, batch: Batch, sites: Sequence[str], constants: Constants) -> Iterator[tuple[str, slice, Tensor]]:
        """Mean losses over a batch.

        Yields
        ------
        (site, parts, losses [parts]) of some parts of a site at a time. Take the gradient before going on: nothing of
        one pass is needed by the next.
        """
        names = [site.name for site in self.net.architecture.node_sites[:-1]]
        with torch.no_grad():
            clean = self.net.run(batch.clean, batch.mask, capture=names, positions=batch.positions)
        targets = replace(batch.targets, reference=clean.logits)
        for site, finish in self._starts(batch, clean.units):
            if site in sites:
                yield from self._site(site, batch, clean.units[site], constants, finish, targets)

    def share(self, site: str) -> float:
        """The part of the network that lies behind a site."""
        if isinstance(self.net, Transformer):
            done = 0 if site == "embed" else 1 + self.net.steps.index(site)
            return 1 - done / len(self.net.steps)
        names = [one.name for one in self.net.architecture.node_sites]
        return 1 - names.index(site) / (len(names) - 1)

    def passes(self, sites: Sequence[str]) -> float:
        """Passes through the whole network that the parts of some sites take for an example, without the clean run."""
        return sum(self.partition.n_parts(site) * self.share(site) for site in sites)

    # ------------------------------------------------------------ one site

    def _site(
        self, site: str, batch: Batch, units: Tensor, constants: Constants, finish: Finish, targets: Targets
    ) -> Iterator[tuple[str, slice, Tensor]]:
        labels = torch.from_numpy(self.partition.labels[site].astype("int64")).to(units.device)
        n_parts = self.partition.n_parts(site)
        at_once = max(1, MEMORY // (len(batch) * self._bytes(batch)))
        for first, stop in pairwise([*range(0, n_parts, at_once), n_parts]):
            own = labels == torch.arange(first, stop, device=labels.device)[:, None]
            held = own.reshape(len(own), *(1,) * (units.dim() - 1), -1)
            edited = torch.where(held, constants(site), units).flatten(0, 1)
            found = self.measure(finish(edited), _copies(targets, len(own)))
            yield site, slice(first, stop), found.unflatten(0, (len(own), len(batch))).mean(1)

    def _bytes(self, batch: Batch) -> int:
        """What an example keeps for the way back."""
        size, net = torch.finfo(self.net.dtype).bits // 8, self.net
        if not isinstance(net, Transformer):
            return size * KEPT * sum(site.n_units for site in net.architecture.node_sites)
        widths = [site.n_units for site in net.architecture.node_sites[1:-1]]
        tokens = batch.clean.shape[1]
        wide = KEPT * (sum(widths) + len(widths) * net.spec.d_model)
        patterns = 3 * net.spec.n_layers * net.spec.n_heads * tokens
        return int(size * (tokens * (wide + patterns) + 2 * net.spec.vocabulary))

    # ------------------------------------------------------------ what lies behind a site

    def _starts(self, batch: Batch, units: dict[str, Tensor]) -> Iterator[tuple[str, Finish]]:
        """Sites in order, each with what finishes a pass from its units."""
        if isinstance(self.net, Sequential):
            for site in units:
                yield site, partial(self._finish_chain, site)
            return
        assert isinstance(self.net, Transformer)
        net, context = self.net, self.net.context(batch.clean, batch.mask)
        yield "embed", partial(self._resume, "embed", batch, None, None)
        with torch.no_grad():
            x = before = net.add_positions(units["embed"], context)
        for site in net.steps:
            before = x if site.startswith("attn.") else before
            yield site, partial(self._resume, site, batch, x, before)
            with torch.no_grad():
                x = x + net.write(site, units[site], Reading(x, None, {}))

    def _resume(self, site: str, batch: Batch, x: Tensor | None, before: Tensor | None, units: Tensor) -> Tensor:
        """Logits of copies of a batch from the units of a site, `x` the stream in front of the site's write."""
        net, copies = self.net, len(units) // len(batch)
        assert isinstance(net, Transformer) and batch.positions is not None
        mask = None if batch.mask is None else batch.mask.repeat(copies, 1)
        context, positions = net.context(batch.clean.repeat(copies, 1), mask), batch.positions.repeat(copies)
        if x is None or before is None:
            stream = net.add_positions(units, context)
            return net.resume(site, stream, stream, context, positions)
        stream = x.repeat(copies, 1, 1) + net.write(site, units)
        return net.resume(site, stream, before.repeat(copies, 1, 1), context, positions)

    def _finish_chain(self, site: str, units: Tensor) -> Tensor:
        net = self.net
        assert isinstance(net, Sequential)
        names, share = [one.name for one in net.architecture.node_sites], self.share(site)
        for name in names[names.index(site) + 1 :]:
            units = net.units_from(name, net.pre_activations(name, units))
        count_forward(len(units), share)
        count_backward(units, share)
        return units


def _copies(targets: Targets, n: int) -> Targets:
    def repeated(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.repeat(n, 1)

    return Targets(repeated(targets.answers), repeated(targets.distractors), repeated(targets.reference))
