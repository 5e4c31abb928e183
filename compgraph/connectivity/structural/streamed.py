"""Scores between the units of a whole model: all are computed, few are kept, all go to a file on request."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compgraph.architectural import edge_channels
from compgraph.connectivity.blockwise.block import Block
from compgraph.connectivity.blockwise.kept import Kept
from compgraph.connectivity.blockwise.score_matrix import MatrixPlan, MatrixWriter, array_name
from compgraph.connectivity.structural.cosines import BLOCK, Cosines, Side, slices
from compgraph.connectivity.structural.null import Spectrum
from compgraph.connectivity.structural.significances import Significances
from compgraph.connectivity.structural.vectors import Ends
from compgraph.graph import ComputationalGraph
from compgraph.patterns import pattern_of, served_parts, with_patterns
from compgraph.progress import progress


class Streamed:
    """All scores, block by block, of which the strongest are kept.

    Parameters
    ----------
    ends
        What parts write and read.
    pair
        The scores.
    keep, keep_overall
        Edges of each target, and of the whole.
    """

    def __init__(self, ends: Ends, pair: Cosines, keep: int, keep_overall: int) -> None:
        self.ends, self.pair = ends, pair
        self.net = ends.net
        self.architecture, self.partition = with_patterns(ends.net, ends.partition)
        self.channels = edge_channels(self.architecture)
        self.counted = Significances(ends.dimension)
        n, m = self.partition.n_nodes, len(self.channels)
        self.kept = Kept(self.partition, self.channels, keep, keep_overall)
        self.norms, self.single = np.zeros((m + 1, n)), np.zeros((m + 1, n), bool)
        self.second, self.third = np.full((2, m + 1, n), np.nan)

    def plan(self) -> MatrixPlan:
        """The arrays of a file of all scores."""
        arrays = {}
        for site in self.net.architecture.node_sites[1:]:
            split = self.ends.split.get(site.name, False)
            for channel in self.architecture.channels.get(site.name, ("",)) if not split else ("q", "k", "v"):
                into = pattern_of(site.name) if split and channel != "v" else site.name
                for source in self.net.architecture.reads[site.name]:
                    shape = self.partition.n_parts(into), self.partition.n_parts(source)
                    if all(shape):
                        arrays[array_name(into, channel, source)] = shape, _chunk(shape)
            if split:
                shape = self.partition.n_parts(site.name), site.n_heads
                if all(shape):
                    arrays[array_name(site.name, "", pattern_of(site.name))] = shape, shape
        return MatrixPlan(self.partition, self.channels, arrays)

    def run(self, matrix: MatrixWriter | None) -> None:
        """Score all edges; into a file too, where one is given."""
        self.kept.writer = matrix
        sites = [site.name for site in self.net.architecture.node_sites]
        writers: dict[str, Side] = {}
        with progress("input-output", len(sites) - 1, "sites") as shown:
            for k, site in enumerate(sites[1:]):
                before = sites[k]
                writers[before] = self.pair.writer(self.ends.writer(before))
                self._remember(before, len(self.channels), writers[before])
                if self.ends.split.get(site):
                    self._patterns(site)
                reads = self.net.architecture.reads[site]
                sources = {name: writers[name] for name in reads if writers[name].vectors.n_parts}
                for target, channel, vectors in self.ends.readers(site):
                    reader = self.pair.reader(vectors)
                    self._remember(target, self.channels.index(channel), reader)
                    self._into(target, channel, reader, sources)
                self.kept.close()
                shown.advance(1)

    def _remember(self, site: str, row: int, side: Side) -> None:
        """What z and p of the edges that are kept will need."""
        at = self.partition.node_slice(site)
        self.norms[row, at], self.single[row, at] = side.norms.double().numpy(), side.single.numpy()
        self.second[row, at], self.third[row, at] = side.spectrum.second, side.spectrum.third

    def _into(self, target: str, channel: str, reader: Side, sources: dict[str, Side]) -> None:
        """All edges into the parts of a site by one channel, so many targets at a time."""
        widest = max(len(side.vectors.values) for side in sources.values())
        for start, stop in slices(reader, widest):
            some = reader.slice(start, stop)
            for source, writer in sources.items():
                cosines = self.pair.cosines(some, writer)
                self._count(cosines, some, writer)
                scores = self.pair.scores(cosines, some, writer)
                self.kept.add(Block(target, channel, start, source, 0, scores))

    def _count(self, cosines: Tensor, reader: Side, writer: Side) -> None:
        if reader.vectors.single and writer.vectors.single and reader.norms.all() and writer.norms.all():
            self.counted.add_cosines(cosines)
            return
        single = (reader.single[:, None] & writer.single).numpy()
        _, p = self.pair.significance(cosines.double().numpy(), single, reader.spectrum.column, writer.spectrum)
        self.counted.add_p(p)

    def _patterns(self, site: str) -> None:
        """Edges from the patterns of a site into its parts."""
        edges = torch.from_numpy(served_parts(self.net.architecture.site(site), self.ends.partition))
        if edges.numel():
            scores = torch.where(edges, self.ends.served(site), 0.0)
            self.kept.add(Block(site, "", 0, pattern_of(site), 0, scores, edges))

    def graph(self, about: dict[str, object]) -> ComputationalGraph:
        """The edges kept, with what is known of the others."""
        edges = self.kept.edges()
        source, target, channel = self.kept.numbers.columns(edges.number)
        weight, last = edges.score.astype(np.float64), len(self.channels)
        norms = self.norms[channel, target] * self.norms[last, source]
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = np.nan_to_num(weight / norms, posinf=0, neginf=0) if self.pair.product else weight
        into, out_of = (channel, target), (np.full_like(source, last), source)
        sides = (Spectrum(self.second[at], self.third[at]) for at in (into, out_of))
        z, p = self.pair.significance(cosines, self.single[into] & self.single[out_of], *sides)
        patterns = np.array([site.endswith(".pattern") for site in self.partition.nodes()["site"]])[source]
        z, p = (np.where(patterns, np.nan, x) for x in (z, p))
        return ComputationalGraph(
            self.partition, source, target, channel, weight,
            channels=self.channels, kind="structural", architecture=self.architecture,
            attributes=about | self.kept.about(),
            columns={"z": z, "p": p, "p_adjusted": self.counted.adjusted(p)},
            node_columns=self.kept.sums.columns(),
        )  # fmt: skip


def _chunk(shape: tuple[int, int]) -> tuple[int, int]:
    """Whole rows of scores, about a block of them."""
    return max(1, min(shape[0], BLOCK // max(1, shape[1]))), shape[1]
