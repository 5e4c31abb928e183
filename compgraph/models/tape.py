"""What a forward pass keeps and changes: readings for attribution, hooks for edits and captures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Reading:
    """What a site read: `xhat` [.., d] the normalised stream before gain and bias, `inverse_scale` [.., 1],
    and per channel the pre-activations (without bias): attention q, k, v [.., heads, d_head]; MLP "" (and
    "gate") [.., d_mlp]. `write_scale` [.., 1] is the inverse root mean square of a post-norm, else None."""

    xhat: Tensor
    inverse_scale: Tensor | None
    pre: dict[str, Tensor]
    write_scale: Tensor | None = None


@dataclass
class Tape:
    """Readings per destination site, filled by `Transformer.run(tape=…)`.

    Every pre-activation on the tape can be differentiated with respect to: where nothing before it needs a
    gradient it becomes a leaf, so that the backward pass stops there. Keys and values get one copy per query
    head, because each query head's k and v is a destination of its own (design, section 9). `units` holds the
    units of sites at which a gradient is wanted too.

    Sites named in `whole` read a view of the stream of their own, kept in `streams`: the gradient there is that of
    everything the site reads, pulled back through its norm by autograd itself.
    """

    readings: dict[str, Reading] = field(default_factory=dict)
    units: dict[str, Tensor] = field(default_factory=dict)
    whole: Collection[str] = ()
    streams: dict[str, Tensor] = field(default_factory=dict)

    def stream(self, site: str, x: Tensor) -> Tensor:
        if site not in self.whole:
            return x
        self.streams[site] = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
        return self.streams[site]

    def add(self, site: str, reading: Reading, per_head: int = 0) -> None:
        for channel, pre in reading.pre.items():
            if per_head and pre.shape[-2] != per_head:
                pre = pre.repeat_interleave(per_head // pre.shape[-2], dim=-2)
            reading.pre[channel] = pre if pre.requires_grad else pre.requires_grad_()
        self.readings[site] = reading


@dataclass
class Hooks:
    """What a forward pass is asked to change (`edit`, `silent`) and to keep (`kept` -> `units`, `tape`)."""

    edit: Mapping[str, Callable[[Tensor], Tensor]]
    kept: frozenset[str]
    silent: frozenset[str]
    tape: Tape | None
    units: dict[str, Tensor] = field(default_factory=dict)

    def pass_through(self, site: str, value: Tensor) -> Tensor:
        value = self.edit[site](value) if site in self.edit else value
        if site in self.kept:
            self.units[site] = value
        return value

    def stream(self, site: str, x: Tensor) -> Tensor:
        return x if self.tape is None else self.tape.stream(site, x)

    def keep(self, site: str, reading: Reading, per_head: int = 0) -> Reading:
        for channel, pre in reading.pre.items():
            if f"{site}/{channel}" in self.kept:
                self.units[f"{site}/{channel}"] = pre
        if self.tape is not None:
            self.tape.add(site, reading, per_head)
        return reading
