"""A transformer without each of its edges in turn.

Without the edge s -> d, d reads the stream x + D_s, D_s being the change of s's write; d computes its units from
it, and the pass goes on behind d's site from the clean stream plus the change of d's own write. So

- all edges into one site share the clean pass up to it, and those from one source the norm and the products with
  the readers of all nodes of the site;
- a query, key or value of one head changes the units of that head alone, and a value leaves its pattern as it is;
- in a parallel block an attention head does not reach the MLP beside it, whose clean write is kept;
- the last block is needed at the scored position only (`Transformer.resume`).

Where parts cut through heads (`compgraph.patterns`): without an edge into a pattern all units of its head are those of
the changed pattern; without an edge into the values of a part its units are those of the changed values; without
pattern -> part the units that the part has in that head are those of the baseline's pattern. Units that belong to no
node are what the network makes of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline, silent_sites
from compgraph.connectivity.effective.streams import StreamScorer
from compgraph.connectivity.effective.walk import Step, walk
from compgraph.data.batches import Batch
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition

MEMORY_PER_STEP = 2**26
"""Bytes that the activations of the edges run at once may take. More does not pay: one edge's batch fills the
processor's products already, and memory that stays in its caches is faster."""


@dataclass
class Variants:
    """Consecutive edges into one site: the `start`th among all edges and on, and the units that change without them.

    Attributes
    ----------
    index
        [m] which units of the site.
    units
        [edges, batch, time, m] their values.
    """

    start: int
    index: Tensor
    units: Tensor


class TransformerEdges:
    """Iterates over blocks of consecutive edges: (first edge in canonical order, logits [edges, batch, vocabulary]).

    Blocks come site by site; within a site they come in the order in which they are made.
    """

    def __init__(
        self, net: Transformer, partition: Partition, split_qkv: bool, batch: Batch, baseline: Baseline
    ) -> None:
        self.net, self.batch, self.split_qkv = net, batch, split_qkv
        self.scorer = StreamScorer(net, partition, split_qkv)
        sources = self.scorer.sources
        base = baseline.units(net, batch, sources)
        change = self.scorer.change(
            net.capture(batch.clean, batch.mask, sources), base, silent_sites(partition, baseline)
        )
        self.changes, self.patterns = self.scorer.all_streams(change), change.patterns
        self.context = net.context(batch.clean, batch.mask)
        spec, time = net.spec, batch.clean.shape[1]
        numbers = time * (8 * spec.d_model + 3 * spec.d_mlp + 2 * spec.n_heads * time) + 2 * spec.vocabulary
        self.chunk = max(1, MEMORY_PER_STEP // (len(batch) * numbers * self.changes.element_size()))

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        start = 0
        for step in walk(self.net, self.batch, self.context):
            for offset, logits in self.into(step):
                yield start + offset, logits
            start += self.n_edges(step.site)

    def _n_sources(self, site: str) -> int:
        """How many nodes a site reads, patterns not counted."""
        return sum(self.scorer.count[s] for s in self.net.architecture.reads[site])

    def n_edges(self, site: str) -> int:
        """Number of edges into a site, and into its patterns."""
        n = self._n_sources(site)
        if site == "logits":
            return n
        parts = len(self.scorer.parts[site])
        if site not in self.scorer.served:
            return parts * n * len(self._channels(site))
        return self._first_into_parts(n) + parts * n + int(self.scorer.served[site].sum())

    def _first_into_parts(self, n: int) -> int:
        """Number of edges into the patterns of a site that reads n sources."""
        return self.net.spec.n_heads * n * (2 if self.split_qkv else 1)

    def _channels(self, site: str) -> tuple[str, ...]:
        """What is changed together: one name per channel, its letters the readers."""
        if not site.startswith("attn"):
            return ("",)
        return ("q", "k", "v") if self.split_qkv else ("qkv",)

    def into(self, step: Step) -> Iterator[tuple[int, Tensor]]:
        """Blocks of the edges into one site, their first edge counted from the site's own first."""
        n = self._n_sources(step.site)
        if step.site == "logits":
            at = torch.arange(len(self.batch), device=self.changes.device)
            for first, changes in self._chunks(n):
                x = step.stream + changes[:, at, self.batch.positions]
                yield first, self.net.logits(self.net.read_logits(x).pre[""])
            return
        if step.site in self.scorer.served:
            variants = self._fine_attention(step, n)
        else:
            variants = self._attention(step, n) if step.site.startswith("attn") else self._mlp(step, n)
        for one in variants:
            yield one.start, self._resumed(step, one)

    def _chunks(self, n: int) -> Iterator[tuple[int, Tensor]]:
        """Changes of the first n sources, some at a time, each with the number of the first."""
        for first in range(0, n, self.chunk):
            yield first, self.changes[first : min(first + self.chunk, n)]

    # ------------------------------------------------------------ units without an edge

    def _mlp(self, step: Step, n: int) -> Iterator[Variants]:
        layer = int(step.site.split(".")[1])
        for first, changes in self._chunks(n):
            units = self.net.mlp_units(layer, self.net.read_mlp(layer, step.stream + changes).pre)
            for part, index in enumerate(self.scorer.parts[step.site].index):
                yield Variants(part * n + first, index, units[..., index])

    def _attention(self, step: Step, n: int) -> Iterator[Variants]:
        names, d_head = self._channels(step.site), self.net.spec.d_head
        clean = self._heads(step)
        heads_of = [torch.unique(index // d_head) for index in self.scorer.parts[step.site].index]
        for first, changes in self._chunks(n):
            moved = self._moved(step, changes)
            for part, heads in enumerate(heads_of):
                index = (heads[:, None] * d_head + torch.arange(d_head, device=heads.device)).flatten()
                for c, letters in enumerate(names):
                    pattern = self._pattern(step, clean, moved, letters, heads, len(changes))
                    v = moved["v"][:, :, heads] if "v" in letters else _repeated(clean["v"][:, :, heads], len(changes))
                    units = self.net.mix(pattern, v).unflatten(0, (len(changes), -1))
                    yield Variants((part * len(names) + c) * n + first, index, units)

    def _fine_attention(self, step: Step, n: int) -> Iterator[Variants]:
        site, heads = step.site, torch.arange(self.net.spec.n_heads, device=self.changes.device)
        names = ("q", "k") if self.split_qkv else ("qk",)
        clean, parts, served = self._heads(step), self.scorer.parts[step.site], self.scorer.served[site]
        values = (
            self._first_into_parts(n) + (served.sum(1).cumsum(0) - served.sum(1)).cpu() + n * torch.arange(len(parts))
        )
        for first, changes in self._chunks(n):
            moved, edges = self._moved(step, changes), len(changes)
            for head in heads:
                v = _repeated(clean["v"][:, :, head[None]], edges)
                for c, letters in enumerate(names):
                    pattern = self._pattern(step, clean, moved, letters, head[None], edges)
                    units = self.net.mix(pattern, v).unflatten(0, (edges, -1))
                    yield Variants((int(head) * len(names) + c) * n + first, self.scorer.heads.index[head], units)
            units = self.net.mix(_repeated(clean["pattern"], edges), moved["v"]).unflatten(0, (edges, -1))
            for part, index in enumerate(parts.index):
                start = int(values[part]) + int(served[part].sum()) + first
                yield Variants(start, index, units[..., index])
        yield from self._from_patterns(step, clean, values)

    def _from_patterns(self, step: Step, clean: dict[str, Tensor], starts: Tensor) -> Iterator[Variants]:
        """Without pattern -> part: the part's units in that head are those of the baseline's pattern."""
        assert step.units is not None
        old = self.net.mix(clean["pattern"] + self.patterns[step.site], clean["v"])
        head_of = torch.arange(old.shape[-1], device=old.device) // self.net.spec.d_head
        for part, index in enumerate(self.scorer.parts[step.site].index):
            heads = self.scorer.served[step.site][part].nonzero().flatten()
            for first in range(0, len(heads), self.chunk):
                some = heads[first : first + self.chunk]
                replaced = (head_of[index] == some[:, None])[:, None, None]
                yield Variants(
                    int(starts[part]) + first, index, torch.where(replaced, old[..., index], step.units[..., index])
                )

    def _heads(self, step: Step) -> dict[str, Tensor]:
        """q, k, v [batch, time, heads, d_head] (biased, normed, rotated) and patterns of the clean run."""
        layer = int(step.site.split(".")[1])
        q, k, v = self.net.rotated(layer, step.reading.pre, self.context)
        return {"q": q, "k": k, "v": v, "pattern": self.net.pattern(layer, q, k, self.context)}

    def _moved(self, step: Step, changes: Tensor) -> dict[str, Tensor]:
        """q, k, v [edges · batch, time, heads, d_head] of all heads from changed streams."""
        layer = int(step.site.split(".")[1])
        reading = self.net.read_attention(layer, (step.stream + changes).flatten(0, 1))
        q, k, v = self.net.rotated(layer, reading.pre, self.context.repeat(len(changes)))
        return {"q": q, "k": k, "v": v}

    def _pattern(
        self, step: Step, clean: dict[str, Tensor], moved: dict[str, Tensor], letters: str, heads: Tensor, edges: int
    ) -> Tensor:
        """Patterns [edges · batch, heads, query, key] of some heads when the named readers are moved."""
        if "q" not in letters and "k" not in letters:
            return _repeated(clean["pattern"][:, heads], edges)
        q, k = (moved[c][:, :, heads] if c in letters else _repeated(clean[c][:, :, heads], edges) for c in ("q", "k"))
        return self.net.pattern(int(step.site.split(".")[1]), q, k, self.context.repeat(edges))

    # ------------------------------------------------------------ and on from there

    def _resumed(self, step: Step, one: Variants) -> Tensor:
        """Logits [edges, batch, vocabulary] of passes that go on behind a site with other units."""
        edges, after, site = len(one.units), self._after(step, one), step.site
        assert step.before is not None and self.batch.positions is not None
        if self.net.spec.parallel and self.net.spec.has_mlp and site.startswith("attn"):
            site = site.replace("attn", "mlp")
            layer = int(site.split(".")[1])
            after += self.net.write(site, self.net.mlp_units(layer, self.net.read_mlp(layer, step.before).pre))
        stream = after.flatten(0, 1)  # nothing behind here reads the start of the block
        logits = self.net.resume(site, stream, stream, self.context.repeat(edges), self.batch.positions.repeat(edges))
        return logits.unflatten(0, (edges, -1))

    def _after(self, step: Step, one: Variants) -> Tensor:
        """The stream behind the site [edges, batch, time, d_model]."""
        assert step.units is not None and step.after is not None
        rows, _, post = self.net.decoder(step.site)
        if post is None:
            return step.after + (one.units - step.units[..., one.index]) @ rows[one.index]
        units = step.units.expand(len(one.units), *step.units.shape).clone()
        units[..., one.index] = one.units
        old = self.net.write(step.site, step.units, Reading(step.units, None, {}))
        return (step.after - old) + self.net.write(step.site, units, Reading(units, None, {}))


def _repeated(x: Tensor, edges: int) -> Tensor:
    """The same for every edge: [batch, ..] -> [edges · batch, ..]."""
    return x.repeat(edges, *(1,) * (x.dim() - 1))
