"""How blocks are searched: the settings of a fit, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from compgraph.communities.blocks.engine import ALWAYS, Task
from compgraph.communities.blocks.problem import Problem
from compgraph.communities.blocks.structures import STRUCTURES
from compgraph.communities.dense.annealing import GREEDY, MOVES
from compgraph.communities.sbm_engines import ENGINES, chosen_engine
from compgraph.errors import GraphError

ANY, SELECT = "any", "select"
"""Of `structure`: the general model; it and all others that serve the graph."""


@dataclass(frozen=True)
class Question:
    """Settings of a fit; the fields are those of `fit_sbm`."""

    nested: bool | str = True
    degree_corrected: bool | None = None
    n_runs: int = 3
    seed: int = 0
    n_blocks: int | None = None
    odds: float = 100.0
    effort: int = 1
    engine: str = "auto"
    moves: str = GREEDY
    structure: str = ANY

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {self.engine!r}")
        if self.moves not in MOVES:
            raise ValueError(f"moves must be one of {', '.join(MOVES)}, not {self.moves!r}")
        if self.nested not in (True, False, ALWAYS):
            raise ValueError(f"nested must be True, False or {ALWAYS!r}, not {self.nested!r}")
        if self.degree_corrected not in (True, False, None):
            raise ValueError(f"degree_corrected must be True, False or None, not {self.degree_corrected!r}")
        if self.n_runs < 1 or self.effort < 1:
            raise ValueError(f"n_runs and effort must be at least 1, not {self.n_runs} and {self.effort}")
        if self.n_blocks is not None and self.n_blocks < 1:
            raise ValueError(f"n_blocks must be at least 1, not {self.n_blocks}")
        if not self.odds >= 1:
            raise ValueError(f"odds must be at least 1, not {self.odds}")
        valid = (ANY, SELECT, *STRUCTURES)
        if self.structure not in valid:
            raise ValueError(f"structure must be one of {', '.join(valid)}, not {self.structure!r}")
        if self.structure != ANY and self.n_blocks is not None:
            raise ValueError(f"n_blocks is for the general model, not for structure {self.structure!r}")

    def check(self, problem: Problem) -> None:
        """Refuse what means nothing for a graph.

        Raises
        ------
        GraphError
            If a setting contradicts what is explained.
        """
        constraint = problem.first.constraint
        if not problem.topology and not problem.first.masked and self.degree_corrected:
            raise GraphError(
                "sbm: degree correction is about which edges exist, and the architecture decides that on a layered "
                "graph; use degree_corrected=None, or constraint='none'"
            )
        if problem.first.masked and self.degree_corrected is False:
            raise GraphError(
                "sbm: presence among allowed pairs is explained beyond degrees; use degree_corrected=None or True"
            )
        if self.n_blocks is not None and self.n_blocks > len(problem.nodes) > 0:
            raise GraphError(
                f"sbm: {self.n_blocks} blocks were asked for, but only {len(problem.nodes)} nodes have edges to tell"
            )
        if self.n_blocks is not None and problem.observed.kinds is not None:
            raise GraphError(f"sbm: n_blocks and constraint {constraint!r} cannot be met together")
        if self.moves != GREEDY and (found := chosen_engine(self.engine, problem, self.nested)) != "dense":
            raise GraphError(
                f"sbm: moves {self.moves!r} are of the dense engine, and this graph is searched by {found!r}; use "
                f"moves={GREEDY!r} or, where it serves, engine='dense'"
            )
        if self.structure in STRUCTURES and (reason := STRUCTURES[self.structure].refusal(problem)):
            raise GraphError(f"sbm: structure {self.structure!r} does not serve this graph: {reason}")

    def choices(self, problem: Problem) -> tuple[bool, ...]:
        """Degree corrections to try."""
        if problem.first.masked:
            return (True,)
        if not problem.topology:
            return (False,)
        return (False, True) if self.degree_corrected is None else (self.degree_corrected,)

    def task(self, problem: Problem) -> Task:
        """What the engine is asked."""
        nested = False if problem.first.masked else self.nested
        return Task(self.choices(problem), nested, self.n_blocks, self.n_runs, self.seed)
