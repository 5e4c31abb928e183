"""A scorer of a transformer that makes passes for others: `unit_rows` gathers what they say of every unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.endpoints import change_of
from compgraph.connectivity.effective.stream_sources import Change
from compgraph.connectivity.effective.streams import StreamScorer
from compgraph.patterns import pattern_of


class UnitScorer(StreamScorer):
    """A scorer whose sources are all carried as units; its scores are never asked for.

    Attributes
    ----------
    divided
        Sites whose features are nodes (`unit_features`).
    """

    from_streams = False
    divided: Sequence[str] = ()

    def change(self, clean: Units, baseline: Units, silent: Any = ()) -> Change:
        """Change of every source's units."""
        with torch.no_grad():
            sources = {
                site: change_of(self.net, site, clean, baseline, silent, self.parts[site]) for site in self.sites[:-1]
            }
            patterns = {name: baseline[pattern_of(name)] - clean[pattern_of(name)] for name in self.served}
            return Change(torch.zeros(0, device=self.net.device), sources, patterns)

    def bytes_per_example(self, pairs: Any) -> int:
        """Units, gradients and factors of one example, and as much again for the tape."""
        numbers = 8 * sum(parts.n_units for parts in self.parts.values()) + len(self.sites) * self.net.spec.d_model
        return int(numbers * pairs.clean.shape[1] * self.net.weights.embedding.element_size())
