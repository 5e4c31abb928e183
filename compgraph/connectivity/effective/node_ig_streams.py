"""Integrated gradients of the nodes of a transformer (see `node_ig`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.features import FeatureScorer
from compgraph.connectivity.effective.gradients import Gradients
from compgraph.connectivity.effective.node_effects import NodeEffects, live, spread
from compgraph.connectivity.effective.node_ig_chains import Measure
from compgraph.connectivity.effective.passes import Edit, PassResult
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.stream_sources import Change
from compgraph.connectivity.effective.walk import walk
from compgraph.data.batches import Batch
from compgraph.metrics import Metric, Targets
from compgraph.models.positions import Context
from compgraph.models.tape import Reading, Tape
from compgraph.models.transformer import Transformer
from compgraph.patterns import SUFFIX, pattern_of


@dataclass
class Moved(Change):
    """What ablation changes, with the units it leads from and to."""

    clean: Units
    baseline: Units
    silent: frozenset[str]


@dataclass
class Place:
    """The clean stream around a site: what it `reads`, without its write (`without`), and at the start of its
    block (`before`), each [batch, time, d_model]; of `logits` only `reads`, [batch, d_model]."""

    reads: Tensor
    without: Tensor
    before: Tensor


@dataclass
class CleanRun:
    """The clean run of a batch: streams by site, and the metric."""

    places: dict[str, Place]
    context: Context
    measure: Measure


@dataclass
class LocalTape(Tape):
    """Readings of all sites with gradients that are known already: site -> channel -> tensor."""

    gradients: dict[str, dict[str, Tensor]] = field(default_factory=dict)


class NodeStreamScorer(FeatureScorer):
    """Scores of all edges of a transformer by the effects of their destinations.

    Attributes
    ----------
    effects
        Of all nodes, summed over the examples scored so far.
    """

    def __init__(self, setting: Setting, steps: int, edge_steps: int, node_threshold: float) -> None:
        assert isinstance(setting.net, Transformer)
        super().__init__(setting.net, setting.partition, setting.split_qkv)
        self.steps, self.edge_steps, self.node_threshold = steps, edge_steps, node_threshold
        self.effects = NodeEffects(setting.net, setting.partition)

    def bytes_per_example(self, pairs: object) -> int:
        """Those of the scorer, and the streams, sensitivities and changes of all sites."""
        size = self.net.weights.embedding.element_size() * pairs.clean.shape[1]  # type: ignore[attr-defined]
        streams = 3 * len(self.sites) * self.net.spec.d_model
        units = 3 * sum(parts.n_units for parts in self.parts.values())
        return super().bytes_per_example(pairs) + int(size * (streams + units))

    def run(self, batch: Batch, edit: Mapping[str, Edit], metric: Metric, targets: Targets) -> PassResult:
        """The clean run, site by site, without a gradient."""
        assert not edit
        net = self.net
        with torch.no_grad():
            context = net.context(batch.clean, batch.mask)
            units = {"embed": net.embed_units(batch.clean)}
            without = net.add_positions(units["embed"], context)
            places = {}
            for step in walk(net, batch, context):
                before = step.stream if step.before is None else step.before
                places[step.site] = Place(step.stream, without, before)
                if step.units is None or step.after is None:
                    logits = net.logits(step.reading.pre[""])
                    continue
                units[step.site], without = step.units, step.after
                if step.site in self.served:
                    units[pattern_of(step.site)] = self._pattern(step.site, step.reading.pre, context)
            return PassResult(units, metric(logits, targets), CleanRun(places, context, Measure(metric, targets)))

    def _pattern(self, site: str, pre: Mapping[str, Tensor], context: Context) -> Tensor:
        layer = int(site.split(".")[1])
        q, k, _ = self.net.rotated(layer, pre, context)
        return self.net.pattern(layer, q, k, context)

    def change(self, clean: Units, baseline: Units, silent: Collection[str] = ()) -> Moved:
        """Change of every source's write, and the units at both ends."""
        change = super().change(clean, baseline, silent)
        return Moved(change.streams, change.sources, change.patterns, clean, baseline, frozenset(silent))

    def scores(self, change: Change, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """[batch, edges] in canonical order, or [1, edges] where many nodes meet many."""
        assert isinstance(change, Moved)
        run: CleanRun = result.tape
        h = self._sensitivities(change, run, batch)
        moves = self._moves(change, batch)
        self._effect_of_logits(run, moves["logits"])
        total: Tensor | float = 0.0
        for j in range(self.edge_steps):
            tape, patterns = self._local(change, run, h, moves, j / self.edge_steps)
            here = super().scores(change, PassResult(patterns, result.metric, tape), batch)
            total = total + here / self.edge_steps
        assert isinstance(total, Tensor)
        return total

    def steps_back(self, result: PassResult, *, keep: bool = False) -> Iterator[Gradients]:
        """Gradients that are on the tape."""
        tape = result.tape
        assert isinstance(tape, LocalTape)
        yield Gradients(tape, tape.gradients, tape.units, result.units)

    # ------------------------------------------------------------ nodes

    def _sensitivities(self, change: Moved, run: CleanRun, batch: Batch) -> Units:
        """Mean gradient of the metric at the units of every source site, patterns too, cut by the threshold."""
        found = self._in_clean_run(change, run, batch)
        h = {}
        for site in self.sources:
            moved = self._change_of_units(site, change)
            gradient, at_bias = found[site]
            for k in range(1, self.steps):
                share = k / self.steps
                more, more_bias = self._on_path(site, share, change.clean[site] + share * moved, change, run, batch)
                gradient = gradient + more
                at_bias = at_bias if more_bias is None or at_bias is None else at_bias + more_bias
            bias = None if at_bias is None else at_bias / self.steps
            h[site] = self._cut(site, gradient / self.steps, moved, bias)
        return h

    def _change_of_units(self, site: str, change: Moved) -> Tensor:
        """From clean to baseline; dead units stay as they are."""
        moved = change.baseline[site] - change.clean[site]
        return moved if site.endswith(SUFFIX) else moved * live(self.parts[site])

    def _in_clean_run(self, change: Moved, run: CleanRun, batch: Batch) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Site -> gradient of the metric in the clean run at its units and, where ablation takes the output bias
        away too, at its write."""
        writes = [f"{site}/write" for site in self.sources if self._bias(site, change) is not None]
        out = self.net.run(
            batch.clean,
            batch.mask,
            capture=[*self.sources, *writes],
            positions=batch.positions,
            edit={"embed": lambda units: units.detach().requires_grad_()},
        )
        names = list(out.units)
        values = torch.autograd.grad(run.measure(out.logits).sum(), [out.units[name] for name in names])
        gradients = dict(zip(names, values, strict=True))
        return {
            site: (gradients[site], self._at_bias(gradients.get(f"{site}/write"), site, change))
            for site in self.sources
        }

    def _bias(self, site: str, change: Moved) -> Tensor | None:
        """The output bias that ablation takes away with the units, [d_model]."""
        return self.net.decoder(site)[1] if site in change.silent else None

    def _at_bias(self, gradient: Tensor | None, site: str, change: Moved) -> Tensor | None:
        """Effect of taking the bias away, from the gradient at the write: [batch, time]."""
        bias = self._bias(site, change)
        return None if gradient is None or bias is None else -(gradient @ bias)

    def _on_path(
        self, site: str, share: float, value: Tensor, change: Moved, run: CleanRun, batch: Batch
    ) -> tuple[Tensor, Tensor | None]:
        """Gradient of the metric at a site's units where they have the given value (see `_in_clean_run`)."""
        net, leaf = self.net, value.detach().requires_grad_()
        if site == "embed":
            run_through = {"embed": lambda _: leaf}
            logits = net.run(batch.clean, batch.mask, positions=batch.positions, edit=run_through).logits
            return torch.autograd.grad(run.measure(logits).sum(), leaf)[0], None
        at = site.removesuffix(SUFFIX)
        place = run.places[at]
        write = net.write(at, self._mixed(at, leaf, place) if site != at else leaf)
        bias = self._bias(site, change)
        if bias is not None:
            write = write - share * bias
        logits = net.resume(at, place.without + write, place.before, run.context, batch.positions)
        wanted = [leaf] if bias is None else [leaf, write]
        gradients = torch.autograd.grad(run.measure(logits).sum(), wanted)
        return gradients[0], self._at_bias(gradients[-1], site, change)

    def _mixed(self, site: str, pattern: Tensor, place: Place) -> Tensor:
        """Units of an attention site under another pattern."""
        layer = int(site.split(".")[1])
        with torch.no_grad():
            values = self.net.values(layer, self.net.read_attention(layer, place.reads).pre["v"])
        return self.net.represent(site, self.net.mix(pattern, values))

    def _cut(self, site: str, h: Tensor, moved: Tensor, at_bias: Tensor | None) -> Tensor:
        """The sensitivity, 0 where a node's effect is below the threshold; effects are noted."""
        if site.endswith(SUFFIX):
            effect = (h * moved).sum(-1)  # [batch, heads, query]
            self.effects.add(site, effect.transpose(1, 2))
            return h * (effect.abs() >= self.node_threshold)[..., None]
        effect = self.parts[site].sums(h * moved)
        effect = effect if at_bias is None else effect + at_bias[..., None]
        self.effects.add(site, effect)
        return h * spread(self.parts[site], (effect.abs() >= self.node_threshold).to(h))

    # ------------------------------------------------------------ edges

    def _moves(self, change: Moved, batch: Batch) -> Units:
        """Site -> change of the stream that it reads when every source takes its baseline write."""
        writes = dict(self._whole_writes(self.by_site(change.streams), change))
        moves = {}
        for site in self.sites[1:]:
            moves[site] = sum((writes[s] for s in self.net.architecture.reads[site]), torch.zeros_like(writes["embed"]))
        rows = torch.arange(len(batch), device=moves["logits"].device)
        moves["logits"] = moves["logits"][rows, batch.positions]
        return moves

    def _whole_writes(self, few: Units, change: Moved) -> Iterator[tuple[str, Tensor]]:
        """Change of every site's whole write [batch, time, d_model]."""
        for site in self.sites[:-1]:
            if site in few:
                yield site, few[site].sum(0)
                continue
            source = change.sources[site]
            moved = source.change * live(self.parts[site])
            yield site, moved if source.rows is None else moved @ source.rows

    def _effect_of_logits(self, run: CleanRun, move: Tensor) -> None:
        with torch.no_grad():
            x = run.places["logits"].reads
            before, after = (
                run.measure(self.net.logits(self.net.read_logits(stream).pre[""])) for stream in (x, x + move)
            )
        self.effects.add("logits", (after - before)[:, None])

    def _local(self, change: Moved, run: CleanRun, h: Units, moves: Units, share: float) -> tuple[LocalTape, Units]:
        """Gradients at the pre-activations of every site of its own sensitivity, at a point of the streams' path, and
        the patterns that are nodes there."""
        tape = LocalTape(units={site: h[site] for site in self.differentiated})
        names = {site: pattern_of(site) for site in self.served}
        patterns = {name: change.clean[name] + share * change.patterns[site] for site, name in names.items()}
        for site in self.sites[1:]:
            with torch.no_grad():
                reading = self._read(site, run.places[site].reads + share * moves[site])
            reading.pre = {channel: pre.detach().requires_grad_() for channel, pre in reading.pre.items()}
            aim = self._activation(site, reading.pre, run, h, patterns.get(pattern_of(site)))
            gradients = torch.autograd.grad(aim, list(reading.pre.values()))
            tape.gradients[site] = dict(zip(reading.pre, gradients, strict=True))
            tape.readings[site] = reading
        return tape, patterns

    def _read(self, site: str, x: Tensor) -> Reading:
        if site == "logits":
            return self.net.read_logits(x)
        layer = int(site.split(".")[1])
        if site.startswith("mlp"):
            return self.net.read_mlp(layer, x)
        reading = self.net.read_attention(layer, x)
        reading.pre = {c: self.net.per_query_head(value) for c, value in reading.pre.items()}
        return reading

    def _activation(
        self, site: str, pre: Mapping[str, Tensor], run: CleanRun, h: Units, pattern: Tensor | None
    ) -> Tensor:
        """Sum of the units of all nodes of a site, weighted by their sensitivities; of `logits`, the metric.

        `pattern`: where patterns are nodes, the one that the others read.
        """
        net = self.net
        if site == "logits":
            return run.measure(net.logits(pre[""])).sum()
        layer = int(site.split(".")[1])
        if site.startswith("mlp"):
            return (net.represent(site, net.mlp_units(layer, pre)) * h[site]).sum()
        if pattern is None:
            return (net.represent(site, net.attend(layer, pre, run.context)) * h[site]).sum()
        through_values = net.represent(site, net.mix(pattern, net.values(layer, pre["v"]))) * h[site]
        through_pattern = self._pattern(site, pre, run.context) * h[pattern_of(site)]
        return through_values.sum() + through_pattern.sum()
