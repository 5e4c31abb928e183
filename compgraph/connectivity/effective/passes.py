"""The seam between methods, the walk over the data and the scorers: what one gradient pass is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.data.batches import Batch
from compgraph.metrics import Metric, Targets
from compgraph.models.network import Network

Edit = Callable[[Tensor], Tensor]
Ends = Callable[[Units], tuple[Units, Units]]


@dataclass(frozen=True)
class GradientPass:
    """One forward and backward pass whose gradients enter a method's average.

    Attributes
    ----------
    weight
        Its share of the average.
    edit
        Site -> function of units, applied in the forward pass; empty for the clean run.
    ends
        Function of the pass's own units that returns the units between which this pass takes the change of writes
        (from, to); None for the change from the clean to the baseline run.
    """

    weight: float = 1.0
    edit: Mapping[str, Edit] = field(default_factory=dict)
    ends: Ends | None = None


@dataclass(frozen=True)
class PassContext:
    """What a method may look at when it lists its passes: the network, the batch, the units of the baseline
    run at every source site, in order (`embed` or `input` first), and the sites whose baseline write lacks the
    output bias."""

    net: Network
    batch: Batch
    baseline: Units
    silent: frozenset[str]

    @property
    def first_site(self) -> str:
        """The site of the network's input: `embed` or `input`."""
        return next(iter(self.baseline))


Passes = Callable[[PassContext], Iterable[GradientPass]]
"""Lists the passes to average. If the first is the clean run, its units are reused for the change of writes."""


@dataclass
class PassResult:
    """A forward pass ready for its backward pass: units of all sources, and the metric [batch]."""

    units: Units
    metric: Tensor
    tape: Any


class Scorer(Protocol):
    """Scores of all edges of one kind of network (`streams.StreamScorer`, `chains.ChainScorer`)."""

    @property
    def sources(self) -> Sequence[str]:
        """Sites whose units a pass must keep."""
        ...

    @property
    def per_example(self) -> bool:
        """Whether scores are those of single examples."""
        ...

    def bytes_per_example(self, pairs: Any) -> int:
        """Memory that the scores of one example need at their peak."""
        ...

    def run(self, batch: Batch, edit: Mapping[str, Edit], metric: Metric, targets: Targets) -> PassResult:
        """Forward pass that keeps what a backward pass needs."""
        ...

    def change(self, clean: Units, baseline: Units, silent: Collection[str] = ()) -> Any:
        """What ablation changes in every source's write, in the scorer's own form; sites in `silent` lose
        their output bias too."""
        ...

    def scores(self, change: Any, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """In the order of `architectural_edges`: [batch, edges], or sums [1, edges] if not `per_example`.

        `keep`: the pass will be differentiated again.
        """
        ...
