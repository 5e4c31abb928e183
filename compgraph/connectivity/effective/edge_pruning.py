"""Edge Pruning: masks on all edges, learned together by gradient descent under a pressure to be sparse.

Every edge has a log-odds a, and so a random mask (hard concrete)

    u ~ U(1e-6, 1 - 1e-6),   s = sigmoid((log u - log(1 - u) + a) / T),   z = clamp(1.2 s - 0.1, 0, 1),   T = 2/3

one sample a step, shared by the batch; the destination reads z · current write + (1 - z) · baseline write. With
`writer_masks` every node has one more, on all it writes. Where patterns are nodes (`compgraph.patterns`) the mask of an
edge from one blends the current pattern with the baseline's in the same way. The loss is the metric's (`kl` to the
whole model; metrics that are better when large count negatively) plus

    λ1 (S - t) + λ2 (S - t)²,     S = 1 - mean sampled z of the edges

in which λ1, λ2 start at 0 and *ascend*; t rises linearly to `target` over the first five sixths of the steps. All are
stepped by AdamW (weight decay 0.01) with one learning rate, which rises over the first fifteenth of the steps and then
falls linearly to 0; a starts at N(`start`, 0.01).

**The graph**: weight = probability that the mask is not 0, of the edge times that of its writer; columns `log_odds` (a)
and `kept`: the masks made hard as in the reference, per group of parameters (a destination site and channel) the
expected number of zeros, smallest first, then as many of the largest a over all groups as the mean soft mask says, for
edges and writers apart; an edge is kept if its own and its writer's are.

Bhaskar, Wettig, Friedman & Chen 2024, arXiv 2406.16778. [C]: princeton-nlp/Edge-Pruning; checked there: the constants
and the sampling of the masks, the ascent, the schedule, and that AdamW's default weight decay is on. Their runs take
3,000 steps of 32 examples at a learning rate of 0.8 from a = 10, where a mask is 1 and has no gradient, until weight
decay has brought a down (about 150 steps); the defaults here are for small models and short searches. The reference's
pressure on writers (off in its scripts) is left out. Its head writes carry a share of the attention bias, ours do not.

Deterministic for a seed: examples and masks of step i are drawn from (seed, i), so that a search that goes on from a
checkpoint ends in the same bytes. Cost of a step: a baseline and a clean forward pass, a masked forward and backward
pass in which every destination has a stream of its own, and every feature of a dictionary a run of its site.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from compgraph.ablation.chain_runner import ChainRunner
from compgraph.connectivity.effective.edge_layout import EdgeLayout
from compgraph.connectivity.effective.edge_streams import EdgeStreams
from compgraph.connectivity.effective.hard_concrete import harden, keep_probability, sample
from compgraph.connectivity.effective.setting import Setting
from compgraph.data.batches import batch_of
from compgraph.errors import DataError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import get_metric, lower_is_better, needs_reference
from compgraph.models.counting import Passes, count_passes
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.progress import progress

MEMORY_PER_PASS = 2**29
"""Bytes that one masked pass may take; decides how many examples it holds."""
TRACE = 50
"""Points of the course of the search that the graph keeps."""

Report = Callable[[int, float, float], None]


@dataclass(frozen=True)
class Options:
    """The method's own options."""

    steps: int
    target: float
    learning_rate: float
    examples: int
    writer_masks: bool
    start: float


def compute(
    setting: Setting,
    *,
    steps: int = 300,
    target: float = 0.94,
    learning_rate: float = 0.2,
    examples: int = 32,
    writer_masks: bool = True,
    start: float = 1.0,
    checkpoint: str | Path | None = None,
    report: Report | None = None,
) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`.

    Parameters
    ----------
    steps
        At least 1.
    target
        Sparsity aimed at; above 1 presses harder.
    learning_rate
        Of masks and multipliers.
    examples
        Drawn for a step, without replacement (all, if there are fewer).
    writer_masks
        Whether nodes have masks of their own.
    start
        Log-odds that masks start from.
    checkpoint
        A safetensors file, written every tenth of the steps and at the end; if it is there the search goes on from it.
    report
        Called after every step with its number, the metric's loss and the sparsity.

    Raises
    ------
    DataError
        Settings out of range; a checkpoint that is torn or of another search; a loss that is not finite.
    """
    own = Options(int(steps), float(target), float(learning_rate), int(examples), bool(writer_masks), float(start))
    _check(own)
    search = _Search(setting, own)
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.is_file():
        search.load(path)
    search.prepare()
    with progress("edge-pruning", total=own.steps, unit="steps") as bar:
        bar.skip(search.done)
        while search.done < own.steps:
            with count_passes() as made:
                loss, sparsity = search.step()
            search.passes.add(made)
            bar.describe(f"edge-pruning: loss {loss:.4g}, sparsity {sparsity:.3f}")
            bar.advance()
            if report is not None:
                report(search.done, loss, sparsity)
            if path is not None and (search.done % max(1, own.steps // 10) == 0 or search.done == own.steps):
                search.save(path)
    return search.graph()


def _check(options: Options) -> None:
    for name, low in (("steps", 1), ("examples", 1), ("target", 0), ("learning_rate", 0)):
        if not getattr(options, name) >= low:
            raise DataError(f"edge-pruning: {name} is {getattr(options, name)}; it must be at least {low}")


class _Search:
    """Parameters, optimiser and data of one search."""

    def __init__(self, setting: Setting, options: Options) -> None:
        net, pairs, partition = setting.net, setting.pairs, setting.partition
        self.net, self.pairs, self.partition, self.setting, self.options = net, pairs, partition, setting, options
        self.measure = get_metric(setting.metric, differentiable=True)
        self.sign = 1.0 if lower_is_better(setting.metric) else -1.0
        self.runner: Any = runner_of(net, partition)
        self.layout = EdgeLayout(net, partition, setting.split_qkv)
        time = int(pairs.clean.shape[1]) if pairs.clean.ndim == 2 else 1
        per_pass = setting.batch_size or MEMORY_PER_PASS // self.runner.bytes_per_example(time)
        self.per_pass = int(np.clip(per_pass, 1, pairs.n))
        wide = net.dtype if net.dtype in (torch.float32, torch.float64) else torch.float32
        rng = np.random.default_rng([setting.seed, 0])
        counts = {"edges": self.layout.n_edges, "writers": self.layout.n_writers}
        self.parameters = {
            name: torch.from_numpy(rng.normal(options.start, 0.01, n)).to(net.device, wide).requires_grad_()
            for name, n in counts.items()
        }
        self.parameters["multipliers"] = torch.zeros(2, dtype=wide, device=net.device, requires_grad=True)
        used = ["edges", "writers"] if options.writer_masks else ["edges"]
        groups: list[dict[str, Any]] = [
            {"params": [self.parameters[name] for name in used]},
            {"params": [self.parameters["multipliers"]], "maximize": True},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=options.learning_rate, foreach=False)
        self.done = 0
        self.trace: list[tuple[float, float]] = []
        self.passes = Passes()

    # ------------------------------------------------------------ one step

    def prepare(self) -> None:
        """Let the baseline look at its data, so that no step does: a search that goes on takes the same steps."""
        if self.setting.baseline.consistent:
            return
        with torch.no_grad():
            self.runner.baseline(batch_of(self.net, self.pairs, np.arange(1)), self.setting.baseline)

    def step(self) -> tuple[float, float]:
        """One update; returns the metric's loss and the sparsity of the sampled masks."""
        options = self.options
        rng = np.random.default_rng([self.setting.seed, self.done + 1])
        rows = rng.permutation(self.pairs.n)[: options.examples]
        edges, writers = (self._sample(name, rng) for name in ("edges", "writers"))
        weights = edges * writers[self.layout.sources] if options.writer_masks else edges
        loss, gradient = self._loss(rows, weights.detach())
        sparsity = 1 - edges.mean()
        short = sparsity - options.target * min(1.0, self.done / max(1.0, options.steps * 5 / 6))
        first, second = self.parameters["multipliers"]
        self.optimiser.zero_grad(set_to_none=True)
        ((weights * gradient).sum() + first * short + second * short.square()).backward()
        for group in self.optimiser.param_groups:
            group["lr"] = options.learning_rate * _schedule(self.done, options.steps)
        self.optimiser.step()
        self.done += 1
        self.trace.append((loss, float(sparsity.detach())))
        return self.trace[-1]

    def _sample(self, name: str, rng: np.random.Generator) -> Tensor:
        parameter = self.parameters[name]
        uniform = torch.from_numpy(rng.uniform(1e-6, 1 - 1e-6, len(parameter))).to(parameter)
        return sample(parameter, uniform)

    def _loss(self, rows: npt.NDArray[Any], weights: Tensor) -> tuple[float, Tensor]:
        """Mean loss over some examples and its gradient in the edges' weights."""
        weights = weights.to(self.net.dtype).requires_grad_()
        total = 0.0
        for start in range(0, len(rows), self.per_pass):
            loss = self._loss_of(rows[start : start + self.per_pass], weights) / len(rows)
            loss.backward()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise DataError(f"edge-pruning: the loss is {total} at step {self.done}")
        assert weights.grad is not None
        return total, weights.grad.to(self.parameters["edges"].dtype)

    def _loss_of(self, rows: npt.NDArray[Any], weights: Tensor) -> Tensor:
        batch = batch_of(self.net, self.pairs, rows)
        with torch.no_grad():
            base = self.runner.baseline(batch, self.setting.baseline)
            targets = batch.targets
            if needs_reference(self.setting.metric):
                clean = self.net.run(batch.clean, batch.mask, positions=batch.positions).logits
                targets = replace(targets, reference=clean)
        logits = self.runner.run(base, self.layout.weights(weights))
        return self.sign * self.measure(logits, targets).sum()

    # ------------------------------------------------------------ the outcome

    def graph(self) -> ComputationalGraph:
        """The masks as a graph."""
        options = self.options
        edges, writers = (self.parameters[name].detach() for name in ("edges", "writers"))
        weight, kept = keep_probability(edges), harden(edges, self.layout.readers())
        if options.writer_masks:
            refined = self.layout.refined
            sites = torch.cat([torch.full((refined.n_parts(site),), k) for k, site in enumerate(refined.sites[:-1])])
            weight = weight * keep_probability(writers)[self.layout.sources]
            kept &= harden(writers, sites.to(edges.device))[self.layout.sources]
        marks = sorted({round(k) for k in np.linspace(0, self.done - 1, min(TRACE, self.done))})
        trace = [[step + 1, *self.trace[step]] for step in marks]
        n = int(self.pairs.n)
        about = self._about() | {"n_examples": n, "trace": trace, "passes": self.passes.per_example(n)}
        return ComputationalGraph.from_architecture(
            self.net,
            self.partition,
            weight.double().cpu().numpy(),
            split_qkv=self.setting.split_qkv,
            kind="effective",
            attributes=about,
            columns={"log_odds": edges.double().cpu().numpy(), "kept": kept.cpu().numpy()},
        )

    # ------------------------------------------------------------ checkpoints

    def save(self, path: Path) -> None:
        """Write everything that the rest of the search depends on."""
        tensors = {name: value.detach() for name, value in self.parameters.items()}
        for number, parameter in enumerate(self._stepped()):
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{number}.{key}"] = torch.as_tensor(value)
        tensors["trace"] = torch.tensor(self.trace, dtype=torch.float64)
        tensors["passes"] = torch.tensor([self.passes.forward, self.passes.backward], dtype=torch.float64)
        partial = path.with_name(f"{path.name}.partial")
        about = {"format": "compgraph edge-pruning", "settings": self._identity()}
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, partial, about)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same search."""
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: not readable as an edge-pruning checkpoint ({error})") from error
        if about.get("settings") != self._identity():
            raise DataError(f"{path}: a checkpoint of another search (network, data or settings differ)")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[name])
        for number, parameter in enumerate(self._stepped()):
            prefix = f"optimiser.{number}."
            found = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            self.optimiser.state[parameter] = {
                key: value if key == "step" else value.to(parameter) for key, value in found.items()
            }
        self.trace = [(loss, sparsity) for loss, sparsity in tensors["trace"].tolist()]
        self.done = len(self.trace)
        self.passes = Passes(*tensors["passes"].tolist())

    def _stepped(self) -> list[Tensor]:
        return [parameter for group in self.optimiser.param_groups for parameter in group["params"]]

    def _about(self) -> dict[str, Any]:
        chosen = {"split_qkv": self.setting.split_qkv, "seed": self.setting.seed}
        return self.setting.about("edge-pruning", **chosen, **asdict(self.options))

    def _identity(self) -> str:
        about = self._about() | {
            "network": self.net.digest,
            "partition": self.partition.digest,
            "ids": [str(name) for name in self.pairs.ids],
        }
        return json.dumps(about, sort_keys=True)


def runner_of(net: Network, partition: Partition) -> EdgeStreams | ChainRunner:
    """What runs a network with a weight per edge."""
    if isinstance(net, Transformer):
        return EdgeStreams(net, partition)
    if isinstance(net, Sequential):
        return ChainRunner(net, partition)
    raise ModelError(f"edge-pruning is not defined for {type(net).__name__}")


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: up over the first fifteenth, then down to 0."""
    warm = steps / 15
    if step < warm:
        return (step + 1) / (warm + 1)
    return max(0.0, (steps - step) / max(1.0, steps - warm))
