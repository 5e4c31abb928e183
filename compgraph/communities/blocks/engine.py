"""What a search for blocks is asked, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from compgraph.communities.agreement import Labels, n_parts
from compgraph.communities.optimise import run_seeds

ALWAYS = "always"
"""Of `nested`: a hierarchy whatever it costs."""

SAME = 1e-6
"""Descriptions that differ by less (nats) are equally long."""


@dataclass(frozen=True)
class Fit:
    """One partition and the length of its description.

    Attributes
    ----------
    levels
        Labels of the nodes, finest first; one level for a flat model.
    length
        graph-tool's entropy, nats.
    nested, degree_corrected
        Which model it is.
    start
        Where the search started.
    """

    levels: tuple[Labels, ...]
    length: float
    nested: bool
    degree_corrected: bool
    start: str

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the finest level."""
        return n_parts(self.levels[0])


@dataclass(frozen=True)
class Task:
    """What is asked of an engine.

    Attributes
    ----------
    choices
        Degree corrections to try.
    nested
        As in `fit_sbm`.
    n_blocks
        Exactly so many blocks, or None.
    n_runs, seed
        Runs and the seed of all of them.
    """

    choices: tuple[bool, ...]
    nested: bool | str
    n_blocks: int | None
    n_runs: int
    seed: int

    @property
    def seeds(self) -> list[int]:
        """One a run."""
        return run_seeds(self.seed, self.n_runs)


@dataclass(frozen=True)
class Run:
    """What one seed found: the shortest flat fit of each degree correction, and the nested one.

    Attributes
    ----------
    flat
        By degree correction.
    hierarchy
        The shortest nested fit, if any was asked for.
    """

    flat: dict[bool, Fit]
    hierarchy: Fit | None = field(default=None)

    @property
    def fits(self) -> list[Fit]:
        """All fits of the run."""
        return [*self.flat.values(), *([] if self.hierarchy is None else [self.hierarchy])]

    def best(self, nested: bool | str) -> Fit:
        """The fit that was asked for, the shortest where there is a choice."""
        if nested == ALWAYS and self.hierarchy is not None:
            return self.hierarchy
        return min(self.fits, key=lambda fit: fit.length)


class Engine(Protocol):
    """A search for partitions of one graph."""

    def one_block(self, degree_corrected: bool) -> Fit:
        """All nodes in one block."""
        ...

    def runs(self, task: Task) -> list[Run]:
        """One run a seed."""
        ...


def shortness(fit: Fit) -> tuple[int, int]:
    """Sort key: shortest description first; of equally long ones the one with fewer blocks."""
    return round(fit.length / SAME), fit.n_blocks


def shortest_first(fits: list[Fit]) -> list[Fit]:
    """Sorted by `shortness`; of equal ones the earlier first."""
    return sorted(fits, key=shortness)
