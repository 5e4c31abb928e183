"""Edge ablation between the features of dictionaries, without a pass of the module per feature.

A feature reads a stream of its own through the whole of its site. Where it keeps few sources, what the site computes
from its stream differs from what it computes from the baseline stream only at tokens where one of them changes, and by
a product of their changes with (W_dec γ W_read); of what comes behind, one column is wanted. Rows that keep much,
errors, `topk` (where the other features decide) and dictionaries behind a post-norm take the module's own pieces.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.feature_encoders import FeatureEncoder
from compgraph.ablation.feature_heads import FeatureHeads
from compgraph.ablation.feature_states import States, changed, states_of
from compgraph.ablation.masked_readers import Anchors, Reader, csr, formed, scales
from compgraph.ablation.plan import Ints
from compgraph.ablation.streams import Base
from compgraph.ablation.unit_plan import Sparse, UnitSite
from compgraph.ablation.unit_runner import UnitRunner
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.partition import Partition
from compgraph.patterns import pattern_of

TABLE = 2**24
"""Numbers in a table of what units write into the neurons of a site."""
BLOCK = 2**18
"""Numbers of neurons worked on at a time: few enough to stay in a processor's cache."""


class FeatureUnitRunner(UnitRunner):
    """Runs circuits between features, and whatever else the partition has."""

    def __init__(self, net: FeatureTransformer, partition: Partition, norm_scale: str = "exact") -> None:
        self.dictionaries = net.dictionaries
        super().__init__(net, partition, norm_scale)

    def _has_heads(self, site: str) -> bool:
        return super()._has_heads(site) and site not in self.dictionaries

    def _columns(self, site: str, index: Ints) -> Ints:
        if site in self.dictionaries and site.startswith("attn.") and site not in self.fine:
            return np.arange(self.net.spec.n_heads * self.net.spec.d_head)  # one part: it reads through all heads
        return super()._columns(site, index)

    def _attention(self, site: UnitSite, base: Base, changes: Tensor) -> Tensor:
        if site.name not in self.dictionaries:
            return super()._attention(site, base, changes)
        if site.name not in self.fine:
            return self.net.represent(site.name, super()._attention(site, base, changes))
        anchors = self._anchors(site.name, base, changes, narrow=False)
        old, new = base.units[pattern_of(site.name)], self._pattern(site, base, anchors)
        heads = FeatureHeads(self.net, site, self.fine[site.name].labels.cpu().numpy(), anchors, old, new)  # type: ignore[arg-type]
        return heads.units(base.units[site.name])

    def _mlp(self, site: UnitSite, base: Base, changes: Tensor, narrow: bool) -> Tensor:
        if site.name not in self.dictionaries:
            return super()._mlp(site, base, changes, narrow)
        anchors = self._anchors(site.name, base, changes, narrow=narrow)
        work = FeatureSite(self, site.name, anchors)
        out = self._start(site.name, base, work, narrow=narrow)
        for row in site.reads[0].formed:
            out[:, row.readers] = work.units(formed(row, anchors))[:, row.readers]
        for rows in site.reads[0].sparse:
            work.fill(rows, out)
        return out.unflatten(0, changes.shape[1:])

    def _start(self, name: str, base: Base, work: FeatureSite, *, narrow: bool) -> Tensor:
        """Units that read nothing changed [tokens, n_units]."""
        if not base.consistent:
            return work.units(work.anchors.base)
        units = base.scored(base.units[name]) if narrow else base.units[name]
        return units.flatten(0, 1).clone()


class FeatureSite:
    """One MLP site with a dictionary, for one batch and circuit."""

    def __init__(self, runner: FeatureUnitRunner, name: str, anchors: Anchors) -> None:
        self.net, self.name, self.anchors, self.layer = runner.net, name, anchors, int(name.split(".")[1])
        self.encoder = FeatureEncoder(self.net, name)  # type: ignore[arg-type]
        block = self.net.weights.blocks[self.layer]
        assert block.w_in is not None and block.mlp_norm is not None
        readers = {"": block.w_in} | ({} if block.w_gate is None else {"gate": block.w_gate})
        self.reader = Reader(readers, block.mlp_norm, runner.wide)
        self.width = block.w_in.shape[1]

    def units(self, stream: Tensor) -> Tensor:
        """All units that the site computes from a stream [tokens, d_model]."""
        pre = {name: stream @ weights for name, weights in self.reader.columns.items()}
        scale = self.anchors.scale(stream)
        return self.net.represent(self.name, self._hidden(pre, scale[:, None] if isinstance(scale, Tensor) else scale))

    def _hidden(self, pre: dict[str, Tensor], scale: Tensor | float) -> Tensor:
        """Neurons [tokens, d_mlp] from products with the stream, before its norm's scale and bias."""
        done = {}
        for name, values in pre.items():
            bias = self.reader.bias[name]
            done[name] = (
                values * scale if bias is None else torch.addcmul(bias, values, torch.as_tensor(scale).to(values))
            )
        return self.net.mlp_units(self.layer, {name: values.to(self.net.dtype) for name, values in done.items()})

    def fill(self, rows: Sparse, out: Tensor) -> None:
        """Put the units of sparse rows into [tokens, n_units]."""
        anchors, columns = self.anchors, np.concatenate(rows.readers)
        if rows.sign == -1:
            out[:, columns] = self.units(anchors.stream(-1))[:, columns]
        start = {name: anchors.stream(rows.sign) @ weights for name, weights in self.reader.columns.items()}
        scale = scales(rows, anchors)
        scale = scale if scale.dim() == 2 else scale.expand(len(rows), len(out))
        # Where several units of a row change at the same tokens, there is little to share, and a product is faster.
        few = changed(rows, anchors.changes) <= len(out)
        few &= np.array([self.encoder.serves(one) for one in rows.readers])
        for chosen, tables, place in self._tabled(rows, np.flatnonzero(few)):
            states = states_of(rows, chosen, anchors.changes)
            self._fill_states(rows, chosen, states, start, tables, place, scale, out)
        for k in np.flatnonzero(~few).tolist():
            self._fill_row(rows, k, start, scale[k], out)

    def _tabled(self, rows: Sparse, chosen: Ints) -> Iterator[tuple[Ints, dict[str, Tensor], Ints]]:
        """Some rows at a time, W_dec γ W_in of their units, and the place of every unit in it."""
        ends = np.cumsum(rows.counts[chosen])
        number = (ends - 1) // max(1, TABLE // self.width)
        for some in np.split(chosen, np.flatnonzero(np.diff(number)) + 1):
            if len(some) == 0:
                continue
            seen = np.unique(np.concatenate([rows.units[rows.bounds[k] : rows.bounds[k + 1]] for k in some]))
            place = np.zeros(len(self.anchors.writers), np.int64)
            place[seen] = np.arange(len(seen))
            writers = self.anchors.writers[torch.from_numpy(seen).to(self.anchors.base.device)]
            yield some, {name: writers @ own for name, own in self.reader.columns.items()}, place

    def _fill_states(
        self, rows: Sparse, chosen: Ints, states: States, start: dict[str, Tensor], tables: dict[str, Tensor],
        place: Ints, scale: Tensor, out: Tensor,
    ) -> None:  # fmt: skip
        """Units of the rows that read some states."""
        device = out.device
        counts, firsts = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        counts[chosen] = [len(rows.readers[k]) for k in chosen]
        firsts[chosen] = np.cumsum(counts[chosen]) - counts[chosen]
        columns = np.concatenate([rows.readers[k] for k in chosen])
        encoder = self.encoder.matrix(columns)
        constant = self.encoder.constant(columns)
        step = max(1, BLOCK // self.width)
        for first in range(0, len(states), step):
            last = min(first + step, len(states))
            token = torch.from_numpy(states.token[first:last]).to(device)
            bounds = states.bounds[first : last + 1]
            units = states.units[bounds[0] : bounds[-1]]
            tokens = np.repeat(states.token[first:last], np.diff(bounds))
            values = self.anchors.changes[torch.from_numpy(units).to(device), torch.from_numpy(tokens).to(device)]
            shape = (last - first, len(next(iter(tables.values()))))
            moves = csr(bounds - bounds[0], place[units], values * rows.sign, shape)
            pre = {name: start[name].index_select(0, token) + moves @ table for name, table in tables.items()}
            own = scale[torch.from_numpy(states.row[first:last]).to(device), token]
            hidden = self._hidden(pre, own[:, None])
            read = states.reader_bounds[first : last + 1]
            readers = states.readers[read[0] : read[-1]]
            state = np.repeat(np.repeat(np.arange(last - first), np.diff(read)), counts[readers])
            each = counts[readers]
            ends = np.cumsum(each)
            column = np.repeat(firsts[readers] - (ends - each), each) + np.arange(len(state))
            self._fill_pairs(hidden, state, column, columns, encoder, constant, token, out)

    def _fill_pairs(
        self, hidden: Tensor, state: Ints, column: Ints, columns: Ints, encoder: Tensor, constant: Tensor,
        token: Tensor, out: Tensor,
    ) -> None:  # fmt: skip
        """Single units: of each pair of a state and a column, a product of two vectors."""
        step = max(1, BLOCK // self.width)
        for first in range(0, len(state), step):
            some, which = (torch.from_numpy(x[first : first + step]).to(out.device) for x in (state, column))
            pre = hidden.index_select(0, some).mul_(encoder.index_select(0, which)).sum(-1) + constant[which]
            unit = torch.from_numpy(columns[column[first : first + step]]).to(out.device)
            out[token[some], unit] = self.encoder.units(pre, unit)

    def _fill_row(self, rows: Sparse, k: int, start: dict[str, Tensor], scale: Tensor, out: Tensor) -> None:
        """Units of one row, at the tokens where it changes."""
        anchors, readers = self.anchors, rows.readers[k]
        units = torch.from_numpy(rows.units[rows.bounds[k] : rows.bounds[k + 1]]).to(out.device)
        changes, writers = anchors.changes.index_select(0, units), anchors.writers.index_select(0, units)
        at = changes.any(0).nonzero().flatten()
        if len(at) == 0:
            return
        pre = {
            name: start[name].index_select(0, at).addmm_(changes[:, at].T, writers @ weights, alpha=rows.sign)
            for name, weights in self.reader.columns.items()
        }
        hidden = self._hidden(pre, scale[at, None])
        if self.encoder.serves(readers):
            pre_units = torch.addmm(self.encoder.constant(readers), hidden, self.encoder.matrix(readers).T)
            found = self.encoder.units(pre_units, readers)
        else:
            found = self.net.represent(self.name, hidden)[:, readers]
        out[at[:, None], torch.from_numpy(readers).to(out.device)] = found
