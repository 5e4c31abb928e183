"""Edge ablation between the features of dictionaries at MLP sites, without a pass of the module per feature.

A feature reads a stream of its own through the whole MLP. Where it keeps few sources, what the MLP computes from its
stream differs from what it computes from the baseline stream by a product of their changes with (W_dec γ W_in), and
only at tokens where one of them changes; of what comes behind the non-linearity, one column is wanted, W_out times the
feature's encoder. Features that keep the same sources share all of this. Rows that keep much, errors, `topk` (where
the other features decide) and dictionaries behind a post-norm take the module's own pieces, at the same tokens.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.masked_readers import Anchors, Reader, formed, scales
from compgraph.ablation.plan import Ints
from compgraph.ablation.streams import Base
from compgraph.ablation.unit_plan import Sparse, UnitSite
from compgraph.ablation.unit_runner import UnitRunner
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.dictionaries.dictionary import Dictionary
from compgraph.partition import Partition

TABLE = 2**26
"""Most numbers in a table of what all units write into the neurons of a site."""


class FeatureUnitRunner(UnitRunner):
    """Runs circuits between features of MLPs, and whatever else the partition has."""

    def __init__(self, net: FeatureTransformer, partition: Partition, norm_scale: str = "exact") -> None:
        super().__init__(net, partition, norm_scale)
        self.dictionaries = net.dictionaries

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
        self.one: Dictionary = runner.dictionaries[name]
        block = self.net.weights.blocks[self.layer]
        assert block.w_in is not None and block.mlp_norm is not None
        readers = {"": block.w_in} | ({} if block.w_gate is None else {"gate": block.w_gate})
        self.reader = Reader(readers, block.mlp_norm, runner.wide)

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
        encoder, tables = self._encoder(rows, columns), self._tables(rows)
        first = 0
        for k, readers in enumerate(rows.readers):
            units = torch.from_numpy(rows.units[rows.bounds[k] : rows.bounds[k + 1]]).to(out.device)
            changes = anchors.changes[units]
            at = changes.any(0).nonzero().flatten()
            if len(at):
                own = (scale[k] if scale.dim() == 2 else scale.expand(len(out)))[at, None]
                hidden = self._hidden(self._moved(start, tables, units, changes[:, at], at, rows.sign), own)
                chosen = None if encoder is None else encoder[first : first + len(readers)]
                out[at[:, None], torch.from_numpy(readers).to(out.device)] = self._represented(hidden, readers, chosen)
            first += len(readers)

    def _tables(self, rows: Sparse) -> dict[str, Tensor]:
        """W_dec γ W_in of all units, where that is less work than row by row and small enough; else none."""
        writers = self.anchors.writers
        small = len(writers) * self.reader.columns[""].shape[1] <= TABLE
        if len(rows.units) < len(writers) or not small:
            return {}
        return {name: writers @ weights for name, weights in self.reader.columns.items()}

    def _moved(
        self, start: dict[str, Tensor], tables: dict[str, Tensor], units: Tensor, changes: Tensor, at: Tensor, sign: int
    ) -> dict[str, Tensor]:
        """Products with one row's stream at some tokens."""
        out = {}
        for name, weights in self.reader.columns.items():
            read = tables[name][units] if tables else self.anchors.writers[units] @ weights
            out[name] = start[name][at].addmm_(changes.T, read, alpha=sign)
        return out

    def _encoder(self, rows: Sparse, columns: Ints) -> Tensor | None:
        """From neurons to the pre-activations of the rows' features [features, d_mlp]; None: not by a product alone."""
        direct = self.one.space == "hidden" or self.net.inner.decoder(self.name)[2] is None  # type: ignore[attr-defined]
        if not direct or self.one.activation == "topk" or columns.max() >= self.one.n_features:
            return None
        if "encoder" not in rows.masked:
            chosen = self.one.encoder[:, torch.from_numpy(columns).to(self.one.encoder.device)]
            if self.one.space == "write":
                chosen = self.net.inner.decoder(self.name)[0] @ chosen  # type: ignore[attr-defined]
            rows.masked["encoder"] = chosen.T.contiguous()
        return rows.masked["encoder"]

    def _represented(self, hidden: Tensor, readers: Ints, encoder: Tensor | None) -> Tensor:
        """Some units [tokens, readers] from neurons."""
        index = torch.from_numpy(readers).to(hidden.device)
        if encoder is None:
            return self.net.represent(self.name, hidden)[:, index]
        one, pre = self.one, hidden @ encoder.T
        bias = self.net.inner.decoder(self.name)[1]  # type: ignore[attr-defined]
        if one.space == "write" and bias is not None:
            pre = pre + bias @ one.encoder[:, index]
        if one.encoder_bias is not None:
            pre = pre + one.encoder_bias[index]
        if one.activation == "linear":
            return pre
        active = pre > 0 if one.threshold is None else (pre > 0) & (pre > one.threshold[index])
        return pre * active
