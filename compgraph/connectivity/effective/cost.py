"""The cost of a method: estimated before it starts, refused where memory is short, measured while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from compgraph.connectivity.effective.bootstrap import MEMORY
from compgraph.connectivity.effective.edge_memory import BYTES_PER_EDGE, edges_into
from compgraph.connectivity.effective.setting import Setting
from compgraph.errors import DataError
from compgraph.memory import available_memory, peak_memory, resident_memory
from compgraph.metrics import needs_reference
from compgraph.models.counting import Passes, count_passes
from compgraph.models.transformer import Transformer
from compgraph.patterns import SUFFIX
from compgraph.progress import format_seconds, note


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes
    ----------
    forward, backward
        Passes of every example, parts of passes as fractions.
    memory
        Bytes at the peak beyond those of the model.
    batch
        Examples a pass.
    rough
        Whether the number of passes shows only on the way.
    """

    forward: float
    backward: float
    memory: int
    batch: int
    rough: bool = False

    def about(self, method: str, n: int) -> str:
        """One line: ``eap: 2 forward and 1 backward pass over 192 examples in 3 batches, about 120 MB``."""
        batches = -(-n // max(1, self.batch))
        roughly = "about " if self.rough else ""
        data = f"{n:,} example{'s' * (n != 1)} in {batches:,} batch{'es' * (batches != 1)}"
        return f"{method}: {roughly}{_passes(self.forward, self.backward)} over {data}, about {_bytes(self.memory)}"


class Question:
    """The sizes that costs depend on.

    Attributes
    ----------
    n, time
        Examples, and the tokens of the longest (1 for images).
    n_edges
        Edges of the graph.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting, self.net = setting, setting.net
        self.n = int(setting.pairs.n)
        self.time = int(setting.pairs.clean.shape[1]) if setting.net.kind == "transformer" else 1
        self.item = torch.finfo(setting.net.dtype).bits // 8
        self._edges_into = edges_into(setting.net.architecture, setting.partition, setting.split_qkv)
        self.n_edges = sum(self._edges_into.values())

    def batch(self, most: int) -> int:
        """Examples a pass: those asked for, or at most so many."""
        return int(min(self.n, max(1, self.setting.batch_size or most)))

    # ------------------------------------------------------------ passes

    @property
    def baseline(self) -> float:
        """Passes of a baseline run, an example; what comes from means is none."""
        return float(self.setting.baseline.consistent)

    @property
    def preparation(self) -> float:
        """Passes that the baseline makes once, over the data that its means are of."""
        return float(getattr(self.setting.baseline, "preparation", 0)) / self.n

    @property
    def reference(self) -> int:
        """Whether the metric needs a clean run of its own."""
        return int(needs_reference(self.setting.metric))

    @cached_property
    def shares(self) -> dict[str, float]:
        """Site -> share of the network behind it."""
        net = self.net
        names = [site.name for site in net.architecture.node_sites]
        steps = net.steps if isinstance(net, Transformer) else names[1:]
        behind = {name: (len(steps) - k - 1) / len(steps) for k, name in enumerate(steps)}
        return {names[0]: 1.0, **behind} | ({"logits": 0.0} if isinstance(net, Transformer) else {})

    @property
    def runs_behind_targets(self) -> float:
        """A run an edge, from behind its target; in parallel blocks from behind the whole block."""
        net, total = self.net, 0.0
        joined = isinstance(net, Transformer) and net.spec.parallel and net.spec.has_mlp
        for site, count in self._edges_into.items():
            name = site.removesuffix(SUFFIX)
            total += count * self.shares[name.replace("attn", "mlp") if joined else name]
        return total

    @property
    def runs_from_targets(self) -> float:
        """A run an edge, from its target on."""
        sites = [site.name for site in self.net.architecture.node_sites][1:]
        share = {site: (len(sites) - k) / len(sites) for k, site in enumerate(sites)}
        return sum(count * share.get(site.removesuffix(SUFFIX), 0.0) for site, count in self._edges_into.items())

    # ------------------------------------------------------------ bytes

    @property
    def graph(self) -> int:
        """All edges, with what is added up for each."""
        resamples = min(8 * self.n_edges * self.setting.bootstrap, MEMORY)  # more is refused by itself
        return self.n_edges * BYTES_PER_EDGE + resamples

    @property
    def layers_of_scores(self) -> int:
        """Scores of an example apart for each layer that is skipped."""
        return 8 * self.n_edges * len(self.shares)

    @property
    def _units(self) -> int:
        return sum(site.n_units for site in self.net.architecture.node_sites[:-1])

    @property
    def logits(self) -> int:
        """Logits of one example at the scored position, and what the metric makes of them."""
        return 3 * self.net.architecture.site("logits").n_units * self.item

    @property
    def forward_pass(self) -> int:
        """Units of all sites of one example, and the working space of one site."""
        return self._pass(1)

    @property
    def gradient_pass(self) -> int:
        """What autograd keeps of one example."""
        return self._pass(4)

    def _pass(self, copies: int) -> int:
        numbers = copies * self._units
        if isinstance(self.net, Transformer):
            spec = self.net.spec
            streams = 2 * copies * len(self.net.steps) * spec.d_model
            patterns = 2 * copies * spec.n_layers * spec.n_heads * self.time
            numbers = (numbers + streams + patterns) * self.time
        return numbers * self.item + self.logits

    @property
    def streams_of_sources(self) -> int:
        """The writes of all nodes of one example side by side."""
        nodes = self.setting.partition.n_nodes
        if isinstance(self.net, Transformer):
            return nodes * self.time * self.net.spec.d_model * self.item
        return 4 * self._units * self.item


def announce(method: str, cost: Cost, setting: Setting) -> None:
    """Tell the estimate, and refuse it where memory is short.

    Raises
    ------
    DataError
        An estimate above what is free.
    """
    cost = replace(cost, forward=cost.forward + Question(setting).preparation)
    note(cost.about(method, int(setting.pairs.n)))
    free = free_memory(setting.net.device)
    if free is not None and cost.memory > free:
        smaller = f"a batch_size below {cost.batch}, " if cost.batch > 1 else ""
        raise DataError(
            f"{method}: it needs about {_bytes(cost.memory)} beyond the model, and {_bytes(free)} are free; what "
            f"helps: {smaller}a coarser partition, or the strongest edges only (`keep`, `keep_overall` of eap, "
            "clean-corrupted and eap-ig-inputs)"
        )


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free where the network is; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()


@contextmanager
def measured(method: str, setting: Setting) -> Iterator[Passes]:
    """Count the passes of the body, and tell them at its end with time and memory.

    Time and memory differ from run to run: they are for the log, passes are for the graph.
    """
    device, start = setting.net.device, time.monotonic()
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if cuda else resident_memory()
    with count_passes() as passes:
        yield passes
    peak = torch.cuda.max_memory_allocated(device) if cuda else peak_memory()
    grown = "" if before is None or peak is None else f", memory grew by at most {_bytes(max(0, peak - before))}"
    made = passes.per_example(int(setting.pairs.n))
    note(
        f"{method}: made {_passes(made['forward'], made['backward'])} of each example in "
        f"{format_seconds(time.monotonic() - start)}{grown}"
    )


def _passes(forward: float, backward: float) -> str:
    def number(value: float) -> str:
        return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"

    if not backward:
        return f"{number(forward)} forward pass{'es' * (forward != 1)}"
    return f"{number(forward)} forward and {number(backward)} backward pass{'es' * (backward != 1)}"


def _bytes(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{max(1, round(count / 1e6)):,} MB"
